"""Helpers for files on this computer: the one JSON form of a value, and hashes."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import IO, Any

_HASH_BLOCK_BYTES = 1 << 20
_SPOOL_BYTES = 1 << 24
_END_BYTES = 1 << 16


def json_bytes(value: Any) -> bytes:
    """Returns a value as JSON with sorted keys, indent 4 and UTF-8: the same value always gives the same bytes.

    Example:
        >>> json_bytes({"b": 1, "a": 2}) == json_bytes({"a": 2, "b": 1})
        True
    """
    return (json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> Any | None:
    """Returns the content of a JSON file, or None when it is missing or not valid JSON.

    Example:
        >>> read_json(Path("/no/such/file.json")) is None
        True
    """
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def copy_file(source: Path, target: Path) -> None:
    """Copies the content of a file, without its permissions and times.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "a").touch()
        ...     copy_file(Path(folder, "a"), Path(folder, "b"))
        ...     Path(folder, "b").read_bytes()
        b''
    """
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(_HASH_BLOCK_BYTES):
            writer.write(block)


def spool() -> IO[bytes]:
    """Returns a file that is deleted when it is closed, in memory while it is small.

    Example:
        >>> with spool() as file:
        ...     file.write(b"kept a while")
        12
    """
    return tempfile.SpooledTemporaryFile(_SPOOL_BYTES)


def short_digest(text: str) -> bytes:
    """Returns 16 bytes that stand for a text where a million of them are held in memory.

    Example:
        >>> len(short_digest("/in/a.mp4"))
        16
    """
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


def sha256_of(path: Path) -> str:
    """Returns the hex SHA-256 of a file's content.

    Example:
        >>> sha256_of(Path("/dev/null"))
        'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_ends(path: Path) -> str:
    """Returns the hex SHA-256 of the first and the last 64 KiB of a file, which tells most files of one size apart.

    They are a read each, however large the file is, and containers have the tables of their content in one of them.

    Example:
        >>> sha256_of_ends(Path("/dev/null")) == sha256_of(Path("/dev/null"))
        True
    """
    with path.open("rb") as file:
        first = file.read(_END_BYTES)
        file.seek(-len(first), os.SEEK_END)
        return hashlib.sha256(first + file.read(_END_BYTES)).hexdigest()
