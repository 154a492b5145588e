"""Every kind of file in the media matrix, through the whole program: what comes out is what a player shows."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import json
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from beam_curate.dataset.verify.verify import verify
from tests.support.colour_patches import LARGEST_ERROR, largest_error
from tests.support.matrix import CASES, Case
from tests.support.media import read_frame_number
from tests.support.program import dataset_stems, run
from tests.support.reliability import table, write_section

STRIDE_S, SHORTEST_S = 2, Fraction(2, 5)
WINDOW, REMAINDER, MIN_FRAMES = 24, 8, 4
WINDOWS = (
    *("--captioning-window-size", str(WINDOW), "--captioning-remainder-threshold", str(REMAINDER)),
    *("--predict2-min-frames", str(MIN_FRAMES)),
)
BY_STRIDE = (
    *("--clip-re-chunk-size", "1"),
    *("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", str(STRIDE_S)),
    *("--fixed-stride-min-clip-length-s", str(float(SHORTEST_S))),
)
BY_SHOTS = (
    *("--splitting-algorithm", "transnetv2", "--transnetv2-crop-s", "0"),
    *("--transnetv2-min-length-s", "0.5", "--transnetv2-min-length-frames", "10"),
)
TOLERANCE_S = 0.0011  # matroska and flv count time in ms
SOUND_TOLERANCE_S = 0.1  # two packets of 1024 samples, and the decoder's start
FAST = [case for case in CASES if case.fast]
WITH_CUTS = [case for case in CASES if case.cuts is not None]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a case, in words; and the largest error of a colour in its clips, of 255, where it has any."""

    words: str
    largest_error: float | None = None

    @property
    def colours(self) -> str:
        return "" if self.largest_error is None else f"{self.largest_error:.1f}"


@dataclasses.dataclass
class Curated:
    """The matrix, or its short part, after both runs; `outcomes` is filled by the tests."""

    source: Path
    by_stride: Path
    by_shots: Path
    outcomes: dict[str, Outcome] = dataclasses.field(default_factory=dict)


def curated(folder: Path, cases: list[Case]) -> Curated:
    """Makes the files and runs the program over all of them, and over those with cuts again."""
    made = Curated(folder / "in", folder / "by_stride", folder / "by_shots")
    made.source.mkdir()
    shots_of = folder / "cuts"
    shots_of.mkdir()
    for case in cases:
        case.make(made.source / case.name)
        if case.cuts is not None:
            os.link(made.source / case.name, shots_of / case.name)
    run(made.source, made.by_stride, *BY_STRIDE, *WINDOWS)
    run(shots_of, made.by_shots, *BY_SHOTS, *WINDOWS)
    return made


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    return curated(tmp_path_factory.mktemp("matrix"), FAST)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curated]:
    made = curated(tmp_path_factory.mktemp("whole_matrix"), list(CASES))
    yield made
    rows = []
    for case in CASES:
        if case.name in made.outcomes:
            stem, _, container = case.name.rpartition(".")
            frames = "" if case.refused else case.frames
            outcome = made.outcomes[case.name]
            rows.append((stem, container, case.codec, frames, outcome.colours, outcome.words))
    text = (
        "The largest colour error, of 255, is that of eight patches in the clips, compared with how the source's were "
        "drawn: decoded by the ffmpeg program and by decord. Of HDR, each step of its 8 bits is about 3 of 255."
    )
    found = table(("case", "container", "codec", "frames", "largest colour error", "outcome"), rows)
    write_section("matrix", f"{text}\n\n{found}")


@pytest.mark.parametrize("case", FAST, ids=lambda case: case.name)
def test_clips_of_fixed_stride(short: Curated, case: Case) -> None:
    judge(case, short.by_stride)


@pytest.mark.parametrize("case", [case for case in WITH_CUTS if case.fast], ids=lambda case: case.name)
def test_shots(short: Curated, case: Case) -> None:
    judge_shots(case, short.by_shots)


def test_the_dataset_is_clean(short: Curated) -> None:
    judge_dataset(short.by_stride)
    judge_dataset(short.by_shots)


