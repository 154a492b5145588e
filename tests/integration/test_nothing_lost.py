"""What a runner loses on its way is told by name, stays to be done, and is there after the next run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from beam_curate.curate import curate
from beam_curate.elements import ClipChunk
from beam_curate.options.parse import parse
from beam_curate.plan.plan import make_plan
from tests.support.media import make_video
from tests.support.program import DESCRIBED, FIXED_STRIDE, snapshot, summary
from transforms import record_videos

FLAGS = (*DESCRIBED, *FIXED_STRIDE, "--clip-re-chunk-size", "1", "--threads", "2")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lost")
    for seed, name in enumerate(("a.mp4", "b.mp4", "c.mp4")):
        make_video(folder / name, frames=480 if name == "b.mp4" else 120, seed=seed)
    (folder / "d.mp4").write_bytes(b"no video")
    return folder


def split(source: Path, output: Path) -> int:
    folders = ("--input-video-path", str(source), "--output-clip-path", str(output))
    return curate(make_plan(parse([*FLAGS, *folders])))


class Lossy(beam.PTransform):
    """Records as the pipeline does, after chunks of one video were lost."""

    def __init__(self, of: Any, name: str, kept: set[int]) -> None:
        super().__init__()
        self._of, self._name, self._kept = of, name, kept

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        name, kept = self._name, self._kept

        def is_kept(chunk: ClipChunk) -> bool:
            return not chunk.video.uri.endswith(name) or chunk.index in kept

        return chunks | "Lose" >> beam.Filter(is_kept) | self._of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("place") / "out"


@pytest.fixture(scope="module")
def undisturbed(source: Path, place: Path) -> dict[str, str]:
    assert split(source, place) == 0
    taken = snapshot(place)
    shutil.rmtree(place)
    return taken


@pytest.mark.parametrize(
    ("name", "kept", "why"),
    [
        ("b.mp4", {0}, "only these chunks of it arrived: 0 (counted from 0)"),
        ("b.mp4", set(), "nothing of it arrived"),
        ("d.mp4", set(), "nothing of it arrived"),
    ],
)
def test_lost_elements_are_told_and_made_up_for(
    source: Path,
    place: Path,
    undisturbed: dict[str, str],
    name: str,
    kept: set[int],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.rmtree(place, ignore_errors=True)
    with monkeypatch.context() as patch:
        real = record_videos.RecordVideos
        patch.setattr("beam_curate.pipeline.RecordVideos", lambda *args: Lossy(real(*args), name, kept))
        assert split(source, place) == 1
    printed = capsys.readouterr().out
    assert f"1 videos are not recorded and are still to do: {name} (it was selected, and {why}" in printed
    assert "IncompleteVideoError" in printed
    assert not list((place / ".work" / "done").rglob(f"{name}@*"))
    ours = summary(place)["beam_curate"]
    assert summary(place)["num_processed_videos"] + ours["num_failed_videos"] == 4
    assert split(source, place) == (1 if name == "d.mp4" else 0)  # which is no video, and all that was to be done
    assert snapshot(place) == undisturbed
