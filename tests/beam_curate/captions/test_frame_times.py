"""When the frames that a model sees were taken: against the makers' processors, and against the times of the clip.

Each clip is decoded and read by what it was made of: a frame's number is drawn into it, and the time of each number is
known.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import decord
import numpy as np
import pytest
from transformers.video_utils import VideoMetadata

from beam_curate.captions.frames import FrameSampling, clip_times, evenly_in_time, sample_frames, sample_window
from beam_curate.captions.prompts import Prompts
from beam_curate.captions.vlm_captioner import VlmCaptioner
from beam_curate.captions.windows import WindowRules
from beam_curate.elements import Clip, ClipFile, StoredFile
from beam_curate.engines.base import Completion, Request, SamplingParams
from beam_curate.engines.endpoint import Endpoint, EndpointEngine, RequestPolicy
from beam_curate.engines.transformers_engine import TransformersEngine, load_folder
from beam_curate.models.slot import SLOTS, ModelRef
from beam_curate.store.stage_files import StageFiles
from tests.support.facts import make_chunk, make_span
from tests.support.media import make_video, read_frame_number
from tests.support.misbehaving_server import MisbehavingServer, text_of, video_of
from tests.support.one_thread import one_thread
from tests.support.output import Output
from tests.support.plans import Placed
from tests.support.tiny_models import make_qwen2_5_vl, make_qwen3_vl

SYSTEM = "You are a helpful assistant."
RATES = [Fraction(10), Fraction(24), Fraction(30000, 1001), Fraction(60)]
# Milliseconds from one frame to the next.
VARIABLE = {
    "a slow end": [33] * 150 + [500] * 9,
    "a slow beginning": [500] * 9 + [33] * 150,
    "a pause": [40] * 40 + [3000] + [40] * 39,
    "two rates in turns": [20, 60] * 60,
    "ever slower": list(range(20, 140)),
    "one long frame first": [4000] + [40] * 20,
    "very few frames": [100, 2000, 50, 700, 10],
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield
    SLOTS.clear()


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> TransformersEngine:
    return load_folder(make_qwen3_vl(tmp_path_factory.mktemp("qwen3")), "cpu", "float32")


@pytest.fixture(scope="module")
def qwen2_5(tmp_path_factory: pytest.TempPathFactory) -> TransformersEngine:
    return load_folder(make_qwen2_5_vl(tmp_path_factory.mktemp("qwen2_5")), "cpu", "float32")


def media(frames: int, rate: Fraction, path: str = "clip.mp4") -> ClipFile:
    stored = StoredFile(path, 1, "0")
    return ClipFile(stored, 320, 180, rate.numerator, rate.denominator, frames, float(frames / rate), "h264")


def question_of(frames: int, rate: Fraction, sampling_fps: float, patch: int, first: int = 0) -> Request:
    """A question about a clip of a constant rate, whose pictures are black."""
    seen = sample_window(media(first + frames, rate), (first, first + frames - 1), FrameSampling(sampling_fps, patch))
    pictures = np.zeros((len(seen.indices), patch, patch, 3), np.uint8)
    return Request("Hi.", pictures, seen.frame_rate, first, first + frames - 1, times=seen.times)


def marks(engine: TransformersEngine, asked: Request) -> list[str]:
    """The times that Qwen3-VL is told, one for each two frames."""
    read = engine._processor.tokenizer.decode(engine._inputs(asked)["input_ids"][0])
    return re.findall(r"<(\d+\.\d) seconds><\|vision_start\|>", read)


def test_94_frames_at_24_a_second(qwen3: TransformersEngine) -> None:
    """By hand: frames 0 13 27 40 53 66 80 93; (0 + 13) / 2 / 24 = 0.27, (27 + 40) / 48 = 1.40, 2.48, 3.60."""
    assert marks(qwen3, question_of(94, Fraction(24), 2.0, 32)) == ["0.3", "1.4", "2.5", "3.6"]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frames", [4, 5, 48, 94, 130, 256])
@pytest.mark.parametrize("sampling_fps", [1.0, 2.0, 4.0])
def test_times_are_those_of_the_makers_processor(
    qwen3: TransformersEngine, rate: Fraction, frames: int, sampling_fps: float
) -> None:
    asked = question_of(frames, rate, sampling_fps, 32, first=40)
    facts = VideoMetadata(total_num_frames=frames, fps=float(rate))
    indices = qwen3._processor.video_processor.sample_frames(facts, num_frames=len(asked.frames))
    expected = qwen3._processor._calculate_timestamps(indices, float(rate), 2)
    assert marks(qwen3, asked) == [f"{second:.1f}" for second in expected]


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(24), Fraction(60)])
@pytest.mark.parametrize(("seconds", "sampling_fps"), [(4, 1.0), (4, 2.0), (8, 0.5), (9, 4.0), (3, 2.0)])
def test_as_many_frames_are_seen_as_by_the_makers_processor(
    qwen3: TransformersEngine, rate: Fraction, seconds: int, sampling_fps: float
) -> None:
    """Where rate times length is an even number: what is between two is rounded to the next one here, down there."""
    frames = int(seconds * rate)
    facts = VideoMetadata(total_num_frames=frames, fps=float(rate))
    expected = qwen3._processor.video_processor.sample_frames(facts, fps=sampling_fps).tolist()
    seen = sample_window(media(frames, rate), (0, frames - 1), FrameSampling(sampling_fps, 32))
    assert list(seen.indices) == expected


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frames", [4, 5, 94, 256])
@pytest.mark.parametrize("sampling_fps", [1.0, 2.0, 4.0])
def test_the_step_of_two_frames_is_that_of_the_makers_processor(
    qwen2_5: TransformersEngine, rate: Fraction, frames: int, sampling_fps: float
) -> None:
    asked = question_of(frames, rate, sampling_fps, 28)
    indices = np.linspace(0, frames - 1, len(asked.frames)).round().astype(int).tolist()
    facts = VideoMetadata(total_num_frames=frames, fps=float(rate), frames_indices=indices)
    (step,) = qwen2_5._inputs(asked)["second_per_grid_ts"].tolist()
    assert step == pytest.approx(2 / facts.sampled_fps)


# Clips with a variable rate.


@pytest.fixture(scope="module", params=VARIABLE)
def variable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A clip, and when each of its frames begins, in s."""
    stamps = np.cumsum([0, *VARIABLE[request.param]]).tolist()
    path = tmp_path_factory.mktemp("variable") / "clip.mp4"
    make_video(path, frames=len(stamps), pts=stamps, time_base=Fraction(1, 1000), options={"bf": "2"})
    return path, [stamp / 1000 for stamp in stamps]


