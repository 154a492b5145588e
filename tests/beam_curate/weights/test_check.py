"""Problems of a model's files are found without reading the weights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from beam_curate.models.catalog import T5_XXL, TRANSNETV2, by_name
from beam_curate.store.files import sha256_of
from beam_curate.weights.check import MARKER, FileFacts, check, how_to_fix, write_marker

QWEN = by_name("qwen2.5_vl")
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"


def fill(folder: Path) -> None:
    """Creates a captioner as another program would: all files, no marker."""
    folder.mkdir(parents=True)
    for name in QWEN.required:
        (folder / name).write_text("{}")
    for number, name in enumerate(SHARDS):
        save_file({f"weight.{number}": torch.full((4, 8), float(number))}, folder / name)
    weight_map = {f"weight.{number}": name for number, name in enumerate(SHARDS)}
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = QWEN.folder(str(tmp_path))
    fill(folder)
    return folder


def mark(folder: Path) -> None:
    names = [path.name for path in folder.iterdir()]
    facts = {name: FileFacts((folder / name).stat().st_size, sha256_of(folder / name)) for name in names}
    write_marker(folder, QWEN, facts)


def change_last_byte(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def one_file(folder: Path) -> None:
    for name in (*SHARDS, INDEX):
        (folder / name).unlink()
    save_file({"weight": torch.ones(3)}, folder / "model.safetensors")


def test_folders_of_other_programs_are_accepted_when_they_are_complete(tmp_path: Path, folder: Path) -> None:
    assert check(QWEN, str(tmp_path)) == check(QWEN, str(tmp_path), hashes=True) == []
    one_file(folder)
    assert check(QWEN, str(tmp_path)) == []


CORRUPT: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    (lambda folder: (folder / "tokenizer.json").write_text('{"a": '), "tokenizer.json is corrupt: it is not JSON"),
    (lambda folder: (folder / "preprocessor_config.json").write_text(""), "preprocessor_config.json is corrupt"),
    (lambda folder: (folder / SHARDS[1]).unlink(), f"{SHARDS[1]} is missing"),
    (lambda folder: os.truncate(folder / SHARDS[0], 150), f"{SHARDS[0]} is corrupt: it is truncated or damaged (150"),
    (lambda folder: os.truncate(folder / SHARDS[0], 20), f"{SHARDS[0]} is corrupt"),
    (lambda folder: os.truncate(folder / SHARDS[0], 0), f"{SHARDS[0]} is corrupt"),
    (lambda folder: (folder / SHARDS[0]).write_bytes(b"<html>not found</html>"), f"{SHARDS[0]} is corrupt"),
    (lambda folder: (folder / INDEX).write_text("{}"), f"{INDEX} is corrupt"),
    (lambda folder: (folder / INDEX).unlink(), "its weights are missing (model.safetensors)"),
]


@pytest.mark.parametrize(("damage", "message"), CORRUPT)
def test_a_missing_or_corrupt_file_is_named(
    tmp_path: Path, folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    (wrong,) = check(QWEN, str(tmp_path))
    assert message in wrong


def test_all_problems_are_reported_at_once(tmp_path: Path, folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / SHARDS[0]).unlink()
    assert check(QWEN, str(tmp_path)) == ["config.json is missing", f"{SHARDS[0]} is missing"]


def test_a_missing_folder(tmp_path: Path) -> None:
    assert check(QWEN, str(tmp_path)) == [f"the folder {QWEN.folder(str(tmp_path))} is missing"]
    said = how_to_fix(QWEN, str(tmp_path))
    assert f"beam-curate models download --models qwen2.5_vl --workspace {tmp_path}" in said
    assert "from a computer that has it" in said


def test_another_revision_is_named(tmp_path: Path, folder: Path) -> None:
    mark(folder)
    assert check(QWEN, str(tmp_path)) == []
    other = "0123456789" * 4
    (folder / MARKER).write_text((folder / MARKER).read_text().replace(QWEN.revision, other))
    assert check(QWEN, str(tmp_path)) == [f"it holds revision {other}; {QWEN.revision} is required"]


def test_downloaded_files_must_keep_their_size_and_hash(tmp_path: Path, folder: Path) -> None:
    (folder / "merges.txt").write_text("a b\n")
    mark(folder)
    (folder / "merges.txt").write_text("a b")
    assert check(QWEN, str(tmp_path)) == ["merges.txt has 3 bytes instead of 4"]
    (folder / "merges.txt").write_text("a b\n")
    change_last_byte(folder / SHARDS[1])
    assert check(QWEN, str(tmp_path)) == []
    assert check(QWEN, str(tmp_path), hashes=True) == [f"{SHARDS[1]} is corrupt: its SHA-256 differs from the hub's"]


@pytest.mark.parametrize("new_format", [False, True])
def test_files_of_torch_are_checked_too(tmp_path: Path, new_format: bool) -> None:
    folder = TRANSNETV2.folder(str(tmp_path))
    folder.mkdir(parents=True)
    path = folder / TRANSNETV2.weights[0]
    state = {"weight": torch.ones(300), "num_batches_tracked": torch.tensor(3), "half": torch.ones(2).half()}
    torch.save(state, path, _use_new_zipfile_serialization=new_format)
    assert check(TRANSNETV2, str(tmp_path)) == []
    os.truncate(path, path.stat().st_size - 1)
    (wrong,) = check(TRANSNETV2, str(tmp_path))
    assert f"{path.name} is corrupt" in wrong


@pytest.mark.parametrize("name", ["encoder.safetensors", "model.safetensors", "pytorch_model.bin"])
def test_the_text_encoder_may_come_in_each_of_its_forms(tmp_path: Path, name: str) -> None:
    folder = T5_XXL.folder(str(tmp_path))
    folder.mkdir(parents=True)
    for small in T5_XXL.required:
        (folder / small).write_text("{}")
    (wrong,) = check(T5_XXL, str(tmp_path))
    assert "its weights are missing (encoder.safetensors or model.safetensors or pytorch_model.bin)" in wrong
    state = {"shared.weight": torch.ones(4)}
    if name.endswith(".bin"):
        torch.save(state, folder / name)
    else:
        save_file(state, folder / name)
    assert check(T5_XXL, str(tmp_path)) == []
