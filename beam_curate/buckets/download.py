"""Downloads of objects into files: resumed where a connection breaks, and compared with what the store says of them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import random
import re
import time
from collections.abc import Generator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

from beam_curate.buckets.base import Bucket, BucketError, ObjectFacts
from beam_curate.buckets.file_cache import FileCache
from beam_curate.buckets.flocks import without_links

_TRIES = 6  # without a byte between them
_FIRST_PAUSE_S = 0.5
_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_MAX_SUFFIX = 16  # characters


def holding(bucket: Bucket, facts: ObjectFacts, cache: FileCache) -> AbstractContextManager[Path]:
    """Gives a file with the content of an object, from the cache or downloaded into it, while the block lasts.

    Args:
        bucket: The bucket of the object.
        facts: What the bucket says of it.
        cache: Where the file is, with the suffix of the object.

    Raises:
        OSError: See `download` and `FileCache.holding`.
    """
    of_content = f"{bucket.url}/{facts.key} {facts.size_bytes} {facts.etag}"
    name = hashlib.sha256(of_content.encode()).hexdigest() + PurePosixPath(facts.key).suffix[:_MAX_SUFFIX]
    return cache.holding(name, facts.size_bytes, functools.partial(download, bucket, facts))


def download(bucket: Bucket, facts: ObjectFacts, path: Path) -> None:
    """Downloads an object to a file, going on where an earlier download of the same content to this path ended.

    Broken connections are made again with growing pauses, as long as bytes arrive between them. The size of the file
    is compared with the object's, and its MD5 where the store knows that. A file that is damaged is deleted and
    downloaded once more.

    Args:
        bucket: The bucket of the object.
        facts: What the bucket says of it.
        path: The file; its folder is there. It stays after an error, for a later download to go on with.

    Raises:
        FileNotFoundError: There is no such object any more, or no such folder.
        ObjectChangedError: The object is another one now.
        BucketError: The store refused, connections broke too often, or the file arrived damaged twice.
        OSError: The file cannot be written; with its path.
    """
    for _ in range(2):
        _append(bucket, facts, path)
        problem = _problem(facts, path)
        if problem is None:
            return
        path.unlink()
    raise BucketError(
        f"{bucket.url}/{facts.key}: arrived damaged twice: {problem}; look for a proxy that changes what it passes on, "
        "and for a disk or memory with errors"
    )


def _append(bucket: Bucket, facts: ObjectFacts, path: Path) -> None:
    """Appends to a file what it lacks of an object; begins anew where it is longer."""
    with open(path, "ab", buffering=0, opener=without_links) as file:
        if file.tell() > facts.size_bytes:
            file.truncate(0)
            file.seek(0)
        with contextlib.closing(_blocks(bucket, facts, file.tell())) as blocks:
            for block in blocks:
                _write(file, block, path)


def _write(file: io.FileIO, block: bytes, path: Path) -> None:
    rest = memoryview(block)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _blocks(bucket: Bucket, facts: ObjectFacts, start: int) -> Generator[bytes]:
    """Yields the content of an object from a byte on, in as many responses as it takes."""
    fruitless = 0
    while start < facts.size_bytes:
        before, why = start, "the response ended early"
        try:
            for block in bucket.stream(facts, start):
                start += len(block)
                yield block
        except (FileNotFoundError, BucketError):
            raise
        except OSError as error:
            why = error.strerror or type(error).__name__  # not its text, which may quote the request
        if start >= facts.size_bytes:
            return
        fruitless = fruitless + 1 if start == before else 0
        if fruitless == _TRIES:
            raise BucketError(
                f"{bucket.url}/{facts.key}: the connection broke {_TRIES} times after {start} of {facts.size_bytes} "
                f"bytes: {why}; check the network and run again, which goes on from there"
            )
        time.sleep(_FIRST_PAUSE_S * 2**fruitless * random.uniform(0.5, 1.0))


def _problem(facts: ObjectFacts, path: Path) -> str | None:
    """Returns what is wrong with a downloaded file, or None."""
    size_bytes = path.stat().st_size
    if size_bytes != facts.size_bytes:
        return f"{size_bytes} bytes instead of {facts.size_bytes}"
    if not facts.etag_is_md5 or not _MD5.fullmatch(facts.etag):
        return None
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return None if md5 == facts.etag.lower() else f"its MD5 is {md5} instead of {facts.etag}"
