"""`Bucket`: the requests that an object store answers, the same for each kind of store."""

from __future__ import annotations

import abc
import dataclasses
import errno
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SCHEMES = ("s3", "gs")

DEFAULT_PROFILE = "default"
"""The profile of users who name none; it also stands for no profile at all, as with all tools of AWS."""

_DELETES_AT_ONCE = 16
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class BucketError(OSError):
    """A request failed for good: it was refused, or no try of several succeeded. The message says which and why."""


class ObjectChangedError(BucketError):
    """An object is no longer the one that was to be read."""


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What a store says of an object.

    Attributes:
        key: Its name in the bucket.
        size_bytes: Size of the content.
        etag: Changes with the content, and is the same for the same content uploaded in the same way: hex digits, or
            what an S3 server says.
        modified_s: When it was written by the clock of the store, in s since 1970.
        sha256: Hex digest of the content where the writer has left it and it was asked for by `Bucket.head`; else "".
        etag_is_md5: Whether ``etag`` is the MD5 of the content: where it is of 32 hex digits and the store says so,
            since it is another hash with some kinds of encryption.
    """

    key: str
    size_bytes: int
    etag: str
    modified_s: float
    sha256: str = ""
    etag_is_md5: bool = False


class Bucket(abc.ABC):
    """A bucket, as requests. It can be pickled; connections belong to a process and credentials are read there.

    Requests are repeated with growing pauses where a store is busy, unreachable or reports an error of its own, and
    not where it refuses them. Methods raise FileNotFoundError where there is no such key, and `BucketError` with the
    bucket, the key and whose credentials were used where the store refuses or does not answer.
    """

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Such as ``s3://footage``."""

    @abc.abstractmethod
    def get(self, key: str) -> bytes:
        """Returns the content of an object."""

    @abc.abstractmethod
    def stream(self, facts: ObjectFacts, start: int = 0) -> Iterator[bytes]:
        """Yields the content of an object from a byte on; a connection that breaks raises another OSError than those.

        Raises:
            ObjectChangedError: It has another etag than ``facts``.
        """

    @abc.abstractmethod
    def put(self, key: str, content: bytes | Path, sha256: str = "") -> str:
        """Creates or replaces an object: with bytes, or with a file, whose hash can be left with it.

        Returns:
            Its etag; "" where the store does not say so, for a large file.
        """

    @abc.abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Creates an object unless it exists. Returns False where it does, even if an earlier try of this call won."""

    def creates_once(self, key: str) -> bool:
        """Whether of several that `create` an object at once only one can; tried with a key that is not there."""
        return self.create(key, b"") and not self.create(key, b"")

    @abc.abstractmethod
    def head(self, key: str) -> ObjectFacts | None:
        """Returns what is known of an object, or None where there is none."""

    @abc.abstractmethod
    def copy(self, source: ObjectFacts, target: str) -> None:
        """Creates or replaces an object with the content of another and its hash, without moving bytes through here.

        Raises:
            ObjectChangedError: The source has another etag than ``source``.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes objects, several at once; those that are not there are left out.

        One request each: not all stores know the request that deletes many.
        """
        all_keys = list(keys)
        if len(all_keys) == 1:
            self._delete(all_keys[0])
            return
        with ThreadPoolExecutor(_DELETES_AT_ONCE) as pool:
            for _ in pool.map(self._delete, all_keys):
                pass

    @abc.abstractmethod
    def _delete(self, key: str) -> None:
        """Deletes an object; nothing happens when it is not there."""

    @abc.abstractmethod
    def list(self, prefix: str, *, folders: bool = False) -> Iterator[ObjectFacts | str]:
        """Yields the objects whose keys begin with a prefix, in the order of their UTF-8 bytes, a page at a time.

        With ``folders``, keys that go on with a ``/`` after the prefix are left out; what they have in common up to and
        with that ``/`` is yielded once instead.
        """

    @abc.abstractmethod
    def abort_uploads(self, prefix: str) -> int:
        """Deletes the parts of uploads below a prefix that were not completed; returns how many uploads these were."""

    @abc.abstractmethod
    def check(self) -> None:
        """Checks once, without many tries, that the bucket answers and can be listed.

        Raises:
            BucketError: With what to do: no such bucket, no permission, another region, no such profile, no answer.
        """


def missing(url: str) -> FileNotFoundError:
    """Returns the error for an object that is not there.

    >>> missing("s3://footage/a.mp4")
    FileNotFoundError(2, 'there is no such object')
    """
    return FileNotFoundError(errno.ENOENT, "there is no such object", url)


def scheme_of(text: str) -> str:
    """Returns the scheme of a URL in lower case, or "" for a path.

    >>> scheme_of("s3://footage/day1"), scheme_of("/footage/day1")
    ('s3', '')
    """
    found = _SCHEME.match(text)
    return found[1].lower() if found else ""


def split_url(url: str) -> tuple[str, str, str]:
    """Returns the scheme, the bucket and the key of a URL. All characters of a key stand for themselves.

    >>> split_url("s3://footage/day 1/what?#2.mp4")
    ('s3', 'footage', 'day 1/what?#2.mp4')

    Raises:
        ValueError: It has another scheme, no bucket, or keys before the bucket.
    """
    scheme = scheme_of(url)
    bucket, _, key = url[len(scheme) + 3 :].partition("/")
    if scheme not in SCHEMES or not bucket:
        raise ValueError("give s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a path on this computer")
    if re.search("[:@]", bucket) and not bucket.startswith("arn:"):
        raise ValueError("a URL holds no keys, since it is written into records; put them into a profile")
    return scheme, bucket, key
