"""Footage of which no clip is made is never silent: each cause is told, and with the clips it adds up to the source."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import pytest

from tests.support import media
from tests.support.program import run
from tests.support.restamped import restamped

STRIDE = ("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", "2", "--limit-clips", "3")
STRIDE += ("--predict2-min-frames", "4")
SHORTEST, PAUSES, LIMIT = "shorter than the shortest clip", "pauses of the recording", "over --limit-clips"
DAMAGED, UNREADABLE = "damaged or lost frames", "videos that could not be read"
SMALL: dict[str, Any] = {"size": (96, 64), "keyframe_interval": 12}


def smeared(path: Path, picture: int) -> None:
    """Overwrites one picture with noise."""
    with av.open(str(path)) as container:
        position, size = [(p.pos, p.size) for p in container.demux(video=0) if p.size][picture]
    content = bytearray(path.read_bytes())
    content[position + size // 3 : position + size - 8] = b"\x5a" * (size - 8 - size // 3)
    path.write_bytes(content)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("footage")
    source = folder / "in"
    source.mkdir()
    media.make_video(source / "good.mp4", frames=96, **SMALL)
    media.make_video(source / "short.mp4", frames=24, seed=1, **SMALL)
    media.make_video(source / "fast.mp4", frames=96, rate=Fraction(1000), seed=2, **SMALL)
    media.make_video(source / "limited.mp4", frames=240, seed=3, **SMALL)
    smeared(media.make_video(source / "damaged.mp4", frames=96, seed=4, **SMALL), 60)
    whole = media.make_video(folder / "whole.mp4", frames=120, seed=5, **SMALL)
    unit = 12288  # ticks a second
    restamped(whole, source / "paused.mp4", lambda true: [t + 600 * unit * (i >= 60) for i, t in enumerate(true)])
    parts = [media.make_video(folder / f"{i}.mp4", frames=96, seed=6 + i, **SMALL).read_bytes() for i in (0, 1)]
    (source / "two-in-one.mp4").write_bytes(b"".join(parts))
    encrypted = ("-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "0" * 32, "-encryption_kid", "1" * 32)
    subprocess.run(
        [
            imageio_ffmpeg.get_ffmpeg_exe(),
            "-loglevel",
            "error",
            "-i",
            str(whole),
            "-c",
            "copy",
            *encrypted,
            str(source / "encrypted.mp4"),
        ],
        check=True,
    )
    return folder / "out", run(source, folder / "out", *STRIDE)


def record(output: Path, name: str) -> dict[str, Any]:
    return json.loads((output / "processed_videos" / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("name", "clips_s", "lost"),
    [
        ("good.mp4", 4, {}),
        ("short.mp4", 0, {SHORTEST: (1, 1)}),
        ("fast.mp4", 0, {SHORTEST: (1, 0.096)}),
        ("limited.mp4", 6, {LIMIT: (2, 4)}),
        ("damaged.mp4", 2, {DAMAGED: (1, 2)}),
        ("paused.mp4", 4, {PAUSES: (1, 600), SHORTEST: (2, 1)}),
        ("two-in-one.mp4", 4, {}),
    ],
)
def test_clips_and_losses_add_up(
    made: tuple[Path, str], name: str, clips_s: float, lost: dict[str, tuple[int, float]]
) -> None:
    output, _ = made
    found = record(output, name)
    told = {cause: (one["count"], one["seconds"]) for cause, one in found["footage_lost"].items()}
    assert told == {cause: (count, pytest.approx(seconds, abs=0.001)) for cause, (count, seconds) in lost.items()}
    metas = [json.loads(path.read_text()) for path in (output / "metas" / "v0").glob("*.json")]
    mine = [meta for meta in metas if meta["source_video"].endswith(f"/{name}") and meta["valid"]]
    assert sum(meta["num_frames"] / meta["framerate"] for meta in mine) == pytest.approx(clips_s, abs=0.001)
    assert clips_s + sum(seconds for _, seconds in told.values()) == pytest.approx(found["duration"], abs=1 / 24)


def test_the_summary_and_the_table_tell_each_cause(made: tuple[Path, str]) -> None:
    output, printed = made
    ours = json.loads((output / "summary.json").read_text())["beam_curate"]
    assert {cause: one["count"] for cause, one in ours["footage_lost"].items()} == {
        SHORTEST: 4,
        LIMIT: 2,
        DAMAGED: 1,
        PAUSES: 1,
        UNREADABLE: 1,
    }
    assert ours["num_videos_without_clips"] == 2
    for line in (
        "footage without a clip: 600.0 s pauses of the recording (1 x)",
        "footage without a clip: 4.0 s over --limit-clips (2 x)",
        "footage without a clip: 2.0 s damaged or lost frames (1 x)",
        "footage without a clip: 1 videos that could not be read",
        "no clip: short.mp4: 1.0 s shorter than the shortest clip (1 x)",
        "no clip: fast.mp4: 0.1 s shorter than the shortest clip (1 x)",
        "note: two-in-one.mp4: another mp4 of 0.",
        "encrypted (DRM)",
    ):
        assert line in printed, printed
