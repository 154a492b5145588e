"""Buckets of Amazon S3, and of the many stores that speak its protocol, by boto3."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from beam_curate.buckets.base import DEFAULT_PROFILE, Bucket, ObjectFacts
from beam_curate.buckets.s3_client import (
    EXISTS,
    EXPIRED,
    NO_CONDITIONS,
    client,
    code_of,
    forget,
    is_passing,
    little_patience,
    patience,
    translated,
)

_BLOCK_BYTES = 1 << 20
_WHOLE_BYTES = 64 << 20  # larger files are uploaded in parts
_COPY_BYTES = 5 << 30  # larger objects are copied in parts: a limit of S3
_READS = 4  # of a small object whose connection breaks

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class S3Bucket(Bucket):
    """A bucket of S3 or of a store like it.

    Where it is, and with which credentials it is reached, says a profile of the user's AWS files: ``endpoint_url``,
    ``region`` and the keys; or whatever else boto3 finds, such as environment variables or the role of the machine.

    Attributes:
        name: The bucket.
        profile: The profile.

    Example:
        >>> S3Bucket("footage").url
        's3://footage'
    """

    name: str
    profile: str = DEFAULT_PROFILE

    @property
    def url(self) -> str:
        """See `Bucket`."""
        return f"s3://{self.name}"

    def get(self, key: str) -> bytes:
        """See `Bucket.get`."""
        for _ in range(_READS - 1):
            with contextlib.suppress(ConnectionError):
                return b"".join(self._body({"Key": key}))
            time.sleep(1)
        return b"".join(self._body({"Key": key}))

    def stream(self, facts: ObjectFacts, start: int = 0) -> Iterator[bytes]:
        """See `Bucket.stream`."""
        if start < facts.size_bytes:
            yield from self._body({"Key": facts.key, "IfMatch": f'"{facts.etag}"', "Range": f"bytes={start}-"})

    def _body(self, arguments: dict[str, str]) -> Iterator[bytes]:
        """Yields the content that a request returns; ConnectionError when it breaks off."""
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        body = self._ask(arguments["Key"], lambda s3: s3.get_object(Bucket=self.name, **arguments)["Body"])
        with contextlib.closing(body):
            try:
                yield from iter(functools.partial(body.read, _BLOCK_BYTES), b"")
            except (BotoCoreError, HTTPError) as error:
                raise ConnectionError(f"{self.url}/{arguments['Key']}: {error}") from error

    def put(self, key: str, content: bytes | Path, sha256: str = "") -> str:
        """See `Bucket.put`. A large file is uploaded in parts, and is there when the last has arrived."""
        metadata = {"Metadata": {"sha256": sha256}} if sha256 else {}
        if isinstance(content, Path) and content.stat().st_size > _WHOLE_BYTES:
            self._ask(key, lambda s3: s3.upload_file(str(content), self.name, key, ExtraArgs=metadata))
            return ""
        data = content if isinstance(content, bytes) else content.read_bytes()
        done = self._ask(key, lambda s3: s3.put_object(**self._whole(key, data), **metadata))
        return done["ETag"].strip('"')

    def create(self, key: str, data: bytes) -> bool:
        """See `Bucket.create`. Where the store knows no conditions, the last of several writers at once wins."""
        created = self._create(key, data)
        if created is not None:
            return created
        if self.head(key) is not None:
            return False
        self.put(key, data)
        return True

    def creates_once(self, key: str) -> bool:
        """See `Bucket.creates_once`. There are stores that refuse conditions, and such that overlook them."""
        return self._create(key, b"") is True and self._create(key, b"") is False

    def _create(self, key: str, data: bytes) -> bool | None:
        """Creates an object unless it exists; returns whether it did, or None where the store knows no conditions."""
        from botocore.exceptions import ClientError

        def request(s3: Any) -> bool | None:
            try:
                s3.put_object(**self._whole(key, data), IfNoneMatch="*")
            except ClientError as error:
                if code_of(error) in EXISTS:
                    return False
                if code_of(error) in NO_CONDITIONS:
                    return None
                raise
            return True

        return self._ask(key, request)

    def head(self, key: str) -> ObjectFacts | None:
        """See `Bucket.head`."""
        try:
            found = self._ask(key, lambda s3: s3.head_object(Bucket=self.name, Key=key))
        except FileNotFoundError:
            return None
        etag = found["ETag"].strip('"')
        is_encrypted = found.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in found
        return ObjectFacts(
            key,
            found["ContentLength"],
            etag,
            found["LastModified"].timestamp(),
            found["Metadata"].get("sha256", ""),
            etag_is_md5="-" not in etag and not is_encrypted,
        )

    def copy(self, source: ObjectFacts, target: str) -> None:
        """See `Bucket.copy`."""
        place, condition = {"Bucket": self.name, "Key": source.key}, {"CopySourceIfMatch": f'"{source.etag}"'}

        def request(s3: Any) -> None:
            if source.size_bytes <= _COPY_BYTES:  # with the metadata of the source
                s3.copy_object(Bucket=self.name, Key=target, CopySource=place, **condition)
            else:
                s3.copy(place, self.name, target, {**condition, "Metadata": {"sha256": source.sha256}})

        self._ask(source.key, request)

    def _delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._ask(key, lambda s3: s3.delete_object(Bucket=self.name, Key=key))

    def list(self, prefix: str, *, folders: bool = False) -> Iterator[ObjectFacts | str]:
        """See `Bucket.list`."""
        arguments = {"Bucket": self.name, "Prefix": prefix, **({"Delimiter": "/"} if folders else {})}
        while True:
            page = self._ask(prefix, lambda s3: s3.list_objects_v2(**arguments))
            found: list[ObjectFacts | str] = [_facts(entry) for entry in page.get("Contents", ())]
            found += [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
            yield from sorted(found, key=_utf8) if folders else found
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def abort_uploads(self, prefix: str) -> int:
        """See `Bucket.abort_uploads`. All of the bucket are listed: some stores take a prefix of uploads for a key."""

        def request(s3: Any) -> int:
            pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.name)
            uploads = [one for page in pages for one in page.get("Uploads", ()) if one["Key"].startswith(prefix)]
            for one in uploads:
                s3.abort_multipart_upload(Bucket=self.name, Key=one["Key"], UploadId=one["UploadId"])
            return len(uploads)

        return self._ask(prefix, request)

    def check(self) -> None:
        """See `Bucket.check`."""
        with translated(self.url, self.profile):
            s3 = client(self.profile, tries=1)
            little_patience().repeated(lambda: s3.list_objects_v2(Bucket=self.name, MaxKeys=1), is_passing)

    def _whole(self, key: str, data: bytes) -> dict[str, Any]:
        """Returns the arguments of a request that sends an object whole. All stores check the MD5 of what arrives."""
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        return {"Bucket": self.name, "Key": key, "Body": data, "ContentMD5": md5}

    def _ask(self, key: str, request: Callable[[Any], T]) -> T:
        """Makes a request; a store that does not answer is waited for."""
        with translated(f"{self.url}/{key}", self.profile):
            return patience(self.profile).repeated(lambda: self._try(request), is_passing)

    def _try(self, request: Callable[[Any], T]) -> T:
        """Makes a request; credentials that have expired are read anew, once."""
        used = client(self.profile)
        try:
            return request(used)
        except Exception as error:
            if code_of(error) not in EXPIRED:
                raise
        forget(used)
        return request(client(self.profile))


def _facts(entry: dict[str, Any]) -> ObjectFacts:
    etag = entry.get("ETag", "").strip('"')
    return ObjectFacts(entry["Key"], entry["Size"], etag, entry["LastModified"].timestamp())


def _utf8(one: ObjectFacts | str) -> bytes:
    return (one if isinstance(one, str) else one.key).encode(errors="surrogateescape")
