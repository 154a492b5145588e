"""Google Cloud Storage, with Google's own client."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from google.api_core.exceptions import NotFound, PreconditionFailed, RetryError
from google.auth.exceptions import RefreshError
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from beam_curate.buckets.base import Bucket, BucketError, ObjectChangedError, ObjectFacts, missing
from beam_curate.buckets.gcs_client import FAILURES, client, explanation, forget_client
from beam_curate.buckets.patience import Patience

_T = TypeVar("_T")

_SHA256 = "sha256"  # the name of the hash among the metadata of an object
_CONTENT_TYPE = "application/octet-stream"
# All that is written stays the same when it is written again, so every request can be repeated.
# What fails for longer than this is repeated as a whole, for as long as all requests together wait for the store.
_RETRY = DEFAULT_RETRY.with_timeout(5.0).with_delay(initial=0.5, maximum=2.0)
_PATIENCE = Patience()
_CHECK_RETRY = DEFAULT_RETRY.with_timeout(10.0).with_delay(initial=0.5, maximum=2.0)
_CHECK_TIMEOUT_S = 10.0
_BLOCK_BYTES = 8 << 20  # of an object, for one request; a multiple of 256 KiB, as uploads need
_LISTING: dict[str, Any] = {
    "page_size": 1000,
    "fields": "nextPageToken,prefixes,items(name,size,md5Hash,crc32c,timeCreated)",
    "retry": _RETRY,
}


@dataclasses.dataclass(frozen=True)
class GcsBucket(Bucket):
    """A bucket of Google Cloud Storage, with the application default credentials of where it is used.

    Attributes:
        name: Of the bucket.
    """

    name: str

    @property
    def url(self) -> str:
        """See `Bucket`."""
        return f"gs://{self.name}"

    def get(self, key: str) -> bytes:
        """Returns the content of an object."""
        return self._ask(key, lambda bucket: bucket.blob(key).download_as_bytes(raw_download=True, retry=_RETRY))

    def stream(self, facts: ObjectFacts, start: int = 0) -> Iterator[bytes]:
        """Yields the content of an object from a byte on, 8 MiB by request, all of the same generation.

        Raises:
            ObjectChangedError: It has another etag than ``facts``, or is replaced meanwhile.
        """
        generation = self._unchanged(facts).generation
        for first in range(start, facts.size_bytes, _BLOCK_BYTES):
            last = min(first + _BLOCK_BYTES, facts.size_bytes) - 1
            try:
                yield self._ask(facts.key, functools.partial(_read, facts.key, generation, first, last))
            except FileNotFoundError:
                raise self._changed(facts) from None

    def put(self, key: str, content: bytes | Path, sha256: str = "") -> str:
        """Creates or replaces an object: with bytes, or with a file, whose hash can be left. Returns its etag."""
        return self._ask(key, functools.partial(_upload, key, content, sha256, None)) or ""

    def create(self, key: str, data: bytes) -> bool:
        """Creates an object unless it exists. Returns False where it does, even if an earlier try of this call won."""
        return self._ask(key, functools.partial(_upload, key, data, "", 0)) is not None

    def head(self, key: str) -> ObjectFacts | None:
        """Returns what is known of an object, or None where there is none."""
        blob = self._ask(key, lambda bucket: bucket.get_blob(key, retry=_RETRY))
        return _facts(blob) if blob else None

    def copy(self, source: ObjectFacts, target: str) -> None:
        """Creates or replaces an object with the content of another and its hash, without moving bytes through here.

        Raises:
            ObjectChangedError: The source has another etag than ``source``, or is replaced meanwhile.
        """
        blob = self._unchanged(source)
        try:
            done = self._ask(source.key, functools.partial(_rewrite, blob, target))
        except FileNotFoundError:
            done = False
        if not done:
            raise self._changed(source)

    def list(self, prefix: str, *, folders: bool = False) -> Iterator[ObjectFacts | str]:
        """Yields the objects whose keys begin with a prefix, in the order of their UTF-8 bytes, a page at a time.

        With ``folders``, keys that go on with a ``/`` after the prefix are left out; what they have in common up to and
        with that ``/`` is yielded once instead.
        """
        token: str | None = None
        while True:
            entries, token = self._ask(prefix, functools.partial(_page, prefix, "/" if folders else None, token))
            yield from entries
            if not token:
                return

    def abort_uploads(self, prefix: str) -> int:
        """Returns 0: the store itself drops an upload that was not completed, within a week, and does not list it."""
        return 0

    def check(self) -> None:
        """Checks once, without many tries, that the bucket answers and can be listed.

        Raises:
            BucketError: With what to do: no such bucket, no permission, no credentials, no answer.
        """
        try:
            self._ask("", _list_one, Patience(0))
        except FileNotFoundError:
            create = f"gcloud storage buckets create {self.url}"
            raise BucketError(f"{self.url}: there is no such bucket; correct its name, or run `{create}`") from None

    def _ask(self, key: str, request: Callable[[storage.Bucket], _T], patience: Patience | None = None) -> _T:
        """Makes a request, with the errors of a `Bucket`; a store that does not answer is waited for."""
        with self._explained(key):
            return (patience or _PATIENCE).repeated(lambda: self._try(request), _is_passing)

    def _try(self, request: Callable[[storage.Bucket], _T]) -> _T:
        """Makes a request; once more with a new client where credentials expired."""
        try:
            return request(self._bucket())
        except RefreshError:
            forget_client()
            return request(self._bucket())

    def _bucket(self) -> storage.Bucket:
        connected = client()
        try:
            return connected.bucket(self.name)
        except ValueError as error:
            raise BucketError(f"{self.url} cannot be the name of a bucket: {error}") from None

    @contextlib.contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turns what Google's client raises into what a `Bucket` raises.

        Without the cause, whose message may hold the address by which an upload can be continued without credentials.
        """
        try:
            yield
        except NotFound:
            raise self._missing(key) from None
        except FAILURES as error:
            place = f"{self.url}/{key}" if key else self.url
            raise BucketError(f"{place}: {explanation(error)}") from None

    def _unchanged(self, facts: ObjectFacts) -> storage.Blob:
        """Returns an object as it is now, if it is the one that is meant."""
        blob = self._ask(facts.key, lambda bucket: bucket.get_blob(facts.key, retry=_RETRY))
        if blob is None:
            raise self._missing(facts.key)
        if _facts(blob).etag != facts.etag:
            raise self._changed(facts)
        return blob

    def _missing(self, key: str) -> FileNotFoundError:
        return missing(f"{self.url}/{key}")

    def _changed(self, facts: ObjectFacts) -> ObjectChangedError:
        return ObjectChangedError(f"{self.url}/{facts.key} was replaced since it was listed")

    def _delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._ask(key, lambda bucket: bucket.blob(key).delete(retry=_RETRY))


