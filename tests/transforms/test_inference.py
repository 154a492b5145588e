"""A stage behind RunInference on a real runner: what is stored is not computed again, and failures stay failures."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from beam_curate import counters
from beam_curate.elements import Failure, Video, VideoShots
from beam_curate.errors import ContentError, MachineError
from beam_curate.stage import PlannedStage, Stage
from beam_curate.store.results import ResultStore
from beam_curate.store.stage_files import StageFiles
from tests.support.facts import make_info, make_span, make_video_element
from tests.support.output import Output
from transforms.inference import infer

VIDEOS = [make_video_element(f"{name}.mp4") for name in ("good", "fails", "passing", "fine")]
ERRORS = {"fails.mp4": ContentError("it is damaged"), "passing.mp4": MachineError("out of memory")}


def shots(video: Video, frames: int = 96) -> VideoShots:
    return VideoShots(video, make_info(), (make_span("x", 0, frames),))


@dataclasses.dataclass(frozen=True)
class Work(Stage[Video, VideoShots]):
    """Writes down which video it was given, and makes what the video's name says."""

    log: Path
    frames: int = 96
    overtaken_by: ResultStore[VideoShots] | None = None

    name = "shots"
    model = None

    def run(self, video: Video, files: StageFiles) -> VideoShots:
        with self.log.open("a") as log:
            log.write(f"{video.relative_path}\n")
        if self.overtaken_by is not None:
            self.overtaken_by.put(video, shots(video, 5))
        if video.relative_path in ERRORS:
            raise ERRORS[video.relative_path]
        return shots(video, self.frames)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore[VideoShots]:
    counters.reset()
    return ResultStore(Output(tmp_path / "out"), "shots", "f", VideoShots)


def run(
    store: ResultStore[VideoShots], tmp_path: Path, videos: list[Video] = VIDEOS, **work: object
) -> tuple[list[str], dict[str, str]]:
    """Runs a pipeline; returns which videos were worked on, and the results by the path of the video."""
    log, found = tmp_path / "log", tmp_path / "found"
    for path in (log, found):
        path.unlink(missing_ok=True)
        path.touch()
    options = PipelineOptions(["--direct_running_mode=multi_threading", "--direct_num_workers=2"])
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        planned = PlannedStage(Work(log, **work), store)
        _ = pipeline | beam.Create(videos) | infer(planned) | beam.Map(_write, found)
    results = {}
    for line in found.read_text().splitlines():
        path, _, text = line.partition("\t")
        assert path not in results, "one result a video"
        results[path] = text
    return sorted(log.read_text().split()), results


def _write(pair: tuple[Video, VideoShots | Failure | Video], path: Path) -> None:
    video, result = pair
    text = result.message if isinstance(result, Failure) else repr(result)
    with path.open("a") as file:
        file.write(f"{video.relative_path}\t{text}\n")


def expected(frames: int = 96) -> dict[str, str]:
    made = {path: str(error) for path, error in ERRORS.items()}
    return made | {video.relative_path: repr(shots(video, frames)) for video in (VIDEOS[0], VIDEOS[3])}


def test_a_second_run_works_only_on_what_may_yet_succeed(store: ResultStore[VideoShots], tmp_path: Path) -> None:
    worked, results = run(store, tmp_path)
    assert worked == ["fails.mp4", "fine.mp4", "good.mp4", "passing.mp4"]
    assert results == expected()
    worked, results = run(store, tmp_path, frames=1)
    assert worked == ["passing.mp4"]
    assert results == expected()
    counts = counters.counts()
    assert (counts["shots: begun"], counts["shots: done"], counts["shots: cached"]) == (5, 5, 3)


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
    assert results["good.mp4"] == repr(shots(replaced))


def test_what_another_run_stored_meanwhile_is_what_counts(store: ResultStore[VideoShots], tmp_path: Path) -> None:
    _, results = run(store, tmp_path, VIDEOS[:1], frames=7, overtaken_by=store)
    assert results == {"good.mp4": repr(shots(VIDEOS[0], 5))}


def test_a_duplicate_is_not_worked_on(store: ResultStore[VideoShots], tmp_path: Path) -> None:
    copy = dataclasses.replace(VIDEOS[0], duplicate_of="fine.mp4")
    assert run(store, tmp_path, [copy]) == ([], {"good.mp4": repr(copy)})


def test_no_videos(store: ResultStore[VideoShots], tmp_path: Path) -> None:
    assert run(store, tmp_path, []) == ([], {})


def test_beams_run_inference_is_imported_without_torch() -> None:
    code = "import sys, transforms.inference; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "False\n"
