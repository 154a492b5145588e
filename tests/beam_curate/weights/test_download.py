"""Downloads from a hub on this machine, by the command as a user runs it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file, save
from transformers import T5Config, T5ForConditionalGeneration

from beam_curate.models.catalog import T5_XXL, by_name
from beam_curate.text_embeddings import t5 as t5_models
from beam_curate.weights.check import MARKER, check
from tests.support.hub_server import TOKEN, Hub, Repository, serving
from tests.support.hub_user import INDEX, QWEN, SHARDS, WANTED, captioner, command, download
from tests.support.program import wait_for
from tests.support.tiny_models import make_t5


def t5_state() -> dict[str, torch.Tensor]:
    config = T5Config(vocab_size=64, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return dict(T5ForConditionalGeneration(config).state_dict())


def t5() -> Repository:
    """T5's repository, with weights in torch's oldest format, like those of T5-11B."""
    file = io.BytesIO()
    torch.save(t5_state(), file, _use_new_zipfile_serialization=False)
    files = dict.fromkeys(("config.json", "tokenizer.json", "tokenizer_config.json"), b'{"num_layers": 2}')
    files |= {"spiece.model": b"pieces", "pytorch_model.bin": file.getvalue(), "tf_model.h5": b"not wanted"}
    return Repository(T5_XXL.revision, files)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving({QWEN.model_id: captioner(), T5_XXL.model_id: t5()}) as hub:
        yield hub


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_captioner_is_downloaded_once_with_what_it_needs_and_nothing_else(tmp_path: Path, hub: Hub) -> None:
    folder = QWEN.folder(str(tmp_path))
    printed = download(hub, tmp_path, QWEN)
    assert "is complete" in printed
    assert names_in(folder) == {*WANTED, *SHARDS, INDEX, MARKER}
    for name in (*WANTED, *SHARDS):
        assert (folder / name).read_bytes() == hub.repositories[QWEN.model_id].files[name]
    assert check(QWEN, str(tmp_path), hashes=True) == []
    assert hub.authorizations == {f"Bearer {TOKEN}"}
    asked = len(hub.sent)
    assert "is complete" in download(hub, tmp_path, QWEN)
    assert len(hub.sent) == asked


def test_missing_or_corrupt_files_are_downloaded_and_the_others_kept(tmp_path: Path, hub: Hub) -> None:
    download(hub, tmp_path, QWEN)
    hub.sent.clear()
    folder = QWEN.folder(str(tmp_path))
    (folder / "config.json").unlink()
    os.truncate(folder / SHARDS[1], 1000)
    download(hub, tmp_path, QWEN)
    assert sorted(hub.names()) == ["config.json", SHARDS[1]]
    assert check(QWEN, str(tmp_path), hashes=True) == []


def test_a_lost_connection_does_not_end_the_download(tmp_path: Path, hub: Hub) -> None:
    hub.repositories[QWEN.model_id].cut = {SHARDS[0]: 1 << 20}
    download(hub, tmp_path, QWEN)
    assert hub.names().count(SHARDS[0]) == 2
    assert check(QWEN, str(tmp_path), hashes=True) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_download_resumes(tmp_path: Path, number: signal.Signals) -> None:
    # huggingface_hub writes 10 MB at a time.
    repository = captioner()
    large = save({"weight.0": torch.arange(6 << 20, dtype=torch.float32)})
    repository.files = {**repository.files, SHARDS[0]: large}
    repository.stalled = {SHARDS[0]: 22_000_000}
    with serving({QWEN.model_id: repository}) as hub:
        process = subprocess.Popen(
            command("download", "--models", QWEN.name, "--workspace", str(tmp_path)),
            env=os.environ | hub.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        folder = QWEN.folder(str(tmp_path))
        wait_for(lambda: sum(path.stat().st_size for path in folder.glob(".*.partial")) >= 20_000_000, process, 60)
        process.send_signal(number)
        printed = process.communicate(timeout=30)[0]
        assert number == signal.SIGKILL or (process.returncode == 128 + number and "again to resume" in printed)
        before = len(hub.sent)
        download(hub, tmp_path, QWEN)
        resumed = [first for name, first in hub.sent[before:] if name == SHARDS[0]]
        assert resumed
        assert resumed[0] >= 20_000_000
        assert (folder / SHARDS[0]).read_bytes() == large
        assert names_in(folder) == {*WANTED, *SHARDS, INDEX, MARKER}


@pytest.mark.parametrize("name", [SHARDS[1], "tokenizer.json"])
def test_a_file_damaged_on_the_way_is_removed_and_named(tmp_path: Path, hub: Hub, name: str) -> None:
    repository = hub.repositories[QWEN.model_id]
    repository.damaged = {name}
    printed = download(hub, tmp_path, QWEN, expect=1)
    assert f"{name} was damaged" in printed
    assert "run the same command again" in printed
    assert not [left for left in names_in(QWEN.folder(str(tmp_path))) if name in left]
    repository.damaged = set()
    download(hub, tmp_path, QWEN)
    assert check(QWEN, str(tmp_path), hashes=True) == []


def test_too_small_a_disk_is_reported_before_the_download(tmp_path: Path, hub: Hub) -> None:
    hub.repositories[QWEN.model_id].claimed_sizes = {SHARDS[0]: 10**16}
    printed = download(hub, tmp_path, QWEN, expect=1)
    assert "qwen2.5_vl needs 10,000,000.0 GB on the disk of" in printed
    assert "--workspace" in printed
    assert hub.sent == []


def test_t5_needs_room_for_its_copy_too(tmp_path: Path, hub: Hub) -> None:
    hub.repositories[T5_XXL.model_id].claimed_sizes = {"pytorch_model.bin": 10**16}
    printed = download(hub, tmp_path, T5_XXL, expect=1)
    needed = float(printed.split("t5_xxl needs ")[1].split(" GB")[0].replace(",", ""))
    assert 1.4e7 < needed < 1.5e7  # the original, and 19.5 GB for each 45.3 GB of it


def test_a_gated_model_says_where_its_licence_is_accepted(tmp_path: Path, hub: Hub) -> None:
    hub.repositories[QWEN.model_id].gated = True
    printed = download(hub, tmp_path, QWEN, expect=1)
    for part in (f"https://huggingface.co/{QWEN.model_id}", "HF_TOKEN", "hf auth login", "licence"):
        assert part in printed


def test_a_revision_missing_on_the_hub(tmp_path: Path, hub: Hub) -> None:
    hub.repositories[QWEN.model_id].revision = "0" * 40
    assert f"has no revision {QWEN.revision} of qwen2.5_vl" in download(hub, tmp_path, QWEN, expect=1)


def test_a_model_missing_on_the_hub(tmp_path: Path, hub: Hub) -> None:
    printed = download(hub, tmp_path, by_name("cosmos_reason1"), expect=1)
    assert "the hub answered 404 for cosmos_reason1 (nvidia/Cosmos-Reason1-7B)" in printed


@pytest.mark.parametrize("environment", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}])
def test_without_a_network_the_message_says_how_to_copy_the_folder(
    tmp_path: Path, hub: Hub, environment: dict[str, str]
) -> None:
    printed = download(hub, tmp_path, QWEN, expect=1, environment=environment)
    assert "qwen2.5_vl (Qwen/Qwen2.5-VL-7B-Instruct)" in printed
    assert f"on another computer and copy {QWEN.folder(str(tmp_path))}" in printed


def test_one_failed_model_does_not_stop_the_others(tmp_path: Path, hub: Hub) -> None:
    done = subprocess.run(
        command("download", "--models", "cosmos_reason1,qwen2.5_vl", "--workspace", str(tmp_path)),
        env=os.environ | hub.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "cosmos_reason1" in done.stderr
    assert check(QWEN, str(tmp_path)) == []


def test_the_models_of_a_run_are_downloaded_by_its_flags(tmp_path: Path, hub: Hub) -> None:
    flags = "--captioning-algorithm qwen --generate-cosmos-predict-dataset predict2 --workspace "
    subprocess.run(command("download", "--for", flags + str(tmp_path)), env=os.environ | hub.environment, check=True)
    assert check(QWEN, str(tmp_path)) == check(T5_XXL, str(tmp_path)) == []


def assert_encoder(folder: Path) -> None:
    copied, state = load_file(folder / "encoder.safetensors"), t5_state()
    assert set(copied) == {
        name for name in state if name.startswith(("encoder.", "shared.")) and name != "encoder.embed_tokens.weight"
    }
    assert all(torch.equal(tensor, state[name]) for name, tensor in copied.items())


def test_only_the_encoder_of_t5_is_kept(tmp_path: Path, hub: Hub) -> None:
    folder = T5_XXL.folder(str(tmp_path))
    assert "encoder.safetensors" in download(hub, tmp_path, T5_XXL)
    assert names_in(folder) == {"config.json", "tokenizer.json", "spiece.model", "encoder.safetensors", MARKER}
    assert_encoder(folder)
    assert check(T5_XXL, str(tmp_path), hashes=True) == []
    asked = len(hub.sent)
    download(hub, tmp_path, T5_XXL)
    assert len(hub.sent) == asked


def test_the_original_of_t5_is_kept_on_request(tmp_path: Path, hub: Hub) -> None:
    folder = T5_XXL.folder(str(tmp_path))
    download(hub, tmp_path, T5_XXL, "--keep-original")
    original = hub.repositories[T5_XXL.model_id].files["pytorch_model.bin"]
    assert (folder / "pytorch_model.bin").read_bytes() == original
    assert_encoder(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.reduced"])
def test_present_weights_of_t5_are_used_without_a_network_and_kept(tmp_path: Path, hub: Hub, name: str) -> None:
    folder = T5_XXL.folder(str(tmp_path))
    folder.mkdir(parents=True)
    files = hub.repositories[T5_XXL.model_id].files
    for small in T5_XXL.required:
        (folder / small).write_bytes(files[small])
    (folder / name).write_bytes(files["pytorch_model.bin"])
    download(hub, tmp_path, T5_XXL, environment={"HF_HUB_OFFLINE": "1"})
    assert_encoder(folder)
    assert (folder / name).read_bytes() == files["pytorch_model.bin"]


def test_another_revision_of_t5_is_replaced(tmp_path: Path, hub: Hub) -> None:
    folder = T5_XXL.folder(str(tmp_path))
    download(hub, tmp_path, T5_XXL, "--keep-original")
    marker = folder / MARKER
    marker.write_text(marker.read_text().replace(T5_XXL.revision, "1" * 40))
    hub.sent.clear()
    download(hub, tmp_path, T5_XXL)
    assert hub.names() == ["pytorch_model.bin"]
    assert check(T5_XXL, str(tmp_path), hashes=True) == []


def test_a_lost_encoder_of_t5_is_extracted_again(tmp_path: Path, hub: Hub) -> None:
    folder = T5_XXL.folder(str(tmp_path))
    download(hub, tmp_path, T5_XXL)
    os.truncate(folder / "encoder.safetensors", 500)
    download(hub, tmp_path, T5_XXL)
    assert_encoder(folder)
    assert check(T5_XXL, str(tmp_path), hashes=True) == []


def test_two_downloads_of_a_model_at_once_share_the_work(tmp_path: Path, hub: Hub) -> None:
    arguments = command("download", "--models", QWEN.name, "--workspace", str(tmp_path))
    processes = [subprocess.Popen(arguments, env=os.environ | hub.environment) for _ in range(2)]
    assert [process.wait(100) for process in processes] == [0, 0]
    assert len(hub.names()) == len(set(hub.names())) == len(WANTED) + len(SHARDS) + 1
    assert load((QWEN.folder(str(tmp_path)) / SHARDS[0]).read_bytes())


def test_the_extracted_encoder_of_t5_gives_the_same_states(tmp_path: Path, hub: Hub) -> None:
    folder = make_t5(T5_XXL.folder(str(tmp_path)))
    load_encoder = t5_models.reference("t5_11b", str(tmp_path)).load
    encoder = load_encoder("cpu")
    tokens = encoder.tokenize(["A red car turns left at dusk."])
    (expected,) = encoder.encode(tokens)
    download(hub, tmp_path, T5_XXL, environment={"HF_HUB_OFFLINE": "1"})
    (folder / "model.safetensors").unlink()
    (states,) = load_encoder("cpu").encode(tokens)
    assert (states == expected).all()
