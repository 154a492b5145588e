"""What a runner loses on its way is told by name, stays to be done, and is there after the next run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from beam_curate.curate import curate
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
    """Records as the pipeline does, after elements of one kind and one video were lost."""

    def __init__(self, of: Any, kind: str, name: str) -> None:
        super().__init__()
        self._of, self._kind, self._name = of, kind, name

    def expand(self, gathered: tuple[beam.PCollection, ...]) -> beam.PCollection:
        kinds = ("videos", "chunks", "failures")
        name = self._name

        def is_kept(kind: str, element: Any) -> bool:
            uri = element.video.uri if kind == "chunks" else element.uri
            return not uri.endswith(name) or (kind == "chunks" and element.index == 0)

        def lossy(kind: str, elements: beam.PCollection) -> beam.PCollection:
            if kind not in self._kind:
                return elements
            return elements | f"Lose {kind}" >> beam.Filter(lambda element: is_kept(kind, element))

        return tuple(lossy(kind, found) for kind, found in zip(kinds, gathered, strict=True)) | self._of


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
    ("kind", "name"),
    [("chunks", "b.mp4"), ("failures", "d.mp4"), ("videos failures", "d.mp4"), ("videos", "d.mp4")],
)
def test_lost_elements_are_told_and_made_up_for(
    source: Path,
    place: Path,
    undisturbed: dict[str, str],
    kind: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.rmtree(place, ignore_errors=True)
    with monkeypatch.context() as patch:
        real = record_videos.RecordVideos
        patch.setattr("beam_curate.pipeline.RecordVideos", lambda *args: Lossy(real(*args), kind, name))
        assert split(source, place) == 1
    printed = capsys.readouterr().out
    assert f"1 videos are not recorded and are still to do: {name} (" in printed
    assert "IncompleteVideoError" in printed
    assert not list((place / ".work" / "done").rglob(f"{name}@*"))
    ours = summary(place)["beam_curate"]
    assert summary(place)["num_processed_videos"] + ours["num_failed_videos"] == 4
    assert split(source, place) == (1 if name == "d.mp4" else 0)  # which is no video, and all that was to be done
    assert snapshot(place) == undisturbed
