"""Cached on a real runner: what is stored is not computed again, and failures are what they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from beam_curate import counters
from beam_curate.elements import Failure, Video, VideoShots
from beam_curate.store.results import ResultStore
from tests.support.facts import make_failure, make_info, make_span, make_video_element
from tests.support.output import Output
from transforms.cached import Cached

VIDEOS = [make_video_element(f"{name}.mp4") for name in ("good", "fails", "passing", "fine")]


def shots(video: Video, frames: int = 96) -> VideoShots:
    return VideoShots(video, make_info(), (make_span("x", 0, frames),))


class Work(beam.DoFn):
    """Writes down which video it was given, and makes what the video's name says."""

    def __init__(self, log: Path, frames: int = 96) -> None:
        self.log = log
        self.frames = frames

    def process(self, video: Video) -> list[tuple[Video, VideoShots | Failure]]:
        with self.log.open("a") as log:
            log.write(f"{video.relative_path}\n")
        if video.relative_path in ("fails.mp4", "passing.mp4"):
            return [(video, make_failure(video.relative_path == "passing.mp4", uri=video.uri))]
        return [(video, shots(video, self.frames))]


@pytest.fixture
def store(tmp_path: Path) -> ResultStore[VideoShots]:
    counters.reset()
    return ResultStore(Output(tmp_path / "out"), "shots", "f", VideoShots)


def run(
    store: ResultStore[VideoShots], tmp_path: Path, videos: list[Video] = VIDEOS, frames: int = 96
) -> tuple[list[str], dict]:
    """Runs a pipeline; returns which videos were worked on, and the results by URI."""
    log, found = tmp_path / "log", tmp_path / "found"
    for path in (log, found):
        path.unlink(missing_ok=True)
        path.touch()
    options = PipelineOptions(["--direct_running_mode=multi_threading", "--direct_num_workers=2"])
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        _ = pipeline | beam.Create(videos) | Cached(store, beam.ParDo(Work(log, frames))) | beam.Map(_write, found)
    results = {}
    for line in found.read_text().splitlines():
        uri, _, text = line.partition("\t")
        assert uri not in results, "one result a video"
        results[uri] = text
    return sorted(log.read_text().split()), results


def _write(result: VideoShots | Failure, path: Path) -> None:
    uri = result.uri if isinstance(result, Failure) else result.video.uri
    with path.open("a") as file:
        file.write(f"{uri}\t{result!r}\n")


def expected(frames: int = 96) -> dict[str, str]:
    good, fails, passing, fine = VIDEOS
    return {
        good.uri: repr(shots(good, frames)),
        fails.uri: repr(make_failure(uri=fails.uri)),
        passing.uri: repr(make_failure(True, uri=passing.uri)),
        fine.uri: repr(shots(fine, frames)),
    }


def test_a_second_run_works_only_on_what_may_yet_succeed(store: ResultStore[VideoShots], tmp_path: Path) -> None:
    worked, results = run(store, tmp_path)
    assert worked == ["fails.mp4", "fine.mp4", "good.mp4", "passing.mp4"]
    assert results == expected()
    worked, results = run(store, tmp_path, frames=1)
    assert worked == ["passing.mp4"]
    assert results == expected()
    counts = counters.counts()
    assert (counts["shots: to do"], counts["shots: cached"]) == (5, 3)


def test_permanent_failures_are_worked_on_again_by_choice(store: ResultStore[VideoShots], tmp_path: Path) -> None:
    run(store, tmp_path)
    worked, results = run(dataclasses.replace(store, retry_failed=True), tmp_path)
    assert worked == ["fails.mp4", "passing.mp4"]
    assert results == expected()


def test_a_new_video_and_a_replaced_one_are_worked_on(store: ResultStore[VideoShots], tmp_path: Path) -> None:
    run(store, tmp_path)
    replaced = dataclasses.replace(VIDEOS[0], etag="2")
    new = make_video_element("new.mp4")
    worked, results = run(store, tmp_path, [replaced, new, VIDEOS[3]])
    assert worked == ["good.mp4", "new.mp4"]
    assert results[replaced.uri] == repr(shots(replaced))


def test_what_another_run_stored_meanwhile_is_what_counts(store: ResultStore[VideoShots], tmp_path: Path) -> None:
    @dataclasses.dataclass(eq=False)
    class Overtaken(beam.PTransform):
        """Work during which another run stores its result."""

        def expand(self, videos: beam.PCollection[Video]) -> beam.PCollection[tuple[Video, VideoShots]]:
            return videos | beam.Map(lambda video: (store.put(video, shots(video, 5)).video, shots(video, 7)))

    found = tmp_path / "found"
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create(VIDEOS[:1]) | Cached(store, Overtaken()) | beam.Map(_write, found)
    assert found.read_text() == f"{VIDEOS[0].uri}\t{shots(VIDEOS[0], 5)!r}\n"


def test_no_videos(store: ResultStore[VideoShots], tmp_path: Path) -> None:
    assert run(store, tmp_path, []) == ([], {})
