"""Workers that lack a model copy it from a folder or a bucket, once per machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from beam_curate.errors import ModelFilesError
from beam_curate.models.catalog import T5_XXL, by_name
from beam_curate.store.files import sha256_of
from beam_curate.weights.check import MARKER, FileFacts, check, write_marker
from beam_curate.weights.fetch import WeightsSource, ensure
from tests.support.stores import PROFILE, new_place, upload

QWEN = by_name("qwen2.5_vl")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A copy of a models folder with a captioner that was downloaded."""
    folder = tmp_path / "store" / QWEN.model_id
    folder.mkdir(parents=True)
    for name in (*QWEN.required, "merges.txt"):
        (folder / name).write_text("{}")
    save_file({"weight": torch.arange(2000.0)}, folder / "model.safetensors")
    (folder / "notes.doc").write_text("not wanted")
    facts = {
        path.name: FileFacts(path.stat().st_size, sha256_of(path)) for path in folder.iterdir() if path.suffix != ".doc"
    }
    write_marker(folder, QWEN, facts)
    return tmp_path / "store"


def names_in(workspace: Path) -> set[str]:
    return {path.name for path in QWEN.folder(str(workspace)).iterdir()}


def test_a_model_is_copied_from_a_folder(tmp_path: Path, store: Path) -> None:
    ensure(QWEN, str(tmp_path / "here"), WeightsSource(str(store)))
    assert check(QWEN, str(tmp_path / "here"), hashes=True) == []
    assert names_in(tmp_path / "here") == {*QWEN.required, "merges.txt", "model.safetensors", MARKER}
    (store / QWEN.model_id).rename(tmp_path / "gone")
    ensure(QWEN, str(tmp_path / "here"), WeightsSource(str(store)))


def test_an_incomplete_folder_is_completed_and_its_other_files_stay(tmp_path: Path, store: Path) -> None:
    folder = QWEN.folder(str(tmp_path / "here"))
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{")
    (folder / "mine.txt").write_text("mine")
    ensure(QWEN, str(tmp_path / "here"), WeightsSource(f"{store}/"))
    assert check(QWEN, str(tmp_path / "here"), hashes=True) == []
    assert (folder / "mine.txt").read_text() == "mine"


def test_only_the_extracted_encoder_of_t5_is_copied(tmp_path: Path) -> None:
    folder = tmp_path / "store" / T5_XXL.model_id
    folder.mkdir(parents=True)
    for name in (*T5_XXL.required, "pytorch_model.bin"):
        (folder / name).write_text("{}")
    save_file({"shared.weight": torch.ones(3)}, folder / "encoder.safetensors")
    paths = list(folder.iterdir())
    write_marker(folder, T5_XXL, {path.name: FileFacts(path.stat().st_size, sha256_of(path)) for path in paths})
    ensure(T5_XXL, str(tmp_path / "here"), WeightsSource(str(tmp_path / "store")))
    there = {path.name for path in T5_XXL.folder(str(tmp_path / "here")).iterdir()}
    assert there == {*T5_XXL.required, "encoder.safetensors", MARKER}


def test_a_missing_copy(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"there is no Qwen/.* in .*nowhere/Qwen.*--model-weights-path"):
        ensure(QWEN, str(tmp_path / "here"), WeightsSource(str(tmp_path / "nowhere")))


def test_a_corrupt_copy_does_not_reach_the_workspace(tmp_path: Path, store: Path) -> None:
    os.truncate(store / QWEN.model_id / "model.safetensors", 3000)
    with pytest.raises(ModelFilesError, match=r"is not complete: model.safetensors has 3,000 bytes instead of"):
        ensure(QWEN, str(tmp_path / "here"), WeightsSource(str(store)))
    assert not QWEN.folder(str(tmp_path / "here")).exists()
    assert not list(tmp_path.glob("here/models/*/.*.fetching"))


ENSURE = """
import logging, sys
from beam_curate.models.catalog import by_name
from beam_curate.weights.fetch import WeightsSource, ensure
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
ensure(by_name("qwen2.5_vl"), sys.argv[1], WeightsSource(sys.argv[2]))
"""


def test_concurrent_processes_copy_a_model_once(tmp_path: Path, store: Path) -> None:
    arguments = [sys.executable, "-c", ENSURE, str(tmp_path / "here"), str(store)]
    processes = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum("copying" in text for text in printed) == 1
    assert check(QWEN, str(tmp_path / "here"), hashes=True) == []


def test_leftovers_of_a_killed_process_do_no_harm(tmp_path: Path, store: Path) -> None:
    left = QWEN.folder(str(tmp_path / "here")).with_name(".Qwen2.5-VL-7B-Instruct.fetching")
    left.mkdir(parents=True)
    (left / "model.safetensors").write_text("half of it")
    ensure(QWEN, str(tmp_path / "here"), WeightsSource(str(store)))
    assert check(QWEN, str(tmp_path / "here"), hashes=True) == []
    assert not left.exists()


@pytest.mark.parametrize("kind", ["gs", "s3"])
def test_a_model_is_copied_from_a_bucket(
    tmp_path: Path, store: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    place = new_place(kind, tmp_path, request)
    upload(store, place)
    ensure(QWEN, str(tmp_path / "here"), WeightsSource(f"{place}/", PROFILE))
    assert check(QWEN, str(tmp_path / "here"), hashes=True) == []
    assert names_in(tmp_path / "here") == {*QWEN.required, "merges.txt", "model.safetensors", MARKER}
    with pytest.raises(ModelFilesError, match=f"there is no .* in {place}/elsewhere/Qwen"):
        ensure(QWEN, str(tmp_path / "there"), WeightsSource(f"{place}/elsewhere", PROFILE))
