"""Bad input: a clear message or record, the other videos finished, nothing partial in the dataset."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from beam_curate.dataset.verify.verify import verify
from tests.support.media import make_video, text_file, truncate
from tests.support.program import FIXED_STRIDE, command, dataset_stems, run, summary


def test_rotten_files_cost_themselves_only(tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    make_video(source / "good.mp4", frames=240, seed=1)
    text_file(source / "text.mp4")
    (source / "zero.mp4").write_bytes(b"")
    truncate(make_video(source / "cut off.mp4", frames=240, seed=2), 0.5)
    make_video(source / "sound.mp4", frames=240, seed=3)
    printed = run(source, output, "--transnetv2-min-length-frames", "94", "--transnetv2-crop-s", "0")
    counted = summary(output)
    assert counted["num_processed_videos"] == 2
    for name in ("text.mp4", "zero.mp4", "cut off.mp4"):
        assert counted[name]["state"] == "failed"
        (failure,) = json.loads((output / "video_errors" / f"{name}_0.json").read_text())["failures"]
        assert failure["error_type"] == "UnreadableSourceError" and not failure["retriable"]
        assert name in printed
    lines = [json.loads(line) for line in (output / "failures.jsonl").read_text().splitlines()]
    assert {Path(line["uri"]).name for line in lines} == {"text.mp4", "zero.mp4", "cut off.mp4"}
    assert verify(output / "cosmos_predict2_video2world_dataset", allow_random_embeddings=True).ok
    assert "--retry-failed" in printed

    # Permanent failures are not tried again, unless asked.
    flags = ("--transnetv2-min-length-frames", "94", "--transnetv2-crop-s", "0")
    assert "Nothing to do" in run(source, output, *flags)
    make_video(source / "text.mp4", frames=120, seed=5)
    run(source, output, *flags, "--retry-failed")
    assert summary(output)["num_processed_videos"] == 3
    assert not (output / "video_errors" / "text.mp4_0.json").exists()
    strict = command(source, output, *flags, "--max-failure-ratio", "0.1")
    assert subprocess.run(strict, capture_output=True).returncode == 1


NAMES = (
    "with space.mp4",
    'quote\'s "double".mp4',
    "hash#percent%20.mp4",
    "ünïcødé 映画.mp4",
    "clip.mp4.part.mp4",
    "UPPER.MP4",
    "-dash.mp4",
    "a:b.mp4",
    "[brackets]*.mp4",
    "new\nline.mp4",
)


def test_names_of_every_kind(tmp_path: Path) -> None:
    source, output = tmp_path / "in [1]", tmp_path / "out #1"
    source.mkdir()
    for seed, name in enumerate(NAMES):
        path = make_video(source / "plain.mp4", frames=100, seed=seed)
        path.rename(source / name)
    run(source, output, *FIXED_STRIDE, "--fixed-stride-min-clip-length-s", "1")
    assert summary(output)["num_processed_videos"] == len(NAMES)
    assert len(dataset_stems(output)) == len(NAMES)
    for name in NAMES:
        assert (output / "processed_videos" / f"{name}.json").exists()
    assert verify(output / "cosmos_predict2_video2world_dataset", allow_random_embeddings=True).ok


def test_a_video_of_no_clip_is_recorded(tmp_path: Path) -> None:
    make_video(tmp_path / "short.mp4", frames=12)
    run(tmp_path / "short.mp4", tmp_path / "out", *FIXED_STRIDE)
    assert summary(tmp_path / "out")["num_processed_videos"] == 1
    assert "Nothing to do" in run(tmp_path / "short.mp4", tmp_path / "out", *FIXED_STRIDE)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--input-video-path", "{}/empty"], ["no videos in", "--input-extensions"]),
        (["--input-video-path", "{}/nowhere"], ["--input-video-path", "no such file or folder"]),
        (["--input-video-path", "{}/in", "--output-clip-path", "{}/in/out"], ["lies inside the input folder"]),
        (["--input-video-path", "{}/in", "--output-clip-path", "{}"], ["contains the input folder"]),
        (["--input-video-path", "{}/in", "--output-clip-path", "{}/in"], ["is the input folder"]),
        (["--input-video-path", "{}/in", "--output-clip-path", "{}/file/out"], ["cannot be written"]),
        (["--input-video-path", "{}/in", "--output-clip-path", "/proc/out"], ["cannot be written"]),
        (["--input-video-path", "{}/in", "--text-encoder", "t5_11b"], ["google-t5/t5-11b", "models download"]),
        (["--input-video-path", "{}/in", "--transcode-encoder", "h264_nvenc"], ["h264_nvenc does not work here"]),
        (["--input-video-path", "{}/in", "--captoning-algorithm", "describe"], ["did you mean --captioning-algorithm"]),
        (["--input-video-path", "{}/in", "--captioning-algorithm", "gemini"], ["not supported yet"]),
        (["--input-video-path", "{}/in", "--vlm-filter", "enable"], ["--vlm-filter", "not supported yet"]),
        (["--input-video-list-json-path", "{}/list.json"], ["list.json", "not valid JSON"]),
    ],
)
def test_mistakes_are_told_before_the_first_video(tmp_path: Path, flags: list[str], words: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "list.json").write_text("[")
    text_file(tmp_path / "in" / "a.mp4")
    given = [flag.replace("{}", str(tmp_path)) for flag in flags]
    if "--output-clip-path" not in given:
        given += ["--output-clip-path", str(tmp_path / "out")]
    base = command(Path("unused"), Path("unused"))
    base = base[: base.index("--input-video-path")]
    done = subprocess.run([*base, *given], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path / "in") == ["a.mp4"]


def test_a_users_own_transforms_folder_is_not_imported(tmp_path: Path) -> None:
    for name in ("transforms", "runners"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package was imported')")
    make_video(tmp_path / "a.mp4", frames=100)
    flags = command(tmp_path / "a.mp4", tmp_path / "out", *FIXED_STRIDE)
    done = subprocess.run(flags, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(dataset_stems(tmp_path / "out")) == 1