def facts_of(stamps: Sequence[float]) -> ClipFile:
    """What is read back from a clip whose last frame lasts as long as the mean."""
    rate = Fraction((len(stamps) - 1) / stamps[-1]).limit_denominator(10**6)
    return media(len(stamps), rate)


@pytest.mark.parametrize("sampling_fps", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("share", [(0.0, 1.0), (0.3, 0.9)])
def test_frames_of_a_variable_rate_have_their_own_times(
    variable: tuple[Path, list[float]], sampling_fps: float, share: tuple[float, float]
) -> None:
    path, stamps = variable
    facts = facts_of(stamps)
    first, last = (round(part * (len(stamps) - 1)) for part in share)
    times = clip_times(path, facts)
    assert times is not None and times[:-1] == pytest.approx(stamps, abs=1e-3) and times[-1] > times[-2]
    seen = sample_window(facts, (first, last), FrameSampling(sampling_fps, 28), times)
    (pictures,) = sample_frames(path, [seen])
    numbers = [read_frame_number(picture) for picture in pictures]
    assert list(seen.indices) == numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (first, last)
    assert seen.times == pytest.approx([stamps[number] - stamps[first] for number in numbers], abs=1e-3)
    assert len(numbers) >= min(4, last - first + 1)
    assert len(numbers) % 2 == 0 or len(numbers) == last - first + 1
    # No moment is farther from a frame that is seen than half a step, or than half the frame on the screen lasts.
    wanted = max(4, 2 * round((stamps[last] - stamps[first]) * sampling_fps / 2))
    step = (stamps[last] - stamps[first]) / (min(wanted, last - first + 1) - 1)
    for before, after in itertools.pairwise(numbers):
        longest = max(stamps[index + 1] - stamps[index] for index in range(before, after))
        assert stamps[after] - stamps[before] <= step + 2 * longest + 1e-3


def test_frames_of_a_constant_rate_need_no_times_of_their_own(tmp_path: Path) -> None:
    for rate in RATES:
        path = make_video(tmp_path / "clip.mp4", frames=60, rate=rate, options={"bf": "2"})
        assert clip_times(path, media(60, rate)) is None
    assert clip_times(path, media(61, rate)) is None  # decoding will say what is wrong
    assert clip_times(tmp_path / "nothing.mp4", media(60, rate)) is None


def test_where_several_times_have_one_nearest_frame_the_farthest_are_added() -> None:
    times = np.array([0, 0.1, 0.2, 0.3, 0.4, 10.0])
    assert evenly_in_time(times, 2) == (0, 5)
    # Nearest to 0, 3.3, 6.7 and 10 s are the frames 0, 4 and 5; the farthest of the others is at 0.2 s.
    assert evenly_in_time(times, 4) == evenly_in_time(times, 6) == (0, 2, 4, 5)
    assert evenly_in_time(np.array([0.0, 5.0, 5.1]), 3) == (0, 1, 2)


class Keeping:
    """An engine that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion | Exception]:
        self.asked += requests
        return [Completion("A car.", 1, 1, "stop")] * len(requests)


def _give(engine: Any, device: str) -> Any:
    return engine


def asked_of(folder: Path, path: Path, facts: ClipFile, rules: FrameSampling) -> list[Request]:
    """The questions of the captioner about a clip in windows of 80 frames."""
    layout = Output(folder)
    with layout.scratch() as scratch:
        copy = scratch / "clip.mp4"
        copy.write_bytes(path.read_bytes())
        stored = StageFiles(layout, "clips", "x").keep(copy, "clip")
    clip = Clip(make_span("clip", 0, facts.num_frames), dataclasses.replace(facts, file=stored))
    engine = Keeping()
    captioner = VlmCaptioner(
        windows=WindowRules(80, 40),
        algorithm="qwen",
        model=ModelRef("keeping", functools.partial(_give, engine)),
        prompts=Prompts("What happens?", system=SYSTEM),
        sampling=SamplingParams(10),
        frame_sampling=rules,
        batch_tokens=32768,
    )
    Placed(captioner, layout).run(make_chunk([clip]))
    SLOTS.clear()
    return engine.asked


def test_a_variable_rate_is_told_to_every_model(
    variable: tuple[Path, list[float]], qwen3: TransformersEngine, qwen2_5: TransformersEngine, tmp_path: Path
) -> None:
    path, stamps = variable
    asked = asked_of(tmp_path, path, facts_of(stamps), FrameSampling(2.0, 32))
    assert asked[0].first_frame == 0 and asked[-1].last_frame == len(stamps) - 1
    for one in asked:
        numbers = [read_frame_number(picture) for picture in one.frames]
        seconds = [stamps[number] - stamps[one.first_frame] for number in numbers]
        padded = seconds + seconds[-1:] * (len(seconds) % 2)
        pairs = [(a + b) / 2 for a, b in zip(padded[::2], padded[1::2], strict=True)]
        told = [float(mark) for mark in marks(qwen3, one)]
        assert told == pytest.approx(pairs, abs=0.052)
        assert f": {', '.join(f'{second:.2f}' for second in one.seconds)}." in sent(one, "frames")
        frames, rate = sent(one, "mp4")
        shown = [read_frame_number(frame) for frame in frames]
        assert len(shown) == len(numbers)
        for index, number in enumerate(shown):  # the frame nearest to the time that a server works out for it
            nearest = min(seconds, key=lambda second, index=index: abs(second - index / rate))
            assert abs(stamps[number] - stamps[one.first_frame] - index / rate) <= abs(nearest - index / rate) + 0.05
    small = Request("Hi.", asked[0].frames[:, :28, :28], *_rest(asked[0]))
    temporal = qwen2_5._inputs(small)["position_ids"][1, 0]
    visual = qwen2_5._inputs(small)["mm_token_type_ids"][0] == 2
    found = (temporal[visual] - temporal[visual][0]).tolist()
    for position, second in zip(found, small.seconds[::2], strict=True):
        assert abs(position / 2 - second) <= 0.5 + (small.step_s if small.is_even else 0)


def _rest(asked: Request) -> tuple[Any, ...]:
    return asked.frame_rate, asked.first_frame, asked.last_frame, asked.seed, asked.system, asked.times


def sent(asked: Request, kind: str) -> Any:
    """The text beside pictures, or the frames and the rate of the mp4, as a server receives them."""
    with MisbehavingServer().running() as server:
        policy = RequestPolicy(concurrency=1, retries=0, timeout_s=5.0)
        EndpointEngine(Endpoint(server.url, "served", kind), policy).generate([asked], SamplingParams(10))
    (body,) = server.requests
    if kind == "mp4":
        url = body["messages"][-1]["content"][0]["video_url"]["url"]
        reader = decord.VideoReader(io.BytesIO(base64.b64decode(url.partition(",")[2])))
        assert (len(reader), reader.get_avg_fps()) == (len(asked.frames), pytest.approx(video_of(body)[1], rel=1e-4))
    assert body["messages"][0] == {"role": "system", "content": SYSTEM}
    return text_of(body) if kind == "frames" else video_of(body)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frames", [8, 94, 256])
def test_a_server_that_reads_the_rate_of_the_mp4_gets_the_true_seconds(rate: Fraction, frames: int) -> None:
    seen = sample_window(media(frames, rate), (0, frames - 1), FrameSampling(2.0, 28))
    pictures = np.zeros((len(seen.indices), 56, 56, 3), np.uint8)
    asked = Request("Hi.", pictures, seen.frame_rate, 0, frames - 1, 0, SYSTEM, seen.times)
    received, told = sent(asked, "mp4")
    assert len(received) == len(pictures)
    for index, frame in enumerate(seen.indices):
        assert abs(index / told - frame / rate) <= 0.5 / rate + 0.001  # a frame is at most half a frame beside its time
    text = sent(asked, "frames")
    times = [float(time) for time in re.findall(r"\d+\.\d\d(?=[,.])", text.partition(":")[2])]
    assert times == pytest.approx([frame / rate for frame in seen.indices], abs=0.0051)
