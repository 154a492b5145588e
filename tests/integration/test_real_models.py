"""The program as a process with models of the real classes, tiny and seeded, from videos to a dataset."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from beam_curate.dataset.verify.verify import verify
from beam_curate.text_embeddings.t5 import token_counter
from tests.support.media import make_video
from tests.support.program import dataset_stems, run, snapshot, summary
from tests.support.tiny_models import CAPTIONS, make_workspace

SHOTS = ("--splitting-algorithm", "transnetv2", "--transnetv2-min-length-frames", "94")
PROMPT = 'Say "what" {happens} in {0} %s \\n\n— line two 🚗 <|im_end|>'
CAPTION = CAPTIONS["cosmos_reason1"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    make_video(folder / "cut.mp4", frames=270, shots=(0, 130), audio="aac", seed=1)
    make_video(folder / "long.mp4", frames=420, seed=2)  # a clip of two windows
    return folder


@pytest.fixture(scope="module")
def flags(workspace: str) -> tuple[str, ...]:
    return (*SHOTS, "--captioning-algorithm", "cosmos_r1", "--text-encoder", "t5_11b", "--workspace", workspace)


@pytest.fixture(scope="module")
def curated(footage: Path, flags: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("real") / "out"
    run(footage, output, *flags)
    return output


def metas(output: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((output / "metas" / "v0").glob("*.json"))]


def windows(output: Path) -> list[dict[str, Any]]:
    return [window for meta in metas(output) for window in meta["windows"]]


def counts(output: Path) -> dict[str, int]:
    counted: dict[str, int] = summary(output)["beam_curate"]["counts_of_this_run"]
    return counted


def dataset_texts(output: Path) -> list[str]:
    folder = output / "cosmos_predict2_video2world_dataset" / "metas"
    return [path.read_text() for path in sorted(folder.glob("*.txt"))]


def test_captions_are_what_the_model_says_without_its_reasoning(curated: Path, workspace: str) -> None:
    found = windows(curated)
    assert len(found) >= 4
    assert {(window["cosmos_r1_caption"], window["caption_status"]) for window in found} == {(CAPTION, "success")}
    texts = dataset_texts(curated)
    assert texts == [CAPTION] * len(found) and len(dataset_stems(curated)) == len(found)
    everything = (curated / "v0" / "all_window_captions.json").read_text()
    assert CAPTION in everything and "<think>" not in everything
    counter = token_counter("t5_11b", workspace)
    report = verify(curated / "cosmos_predict2_video2world_dataset", count_tokens=counter)
    assert report.ok, report.faults
    assert (curated / "failures.jsonl").read_text() == ""


def test_tokens_are_counted_from_the_window_to_the_summary(curated: Path) -> None:
    found = windows(curated)
    for kind in ("prompt", "output"):
        each = [window[f"cosmos_r1_{kind}_tokens"] for window in found]
        assert min(each) > 10
        assert sum(each) == sum(meta[f"total_{kind}_tokens"] for meta in metas(curated))
        assert sum(each) == summary(curated)[f"total_{kind}_tokens"] == counts(curated)[f"caption {kind} tokens"]
    assert counts(curated)["windows captioned"] == len(found)
    assert counts(curated)["models loaded: cosmos_reason1"] >= 1


def test_a_second_run_computes_nothing_and_loads_no_model(curated: Path, footage: Path, flags: tuple[str, ...]) -> None:
    before = snapshot(curated)
    printed = run(footage, curated, *flags)
    assert "Nothing to do: nothing was computed and no model was loaded." in printed
    assert snapshot(curated) == before


def test_captions_are_remembered_when_later_options_change(
    curated: Path, footage: Path, flags: tuple[str, ...], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(curated, output)
    run(footage, output, *flags, "--predict2-min-frames", "100")
    loaded = [name for name in counts(output) if name.startswith("models loaded")]
    assert loaded == ["models loaded: t5_11b"]
    assert dataset_texts(output) == [CAPTION] * len(dataset_stems(output))


def test_another_family_two_passes_and_an_odd_prompt(
    curated: Path, footage: Path, flags: tuple[str, ...], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(curated, output)  # with the shots and clips that it remembers
    others = ("--captioning-algorithm", "cosmos_r2", "--qwen-stage2-caption", "--captioning-prompt-text", PROMPT)
    run(footage, output, *flags, *others, "--captioning-batch-tokens", "3000")
    found = windows(output)
    assert {(window["cosmos_r2_caption"], window["caption_status"]) for window in found} == {(CAPTION, "success")}
    assert summary(output)["beam_curate"]["options"]["captioning_prompt_text"] == PROMPT
    once = windows(curated)[0]["cosmos_r1_output_tokens"]
    assert {window["cosmos_r2_output_tokens"] for window in found} == {2 * once}
    assert verify(output / "cosmos_predict2_video2world_dataset").ok


def test_answers_without_a_caption_stay_out_of_the_dataset(
    curated: Path, footage: Path, flags: tuple[str, ...], tmp_path: Path
) -> None:
    """Answers are cut within the reasoning: that is told, and the run goes on to its end."""
    output = tmp_path / "out"
    shutil.copytree(curated, output)
    printed = run(footage, output, *flags, "--captioning-max-output-tokens", "20", expect=1)
    found = windows(output)
    assert {(window["cosmos_r1_caption"], window["caption_status"]) for window in found} == {("", "error")}
    assert {window["caption_failure_reason"] for window in found} == {"cut_off"}
    assert all(window["left_out_of_dataset"] == "no usable caption (cut_off)" for window in found)
    assert not dataset_stems(output)
    failures = [json.loads(line) for line in (output / "failures.jsonl").read_text().splitlines()]
    assert {failure["error_type"] for failure in failures} == {"ModelOutputError"}
    assert "--captioning-max-output-tokens" in failures[0]["message"]
    assert "ModelOutputError" in printed
    assert "models loaded: t5_11b" not in counts(output)


def test_a_model_without_its_tokenizer_is_told_before_the_first_video(
    footage: Path, workspace: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    broken = tmp_path / "workspace"
    shutil.copytree(workspace, broken)
    (broken / "models" / "nvidia" / "Cosmos-Reason1-7B" / "tokenizer.json").unlink()
    printed = run(footage, tmp_path / "out", *flags, "--workspace", str(broken), expect=2)
    assert "tokenizer.json" in printed and "beam-curate models download --models cosmos_reason1" in printed
    assert not (tmp_path / "out" / "clips").exists()
