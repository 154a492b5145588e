"""The main job as a process, on real files; what it wrote is opened and checked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import av
import numpy as np
import pytest

from beam_curate.dataset.verify.verify import verify
from beam_curate.text_embeddings.t5 import token_counter
from tests.support.media import frame_numbers
from tests.support.program import FIXED_STRIDE, dataset_stems, run, snapshot, summary


@pytest.fixture(scope="module")
def curated(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The reference command on the folder: its output folder, and what it printed."""
    output = tmp_path_factory.mktemp("main") / "out"
    printed = run(videos, output, "--splitting-algorithm", "transnetv2", "--transnetv2-min-length-frames", "94")
    return output, printed


def test_the_dataset_is_clean(curated: tuple[Path, str]) -> None:
    dataset = curated[0] / "cosmos_predict2_video2world_dataset"
    counter = token_counter("t5_random", "")
    report = verify(dataset, allow_random_embeddings=True, count_tokens=counter)
    assert report.ok, report.faults
    assert report.num_items >= 6
    assert not verify(dataset).ok  # random embeddings are refused unless asked for


def test_clips_hold_exactly_the_frames_of_their_span(curated: tuple[Path, str]) -> None:
    metas = [json.loads(path.read_text()) for path in (curated[0] / "metas" / "v0").glob("*.json")]
    assert len(metas) >= 5
    for meta in metas:
        start, end = meta["frame_span"]
        numbers = frame_numbers(Path(meta["clip_location"]))
        assert numbers == list(range(start, end)), meta["source_video"]
        assert meta["num_frames"] == end - start


def test_first_middle_and_last_frame_match_the_source_better_than_any_neighbour(curated: tuple[Path, str]) -> None:
    for path in (curated[0] / "metas" / "v0").glob("*.json"):
        meta = json.loads(path.read_text())
        start, end = meta["frame_span"]
        assert_frames_match(Path(meta["clip_location"]), Path(meta["source_video"]), start, end)


