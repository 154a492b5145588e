"""Helpers for files: JSON has one form, and what is not JSON is nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from beam_curate.store import files


def test_json_is_one_form_of_a_value() -> None:
    assert files.json_bytes({"b": 1, "a": "ü\n"}) == b'{\n    "a": "\xc3\xbc\\n",\n    "b": 1\n}\n'
    assert files.json_bytes({"a": 1, "b": 2}) == files.json_bytes({"b": 2, "a": 1})


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"\xff\xfe\xfa", b"nonsense"], ids=["missing", "empty", "half", "bytes", "words"]
)
def test_json_that_cannot_be_read_is_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    assert files.read_json(path) is None
    assert files.read_json(path / "below" / "a file.json") is None


def test_a_hash_is_of_all_of_a_file(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "x").write_bytes(data)
    assert files.sha256_of(tmp_path / "x") == hashlib.sha256(data).hexdigest()
