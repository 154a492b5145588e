"""The exit status tells a script whether the run did what was asked, and the last line why not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Container
from pathlib import Path

import av
import pytest

from beam_curate.curate import curate
from beam_curate.options.parse import parse
from beam_curate.plan.plan import make_plan
from tests.support.media import make_video, text_file
from tests.support.misbehaving_server import BLOCKED, MisbehavingServer, Reply, refusal
from tests.support.program import DESCRIBED, FIXED_STRIDE, run, summary

SIZE = (96, 64)


def last_line(printed: str) -> str:
    return printed.strip().splitlines()[-1]


@pytest.fixture
def split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Curates in this process, which is quicker; returns the exit status and the last line."""

    def split(source: Path, *flags: str) -> tuple[int, str]:
        folders = ("--input-video-path", str(source), "--output-clip-path", str(tmp_path / "out"))
        status = curate(make_plan(parse([*DESCRIBED, *FIXED_STRIDE, *folders, *flags])))
        return status, last_line(capsys.readouterr().out)

    return split


def overwrite(path: Path, frames: Container[int]) -> None:
    """Overwrites the data of some frames with noughts."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    with path.open("r+b") as file:
        for number, (pos, size) in enumerate(places):
            if number in frames:
                file.seek(pos)
                file.write(bytes(size))


def test_every_video_fails_or_one_of_two(tmp_path: Path, split: Callable[..., tuple[int, str]]) -> None:
    source = tmp_path / "in"
    source.mkdir()
    text_file(source / "text.mp4")
    assert "every video failed (1)" in last_line(run(source, tmp_path / "out", *FIXED_STRIDE, expect=1))
    status, line = split(source)  # nothing to do
    assert status == 1 and "every video failed (1)" in line
    make_video(source / "good.mp4", frames=100, size=SIZE)
    assert split(source)[0] == 0
    status, line = split(source, "--max-failure-ratio", "0.4")
    assert status == 1 and re.search(r"1 of 2 videos failed.*--max-failure-ratio 0\.4", line)
    assert split(source, "--max-failure-ratio", "0.5")[0] == 0


def test_one_clip_of_two_fails_and_then_both(tmp_path: Path, split: Callable[..., tuple[int, str]]) -> None:
    path = make_video(tmp_path / "a.mp4", frames=240, size=SIZE, keyframe_interval=24)
    overwrite(path, range(150, 160))
    assert split(path)[0] == 0
    status, line = split(path, "--max-failure-ratio", "0")
    assert status == 1 and "1 of 2 clips failed" in line
    overwrite(path, range(50, 60))
    status, line = split(path)
    assert status == 1 and "every video failed (1)" in line


def test_a_record_that_cannot_be_written_costs_one_video(tmp_path: Path, split: Callable[..., tuple[int, str]]) -> None:
    """The record of a video has the name of a folder of others."""
    source = tmp_path / "in"
    (source / "a.mp4.json").mkdir(parents=True)
    names = ("a.mp4", "a.mp4.json/b.mp4", "c.mp4")
    for seed, name in enumerate(names):
        make_video(source / name, frames=100, size=SIZE, seed=seed)
    for _ in range(2):
        status, _ = split(source)
        counted = summary(tmp_path / "out")
        assert (status, counted["num_processed_videos"]) == (1, 2)
        (name,) = [name for name in names if counted[name]["state"] != "processed"]
        (failure,) = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
        assert (failure["error_type"], failure["uri"], failure["retriable"]) == (
            "OutputError",
            str(source / name),
            True,
        )
        assert str(tmp_path / "out" / "processed_videos" / "a.mp4.json") in failure["message"]
    (source / "a.mp4.json").rename(source / "others")
    shutil.rmtree(tmp_path / "out" / "processed_videos" / "a.mp4.json", ignore_errors=True)
    assert split(source)[0] == 0


def test_nothing_in_the_dataset(tmp_path: Path, split: Callable[..., tuple[int, str]]) -> None:
    path = make_video(tmp_path / "a.mp4", frames=60, size=SIZE)
    status, line = split(path, "--predict2-min-frames", "61")
    assert status == 1 and "the dataset is empty although there are 1 clips" in line
    assert "--predict2-min-frames" in line
    assert split(path, "--generate-cosmos-predict-dataset", "disable")[0] == 0


@pytest.mark.parametrize(
    ("reply", "words"),
    [(BLOCKED, "none of the 1 clips has a usable caption"), (refusal(401, "who are you"), "a stage was stopped")],
    ids=["blocked", "no key"],
)
def test_no_caption(tmp_path: Path, split: Callable[..., tuple[int, str]], reply: Reply, words: str) -> None:
    path = make_video(tmp_path / "a.mp4", frames=100, size=SIZE)
    with MisbehavingServer(otherwise=lambda body: reply).running() as server:
        status, line = split(path, "--captioning-algorithm", "openai", "--captioning-endpoint", server.url)
    assert status == 1 and words in line