def assert_frames_match(clip: Path, source: Path, start: int, end: int) -> None:
    """Compares three frames of a clip with the source's frames around the indices they should have."""
    clip_frames = grey_frames(clip)
    source_frames = grey_frames(source)
    for index in (0, (end - start) // 2, end - start - 1):
        shown = clip_frames[index]
        around = range(max(0, start + index - 3), min(len(source_frames), start + index + 4))
        height, width = shown.shape  # an odd row or column of the source is cut off
        errors = {i: float(np.mean((source_frames[i][:height, :width] - shown) ** 2)) for i in around}
        assert min(errors, key=errors.__getitem__) == start + index, (clip, index, errors)


def grey_frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray").astype(np.float32) for frame in container.decode(video=0)]


def test_windows_of_a_long_clip_are_cut_at_their_frames(curated: tuple[Path, str]) -> None:
    output = curated[0]
    long = [
        json.loads(path.read_text())
        for path in (output / "metas" / "v0").glob("*.json")
        if len(json.loads(path.read_text())["windows"]) > 1
    ]
    assert long, "the 24 s video without a cut has several windows"
    for meta in long:
        for window in meta["windows"]:
            first, last = window["start_frame"], window["end_frame"]
            stem = f"{meta['span_uuid']}_{first}_{last}"
            video = output / "cosmos_predict2_video2world_dataset" / "videos" / f"{stem}.mp4"
            start = meta["frame_span"][0]
            assert frame_numbers(video) == list(range(start + first, start + last + 1))


def test_records_count_truly(curated: tuple[Path, str]) -> None:
    output, printed = curated
    counted = summary(output)
    clips = list((output / "clips").glob("*.mp4"))
    assert counted["num_input_videos"] == counted["num_processed_videos"] == 4
    assert counted["total_num_clips_passed"] == counted["total_num_clips_transcoded"] == len(clips)
    assert counted["beam_curate"]["num_dataset_items"] == len(dataset_stems(output))
    assert counted["zz short.mp4"]["num_total_clips"] == 0
    for relative in ("first.mp4", "second.mkv", "deeper/third.mov", "zz short.mp4"):
        record = json.loads((output / "processed_videos" / f"{relative}.json").read_text())
        assert record["num_clip_chunks"] == 1
    assert json.loads((output / "processed_videos" / "first.mp4.json").read_text())["num_frames"] == 330
    captions = json.loads((output / "v0" / "all_window_captions.json").read_text())
    assert set(captions) == {"first.mp4", "second.mkv", "deeper/third.mov", "zz short.mp4"}
    assert (output / "failures.jsonl").read_text() == ""
    assert "4 found, 4 processed" in printed
    assert "random" in printed
    assert (output / "cosmos_predict2_video2world_dataset" / "NOT_FOR_TRAINING.txt").exists()


def test_audio_travels_with_the_clip(curated: tuple[Path, str]) -> None:
    output = curated[0]
    for clip in summary(output)["first.mp4"]["clips"]:
        with av.open(str(output / "clips" / f"{clip}.mp4")) as container:
            assert [stream.codec_context.name for stream in container.streams.audio] == ["aac"]
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert abs(float(video.duration * video.time_base) - float(audio.duration * audio.time_base)) < 0.1


def test_a_second_run_computes_nothing_and_says_so(videos: Path, curated: tuple[Path, str]) -> None:
    output, _ = curated
    before = snapshot(output)
    printed = run(videos, output, "--splitting-algorithm", "transnetv2", "--transnetv2-min-length-frames", "94")
    assert "Nothing to do: nothing was computed and no model was loaded." in printed
    assert snapshot(output) == before


def test_interrupted_writing_leaves_no_temporary_files(curated: tuple[Path, str]) -> None:
    tmp = curated[0] / ".work" / "tmp"
    assert not tmp.exists() or not list(tmp.iterdir())


def test_validation_fraction_splits_by_source_video(videos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(videos, output, *FIXED_STRIDE, "--validation-fraction", "0.5")
    train, val = dataset_stems(output, "train"), dataset_stems(output, "val")
    assert train and val and not train & val
    parts = {}
    for path in (output / "processed_videos").rglob("*.json"):
        record = json.loads(path.read_text())
        parts[record["video"]] = record["dataset_part"]
    for path in (output / "metas" / "v0").glob("*.json"):
        meta = json.loads(path.read_text())
        stems = {f"{meta['span_uuid']}_{w['start_frame']}_{w['end_frame']}" for w in meta["windows"]}
        assert not stems & (train if parts[meta["source_video"]] == "val" else val)
    dataset = output / "cosmos_predict2_video2world_dataset"
    assert verify(dataset, allow_random_embeddings=True).ok
    assert (dataset / "train" / "NOT_FOR_TRAINING.txt").exists()
    printed = run(videos, output, *FIXED_STRIDE, "--validation-fraction", "0", "--limit", "1")
    assert "still hold items of videos that were not done with this --validation-fraction" in printed
    assert {fault.rule for fault in verify(dataset, allow_random_embeddings=True).faults} == {"two_layouts"}
    printed = run(videos, output, *FIXED_STRIDE)
    assert "still hold" not in printed
    assert dataset_stems(output) == train | val
    assert verify(dataset, allow_random_embeddings=True).ok
    assert {path.name for path in dataset.iterdir()} == {"videos", "metas", "t5_xxl", "NOT_FOR_TRAINING.txt"}


def test_dry_run_writes_nothing(videos: Path, tmp_path: Path) -> None:
    printed = run(videos, tmp_path / "out", "--dry-run")
    assert "first.mp4" in printed and "minutes" in printed and "GB" in printed
    assert os.listdir(tmp_path) == []


def test_captions_and_dataset_can_be_off(videos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(
        videos, output, *FIXED_STRIDE, "--limit", "1", "--no-generate-captions", "--generate-cosmos-predict-dataset",
        "disable",
    )  # fmt: skip
    meta = json.loads(next((output / "metas" / "v0").glob("*.json")).read_text())
    assert meta["valid"] is True and meta["has_caption"] is False
    assert not (output / "cosmos_predict2_video2world_dataset").exists()