def _is_passing(error: Exception) -> bool:
    """Whether another try may not meet an error.

    >>> _is_passing(ConnectionError()), _is_passing(NotFound("no such object"))
    (True, False)
    """
    return isinstance(error, RetryError) or DEFAULT_RETRY._predicate(error)


def _upload(
    key: str, content: bytes | Path, sha256: str, if_generation_match: int | None, bucket: storage.Bucket
) -> str | None:
    """Writes an object; returns its etag, or None where it has another generation than it has to have (0: none)."""
    blob = bucket.blob(key, chunk_size=_BLOCK_BYTES)
    if sha256:
        blob.metadata = {_SHA256: sha256}
    upload = blob.upload_from_filename if isinstance(content, Path) else blob.upload_from_string
    try:
        upload(content, content_type=_CONTENT_TYPE, if_generation_match=if_generation_match, retry=_RETRY)
    except PreconditionFailed:
        return None
    return _facts(blob).etag


def _read(key: str, generation: int, first: int, last: int, bucket: storage.Bucket) -> bytes:
    """Returns the bytes of an object from the first to the last one, both included, of one of its generations."""
    blob = bucket.blob(key, generation=generation)
    data: bytes = blob.download_as_bytes(start=first, end=last, raw_download=True, checksum=None, retry=_RETRY)
    if len(data) != last + 1 - first:
        raise ConnectionError(f"{len(data)} bytes came instead of {last + 1 - first}")
    return data


def _rewrite(source: storage.Blob, target: str, bucket: storage.Bucket) -> bool:
    """Copies an object, in several steps where it is large; returns whether its generation was still there."""
    blob = bucket.blob(target)
    blob.content_type = source.content_type
    if source.metadata:
        blob.metadata = source.metadata
    token: str | None = None
    try:
        while True:
            token, _, _ = blob.rewrite(source, token, if_source_generation_match=source.generation, retry=_RETRY)
            if token is None:
                return True
    except PreconditionFailed:
        return False


def _page(
    prefix: str, delimiter: str | None, token: str | None, bucket: storage.Bucket
) -> tuple[list[ObjectFacts | str], str | None]:
    """Returns a page of a listing in the order of keys, and the token of the next page."""
    blobs = bucket.list_blobs(prefix=prefix, delimiter=delimiter, page_token=token, **_LISTING)
    page = next(blobs.pages)
    entries = [*map(_facts, page), *page.prefixes]
    return sorted(entries, key=_key), blobs.next_page_token


def _list_one(bucket: storage.Bucket) -> None:
    next(iter(bucket.list_blobs(max_results=1, retry=_CHECK_RETRY, timeout=_CHECK_TIMEOUT_S)), None)


def _key(entry: ObjectFacts | str) -> str:
    return entry if isinstance(entry, str) else entry.key


def _facts(blob: storage.Blob) -> ObjectFacts:
    """Returns what is known of an object. What was put together from parts has no MD5, but a CRC."""
    etag = _hex(blob.md5_hash) if blob.md5_hash else f"crc32c-{_hex(blob.crc32c)}"
    sha256 = (blob.metadata or {}).get(_SHA256, "")
    return ObjectFacts(blob.name, blob.size, etag, blob.time_created.timestamp(), sha256, bool(blob.md5_hash))


def _hex(text: str) -> str:
    """Returns base64 as hex digits.

    >>> _hex("AQL/")
    '0102ff'
    """
    return base64.b64decode(text).hex()