@pytest.mark.soak
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_clips_of_fixed_stride_in_the_whole_matrix(whole: Curated, case: Case) -> None:
    whole.outcomes[case.name] = Outcome("WRONG")
    whole.outcomes[case.name] = judge(case, whole.by_stride)


@pytest.mark.soak
@pytest.mark.parametrize("case", WITH_CUTS, ids=lambda case: case.name)
def test_shots_in_the_whole_matrix(whole: Curated, case: Case) -> None:
    judge_shots(case, whole.by_shots)


@pytest.mark.soak
def test_the_dataset_of_the_whole_matrix_is_clean(whole: Curated) -> None:
    judge_dataset(whole.by_stride)
    judge_dataset(whole.by_shots)


def judge(case: Case, output: Path) -> Outcome:
    """Checks what came of a case by fixed stride."""
    return Outcome(refusal(case, output)) if case.refused else check_stride(case, output)


def judge_shots(case: Case, output: Path) -> None:
    """Checks that TransNetV2's clips begin where the shots do, and hold exactly their frames."""
    assert case.cuts is not None
    facts = record(case, output)
    assert facts["num_frames"] == case.frames
    clips = clips_of(case, output)
    expected = [0, *case.cuts, case.frames]
    found = [clip["frame_span"] for clip in clips]
    assert len(found) == len(expected) - 1, f"{found} and cuts at {case.cuts}"
    for span, (start, end) in zip(found, itertools.pairwise(expected), strict=True):
        assert abs(span[0] - start) <= 1 and abs(span[1] - end) <= 1, f"{found} and cuts at {case.cuts}"
    for number, clip in enumerate(clips):
        check_clip(case, number, clip)


def judge_dataset(output: Path) -> None:
    """Checks that the dataset has a window of every clip that is long enough, and nothing wrong."""
    metas = [json.loads(path.read_text()) for path in (output / "metas" / "v0").glob("*.json")]
    long_enough = {meta["span_uuid"] for meta in metas if meta["valid"] and meta["num_frames"] >= MIN_FRAMES}
    assert {stem.rsplit("_", 2)[0] for stem in dataset_stems(output)} == long_enough
    report = verify(output / "cosmos_predict2_video2world_dataset", min_frames=MIN_FRAMES, allow_random_embeddings=True)
    assert report.ok, report.faults


def refusal(case: Case, output: Path) -> str:
    """Checks that a file failed for the reason expected, and that nothing else is said of it."""
    assert case.refused is not None
    assert not (output / "processed_videos" / f"{case.name}.json").exists()
    (failure,) = json.loads((output / "video_errors" / f"{case.name}_0.json").read_text())["failures"]
    kind, word = case.refused
    assert failure["error_type"] == kind and word in failure["message"], failure
    assert not failure["retriable"]
    return f"refused: {failure['message']}"


def check_stride(case: Case, output: Path) -> Outcome:
    """Checks the facts of the video and every clip."""
    facts = record(case, output)
    assert facts["num_frames"] == case.frames
    if case.frames > 1:
        assert facts["framerate"] == pytest.approx(float(case.rate), rel=1e-3)
    notes = "; ".join(facts["notes"])
    assert case.note in notes and bool(case.note) == bool(notes), notes
    clips = clips_of(case, output)
    assert [clip["frame_span"] for clip in clips] == stride_ranges(case)
    lost = [number for number, clip in enumerate(clips) if not clip["valid"]]
    failures = [failure for clip in clips for failure in clip["failures"]]
    assert lost == list(case.lost_clips), failures
    assert {failure["error_type"] for failure in failures} <= {"LostFramesError"}, failures
    errors = [check_clip(case, number, clip) for number, clip in enumerate(clips) if clip["valid"]]
    made = [Path(clip["clip_location"]) for clip in clips if clip["valid"]]
    if case.also:
        case.also(Path(facts["video"]), made)
    refused = f", {len(lost)} refused" if lost else ""
    words = f"{len(made)} clip{'s' * (len(made) != 1)}{refused}{'; ' * bool(notes)}{notes}"
    return Outcome(words, max(errors, default=None))


def check_clip(case: Case, number: int, clip: dict[str, Any]) -> float:
    """Checks that a clip holds exactly its frames, at their times, in the size and colours that are meant to be seen.

    Returns:
        The largest error of a colour, of 255.
    """
    start, end = clip["frame_span"]
    times_s = [float(time) for time in ends_of(case)]
    expected_s = [times_s[start], times_s[end]]
    start_s, end_s = clip["duration_span"]
    assert start_s == pytest.approx(expected_s[0], abs=TOLERANCE_S)
    # How long the last picture of a file stays is not always in it; with uneven times there is no telling.
    guessed = case.variable and end == case.frames
    longest_s = max(later - sooner for sooner, later in itertools.pairwise(times_s))
    assert end_s == pytest.approx(expected_s[1], abs=longest_s if guessed else TOLERANCE_S)
    with av.open(clip["clip_location"]) as container:
        stream = container.streams.video[0]
        size = case.sizes[number] if case.sizes else case.size
        assert (stream.width, stream.height) == size == (clip["width"], clip["height"])
        assert stream.codec_context.sample_aspect_ratio in (None, 0, 1)
        assert stream.codec_context.pix_fmt in ("yuv420p", "yuvj420p")
        frames = list(container.decode(stream))
        assert all(frame.rotation == 0 for frame in frames)
        assert [read_frame_number(frame) for frame in frames] == list(case.numbers[start:end])
        assert clip["num_frames"] == len(frames)
        shown_s = [float(frame.pts * frame.time_base) for frame in frames]
        assert shown_s == pytest.approx([time - times_s[start] for time in times_s[start:end]], abs=TOLERANCE_S)
        if not guessed:
            average = (end - start) / (times_s[end] - times_s[start])
            assert float(stream.average_rate) == pytest.approx(average, rel=2e-3)
            assert clip["framerate"] == pytest.approx(average, rel=2e-3)
    check_sound(case, Path(clip["clip_location"]), expected_s[1] - expected_s[0])
    error = largest_error(clip["clip_location"], case.colours)
    assert error <= LARGEST_ERROR + case.noise
    return error


def check_sound(case: Case, clip: Path, duration_s: float) -> None:
    """Checks that a clip has the sound of its pictures, where its source has one."""
    with av.open(str(clip)) as container:
        assert len(container.streams.audio) == case.has_audio
        for stream in container.streams.audio:
            samples = sum(frame.samples for frame in container.decode(stream))
            assert samples / stream.rate == pytest.approx(duration_s, abs=SOUND_TOLERANCE_S)


def stride_ranges(case: Case) -> list[list[int]]:
    """The frames [first, end) of each clip, by the times at which frames are shown."""
    times = ends_of(case)
    ranges = []
    for first, end in itertools.pairwise((0, *case.restarts, case.frames)):
        starts, end_s = times[first:end], times[end]
        for start_s in itertools.takewhile(
            lambda time, end_s=end_s: time < end_s, itertools.count(times[first], STRIDE_S)
        ):
            stop_s = min(start_s + STRIDE_S, end_s)
            if stop_s - start_s >= SHORTEST_S:
                ranges.append([first + bisect.bisect_left(starts, time) for time in (start_s, stop_s)])
    return ranges


def ends_of(case: Case) -> list[Fraction]:
    """When each frame is shown, and when the last one ends: with variable times, as long as the one before it."""
    if len(case.times) < 2:
        return [*case.times, case.times[-1] + 1 / case.rate]
    return [*case.times, 2 * case.times[-1] - case.times[-2]]


def record(case: Case, output: Path) -> dict[str, Any]:
    """The record of a processed video."""
    path = output / "processed_videos" / f"{case.name}.json"
    errors = output / "video_errors" / f"{case.name}_0.json"
    assert path.exists(), json.loads(errors.read_text())["failures"] if errors.exists() else "no record of it"
    return json.loads(path.read_text())


def clips_of(case: Case, output: Path) -> list[dict[str, Any]]:
    """The records of a video's clips, in order."""
    metas = [json.loads(path.read_text()) for path in (output / "metas" / "v0").glob("*.json")]
    mine = [meta for meta in metas if Path(meta["source_video"]).name == case.name]
    return sorted(mine, key=lambda meta: meta["frame_span"])
