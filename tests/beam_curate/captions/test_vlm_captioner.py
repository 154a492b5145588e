"""What the captioner makes of a model's answers, with an engine that says what it is told and a real, tiny model."""

from __future__ import annotations

import dataclasses
import functools
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_curate import counters
from beam_curate.captions.frames import FrameSampling
from beam_curate.captions.prompts import Prompts
from beam_curate.captions.vlm_captioner import VlmCaptioner, batches
from beam_curate.captions.windows import WindowRules
from beam_curate.dataset.stage import left_out
from beam_curate.elements import Caption, Clip, ClipChunk, ClipFile
from beam_curate.engines import transformers_engine
from beam_curate.engines.base import Completion, Request, SamplingParams
from beam_curate.errors import (
    ModelContextError,
    ModelMemoryError,
    ModelOutputError,
    ModelRequestError,
    ModelServerError,
    SetupError,
)
from beam_curate.models.slot import SLOTS, ModelRef
from beam_curate.stage import restart_stages
from beam_curate.store.stage_files import StageFiles
from tests.support.facts import make_chunk, make_span
from tests.support.media import make_video, read_frame_number
from tests.support.output import Output
from tests.support.plans import Placed
from tests.support.tiny_models import REASONED, make_qwen2_5_vl

RATE = 24
TWO_PASSES = Prompts("What happens?", second="Better!")
Script = Callable[[Request], Completion | Exception]


class ScriptedEngine:
    """Answers each question by a function, and keeps what it was asked."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[list[Request]] = []

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion | Exception]:
        self.asked.append(list(requests))
        return [self.script(request) for request in requests]


@pytest.fixture(autouse=True)
def _free() -> Iterator[None]:
    SLOTS.clear()
    counters.reset()
    yield
    SLOTS.clear()


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 300 frames, which is two windows of 100 and one of 100."""
    return make_video(tmp_path_factory.mktemp("footage") / "clip.mp4", frames=300)


def captioner(output: Path, engine: Any, **fields: Any) -> Placed:
    model = ModelRef("scripted", functools.partial(_give, engine))
    given: dict[str, Any] = {
        "windows": WindowRules(100, 50),
        "algorithm": "qwen",
        "model": model,
        "prompts": Prompts("What happens?"),
        "sampling": SamplingParams(100),
        "frame_sampling": FrameSampling(2.0, 28),
        "batch_tokens": 32768,
    }
    return Placed(VlmCaptioner(**given | fields), Output(output))


def _give(engine: Any, device: str) -> Any:
    return engine


def clip_of(layout: Output, clip_id: str, footage: Path, frames: int = 300) -> Clip:
    with layout.scratch() as scratch:
        path = scratch / f"{clip_id}.mp4"
        path.write_bytes(footage.read_bytes())
        stored = StageFiles(layout, "clips", "x").keep(path, clip_id)
    return Clip(make_span(clip_id, 0, frames), ClipFile(stored, 320, 180, RATE, 1, frames, frames / RATE, "h264"))


def chunk_of(output: Path, *footage: Path, frames: int = 300) -> ClipChunk:
    layout = Output(output)
    return make_chunk([clip_of(layout, f"clip{number}", path, frames) for number, path in enumerate(footage)])


def says(text: str, finish: str = "stop") -> Script:
    return lambda request: Completion(text, 50, 7, finish)


def captions(chunk: ClipChunk) -> list[Caption | None]:
    return [window.caption for clip in chunk.clips for window in clip.windows]


def statuses(chunk: ClipChunk) -> list[str]:
    return [caption.status for caption in captions(chunk) if caption]


def test_each_window_is_asked_about_its_own_frames(tmp_path: Path, footage: Path) -> None:
    engine = ScriptedEngine(lambda request: Completion(f"From {request.first_frame}.", 50, 7, "stop"))
    chunk = chunk_of(tmp_path, footage, footage)
    done = captioner(tmp_path, engine).run(chunk)
    requests = [request for asked in engine.asked for request in asked]
    assert [(request.first_frame, request.last_frame) for request in requests] == [
        (0, 99), (100, 199), (200, 299),
    ] * 2  # fmt: skip
    for request in requests:
        numbers = [read_frame_number(picture) for picture in request.frames]
        assert numbers[0] == request.first_frame and numbers[-1] == request.last_frame
        assert request.frames.shape[1] % 28 == request.frames.shape[2] % 28 == 0
        assert request.frame_rate == pytest.approx(len(numbers) / (100 / RATE))
        assert request.prompt == "What happens?"
    assert len({request.seed for request in requests}) == 6
    expected = [Caption("qwen", f"From {first}.", "success", 50, 7) for first in (0, 100, 200)]
    assert captions(done) == expected * 2
    assert all(not clip.failures for clip in done.clips)


@pytest.mark.parametrize(
    ("completion", "caption"),
    [
        (Completion("A car.", 9, 3, "stop"), Caption("qwen", "A car.", "success", 9, 3)),
        (Completion("A car tur", 9, 3, "length"), Caption("qwen", "A car tur", "truncated", 9, 3)),
        (Completion("A car \ufffd", 9, 3, "length"), Caption("qwen", "A car", "truncated", 9, 3)),
        (Completion("A\x00 car.", 9, 3, "stop"), Caption("qwen", "A car.", "success", 9, 3)),
        (Completion("<think>x</think>A car.", 9, 3, "stop"), Caption("qwen", "A car.", "success", 9, 3)),
        (Completion("I would rather not", 9, 3, "blocked"), Caption("qwen", "", "blocked", 9, 3)),
        (Completion("", 9, 0, "stop"), Caption("qwen", "", "error", 9, 0, "empty")),
        (Completion(" \n", 9, 2, "stop"), Caption("qwen", "", "error", 9, 2, "empty")),
        (Completion("<think>A car", 9, 3, "length"), Caption("qwen", "", "error", 9, 3, "cut_off")),
        (Completion("Unknown caption", 9, 3, "stop"), Caption("qwen", "", "error", 9, 3, "empty")),
        (Completion("A \ufffd car", 9, 3, "stop"), Caption("qwen", "", "error", 9, 3, "undecodable")),
        (Completion("A \udc80 car", 9, 3, "stop"), Caption("qwen", "", "error", 9, 3, "undecodable")),
        (Completion("A car.<|im_end|> A bus.", 9, 3, "stop"), Caption("qwen", "", "error", 9, 3, "markup")),
        (Completion('```json\n{"caption": "A car."}\n```', 9, 3, "stop"), Caption("qwen", "A car.", "success", 9, 3)),
        (Completion("一辆车。", 9, 3, "stop"), Caption("qwen", "一辆车。", "success", 9, 3)),
        (Completion("!" * 500, 9, 3, "length"), Caption("qwen", "", "error", 18, 6, "degenerate")),  # asked twice
    ],
)
def test_what_becomes_of_an_answer(tmp_path: Path, footage: Path, completion: Completion, caption: Caption) -> None:
    engine = ScriptedEngine(lambda request: completion)
    done = captioner(tmp_path, engine).run(chunk_of(tmp_path, footage, frames=90))
    assert captions(done) == [caption]
    failures = done.clips[0].failures
    if caption.status == "error":
        assert [(failure.error_type, failure.retriable) for failure in failures] == [("ModelOutputError", False)]
        assert failures[0].message.startswith("frames 0 to 89: ")
    else:
        assert failures == ()
    if caption.status in ("error", "blocked"):
        assert left_out(done.clips[0].windows[0], 10, (640, 360)) == f"no usable caption ({caption.outcome})"


def test_what_only_repeats_the_prompt_is_no_caption(tmp_path: Path, footage: Path) -> None:
    prompt = "Describe this video in detail, from beginning to end."
    for said, caption in (
        (prompt, Caption("qwen", "", "error", 50, 7, "echoed")),
        (f"{prompt}\n\nA car.", Caption("qwen", "A car.", "success", 50, 7)),
        ("The user wants a caption. A car", Caption("qwen", "", "error", 50, 7, "reasoning")),
    ):
        engine = ScriptedEngine(says(said))
        SLOTS.clear()
        done = captioner(tmp_path, engine, prompts=Prompts(prompt)).run(chunk_of(tmp_path, footage, frames=90))
        assert captions(done) == [caption]


LOOP = "The car drives on along the road. " * 100


class PenalizedEngine(ScriptedEngine):
    """Answers in another way where it is asked to keep from repetition."""

    def __init__(self, script: Script, penalized: Script) -> None:
        super().__init__(script)
        self.penalized = penalized
        self.params: list[SamplingParams] = []

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion | Exception]:
        self.params.append(params)
        self.asked.append(list(requests))
        script = self.penalized if params.against_repetition else self.script
        return [script(request) for request in requests]


def loops_in_the_second_window(request: Request) -> Completion:
    return Completion(LOOP if request.first_frame == 100 else "A car.", 50, 7, "stop")


@pytest.mark.parametrize(
    ("second", "caption"),
    [
        (Completion("A car.", 9, 3, "stop"), Caption("qwen", "A car.", "success", 59, 10)),
        (Completion("A car", 9, 3, "length"), Caption("qwen", "A car", "truncated", 59, 10)),
        (Completion(LOOP, 9, 3, "length"), Caption("qwen", "", "error", 59, 10, "degenerate")),
        (Completion("", 9, 3, "blocked"), Caption("qwen", "", "blocked", 59, 10)),
        (ModelMemoryError("too large"), Caption("qwen", "", "error", 50, 7, "degenerate")),
    ],
)
def test_a_caption_that_only_repeats_itself_is_asked_for_once_more(
    tmp_path: Path, footage: Path, second: Completion | Exception, caption: Caption
) -> None:
    engine = PenalizedEngine(loops_in_the_second_window, lambda request: second)
    done = captioner(tmp_path, engine).run(chunk_of(tmp_path, footage))
    assert captions(done) == [
        Caption("qwen", "A car.", "success", 50, 7),
        caption,
        Caption("qwen", "A car.", "success", 50, 7),
    ]
    assert [[request.first_frame for request in asked] for asked in engine.asked] == [[0, 100, 200], [100]]
    assert [params.against_repetition for params in engine.params] == [False, True]
    assert [failure.error_type for failure in done.clips[0].failures] == ["ModelOutputError"] * (
        caption.status == "error"
    )
    if caption.status == "error":
        assert not done.clips[0].failures[0].retriable
        assert left_out(done.clips[0].windows[1], 10, (640, 360)) is not None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelOutputError("cut", reason="cut_off"), "cut_off"),
        (ModelOutputError("NaN", reason="not_finite"), "not_finite"),
        (ModelContextError("too long"), "too_long"),
        (ModelRequestError("no"), "refused"),
        (ModelServerError("down"), "exception"),
    ],
)
def test_a_failure_has_its_reason_in_the_caption(tmp_path: Path, footage: Path, error: Exception, reason: str) -> None:
    done = captioner(tmp_path, ScriptedEngine(lambda request: error)).run(chunk_of(tmp_path, footage, frames=90))
    assert captions(done) == [Caption("qwen", "", "error", failure_reason=reason)]
    assert done.clips[0].failures[0].error_type == type(error).__name__


@pytest.mark.parametrize("raises", [False, True])
def test_a_mistake_in_the_setup_stops_the_stage(tmp_path: Path, footage: Path, raises: bool) -> None:
    def script(request: Request) -> Completion | Exception:
        if raises:
            raise SetupError("no key")
        return SetupError("no key")

    engine = ScriptedEngine(script)
    worker = captioner(tmp_path, engine, batch_tokens=1)
    restart_stages()
    try:
        done = [worker.attempt(chunk_of(tmp_path, footage, footage)) for _ in range(3)]
    finally:
        restart_stages()
    assert len(engine.asked) == 1
    for chunk in done:
        failures = [failure for clip in chunk.clips for failure in clip.failures]
        assert [(failure.error_type, failure.message) for failure in failures] == [("SetupError", "no key")] * 2
        assert captions(chunk) == []


def test_a_window_that_fails_costs_no_other(tmp_path: Path, footage: Path) -> None:
    def script(request: Request) -> Completion | Exception:
        return ModelMemoryError("too large") if request.first_frame == 100 else Completion("A car.", 9, 3, "stop")

    done = captioner(tmp_path, ScriptedEngine(script)).run(chunk_of(tmp_path, footage, footage))
    assert statuses(done) == ["success", "error", "success"] * 2
    failed = captions(done)[1]
    assert failed is not None and failed.failure_reason == "exception"
    for clip in done.clips:
        assert [(failure.message, failure.retriable) for failure in clip.failures] == [
            ("frames 100 to 199: too large", True)
        ]


def test_a_damaged_clip_costs_no_other(tmp_path: Path, footage: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    chunk = chunk_of(tmp_path, footage, broken, footage)
    done = captioner(tmp_path, ScriptedEngine(says("A car.")), batch_tokens=3000).run(chunk)
    assert statuses(done) == ["success"] * 3 + ["error"] * 3 + ["success"] * 3
    assert {failure.error_type for failure in done.clips[1].failures} == {"LostFramesError"}
    assert not done.clips[0].failures and not done.clips[2].failures


def test_a_clip_that_ends_early_keeps_its_first_windows(tmp_path: Path, footage: Path) -> None:
    chunk = chunk_of(tmp_path, footage, frames=400)  # one window more than it has frames
    done = captioner(tmp_path, ScriptedEngine(says("A car."))).run(chunk)
    assert statuses(done) == ["success"] * 3 + ["error"]


def test_a_model_that_does_not_load_fails_every_window_and_frees_its_place(tmp_path: Path, footage: Path) -> None:
    def load(device: str) -> Any:
        raise OSError("no such weights")

    worker = captioner(tmp_path, None, model=ModelRef("missing", load), batch_tokens=1)
    for _ in range(3):  # more often than there are places for decoded batches
        done = worker.run(chunk_of(tmp_path, footage))
    assert statuses(done) == ["error"] * 3
    assert all(failure.retriable and "no such weights" in failure.message for failure in done.clips[0].failures)


def test_clips_that_were_not_cut_or_are_too_short_have_no_captions(tmp_path: Path, footage: Path) -> None:
    layout = Output(tmp_path)
    missing = Clip(make_span("missing"))
    short = clip_of(layout, "short", footage, frames=3)
    engine = ScriptedEngine(says("A car."))
    done = captioner(tmp_path, engine).run(make_chunk([missing, short]))
    assert done.clips == (missing, short)
    assert engine.asked == []
    assert "models loaded: scripted" not in counters.counts()


def test_a_second_pass_refines_the_first_over_the_same_frames(tmp_path: Path, footage: Path) -> None:
    def script(request: Request) -> Completion:
        first = request.prompt == "What happens?"
        return Completion("<think>…</think><answer>A {car}.</answer>" if first else "A red {car}.", 50, 7, "stop")

    engine = ScriptedEngine(script)
    done = captioner(tmp_path, engine, prompts=TWO_PASSES).run(chunk_of(tmp_path, footage, frames=90))
    (first,), (second,) = engine.asked
    assert second.prompt == "Better!\n\nA {car}."
    assert np.array_equal(first.frames, second.frames)
    assert captions(done) == [Caption("qwen", "A red {car}.", "success", 100, 14)]


def test_a_second_pass_is_not_made_of_what_has_no_caption(tmp_path: Path, footage: Path) -> None:
    engine = ScriptedEngine(lambda request: Completion("", 50, 0, "blocked" if request.first_frame else "stop"))
    done = captioner(tmp_path, engine, prompts=TWO_PASSES).run(chunk_of(tmp_path, footage))
    assert len(engine.asked) == 1
    assert statuses(done) == ["error", "blocked", "blocked"]


FIRST = Caption("qwen", "A car.", "success", 100, 14)


@pytest.mark.parametrize(
    ("second", "caption"),
    [
        (Completion("", 50, 7, "stop"), FIRST),
        (Completion("I'm sorry, but I can't help with that.", 50, 7, "stop"), FIRST),
        (Completion("A car.<|im_end|> A bus.", 50, 7, "stop"), FIRST),
        (Completion("<think>A car", 50, 7, "length"), FIRST),
        (Completion("A car. " * 100, 50, 7, "length"), Caption("qwen", "A car.", "success", 150, 21)),  # asked twice
        (ModelOutputError("cut", reason="cut_off"), Caption("qwen", "A car.", "success", 50, 7)),
        (ModelContextError("too long"), Caption("qwen", "A car.", "success", 50, 7)),
        (Completion("A red car", 50, 7, "length"), Caption("qwen", "A red car", "truncated", 100, 14)),
        (Completion("", 50, 7, "blocked"), Caption("qwen", "", "blocked", 100, 14)),
        (ModelServerError("down"), Caption("qwen", "", "error", failure_reason="exception")),  # tried again
    ],
)
def test_a_second_pass_without_a_caption_leaves_the_first(
    tmp_path: Path, footage: Path, second: Completion | Exception, caption: Caption
) -> None:
    engine = ScriptedEngine(
        lambda request: Completion("A car.", 50, 7, "stop") if request.prompt == "What happens?" else second
    )
    done = captioner(tmp_path, engine, prompts=TWO_PASSES).run(chunk_of(tmp_path, footage, frames=90))
    assert captions(done) == [caption]
    assert len(done.clips[0].failures) == (caption.status == "error")
    assert counters.counts().get("captions kept from the first pass", 0) == (caption.text == "A car.")


def test_windows_tokens_and_clips_are_counted(tmp_path: Path, footage: Path) -> None:
    worker = captioner(tmp_path, ScriptedEngine(says("A car.")), prompts=TWO_PASSES, batch_tokens=3000)
    worker.attempt(chunk_of(tmp_path, footage, footage))
    counts = counters.counts()
    assert counts["windows captioned"] == 6
    assert counts["caption prompt tokens"] == 6 * 2 * 50
    assert counts["caption output tokens"] == 6 * 2 * 7
    assert counts[f"{'captions'}: done"] == 2


@pytest.mark.parametrize(
    ("tokens", "budget", "expected"),
    [
        ([], 10, []),
        ([5], 1, [range(1)]),
        ([5, 5, 5], 10, [range(2), range(2, 3)]),
        ([2, 2, 9, 2], 10, [range(2), range(2, 3), range(3, 4)]),  # padded to 9, two of them are too many
        ([1] * 7, 100, [range(7)]),
    ],
)
def test_batches_keep_to_their_budget_when_padded(tokens: list[int], budget: int, expected: list[range]) -> None:
    assert batches(tokens, budget) == expected


def test_smaller_batches_ask_the_same(tmp_path: Path, footage: Path) -> None:
    large, small = ScriptedEngine(says("A car.")), ScriptedEngine(says("A car."))
    chunk = chunk_of(tmp_path, footage, footage)
    done = captioner(tmp_path, large).run(chunk)
    SLOTS.clear()
    again = captioner(tmp_path, small, batch_tokens=1).run(chunk)
    assert done == again
    assert len(large.asked) == 1 and len(small.asked) == 6
    for one, other in zip(large.asked[0], [asked[0] for asked in small.asked], strict=True):
        assert np.array_equal(one.frames, other.frames)


def test_two_threads_prepare_and_ask_in_turns(tmp_path: Path, footage: Path) -> None:
    """While one thread has the model, the other gets as far as to have its frames ready."""
    ready = threading.Event()
    other_was_ready = []
    seeds_of_first: list[int] = []

    def script(request: Request) -> Completion:
        if request.seed in seeds_of_first:
            other_was_ready.append(ready.wait(timeout=60))
        return Completion("A car.", 9, 3, "stop")

    class Watched(VlmCaptioner):
        def _requests_of(self, clip: Clip, windows: Any, files: Any) -> Iterator[Request]:
            for request in super()._requests_of(clip, windows, files):
                if clip.clip_id == "clip0":
                    seeds_of_first.append(request.seed)
                else:
                    ready.set()
                yield request

    placed = captioner(tmp_path, ScriptedEngine(script))
    fields = {field.name: getattr(placed.stage, field.name) for field in dataclasses.fields(placed.stage)}
    worker = Placed(Watched(**fields), placed.output)
    clips = chunk_of(tmp_path, footage, footage, frames=90).clips
    threads = [threading.Thread(target=worker.run, args=(make_chunk([clip]),)) for clip in clips]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other_was_ready == [True]


def test_it_travels_without_weights(tmp_path: Path) -> None:
    worker = captioner(tmp_path, None)
    assert len(pickle.dumps(worker)) < 2000


def test_a_real_model_captions_real_clips(tmp_path: Path, footage: Path) -> None:
    folder = make_qwen2_5_vl(tmp_path / "model", says=REASONED)
    model = ModelRef("tiny", functools.partial(_load, folder=folder))
    worker = captioner(tmp_path, None, model=model, algorithm="cosmos_r1", batch_tokens=2000)
    done = worker.run(chunk_of(tmp_path, footage))
    assert [caption.text for caption in captions(done) if caption] == ["A red car turns left at dusk."] * 3
    assert all(caption.prompt_tokens > 500 for caption in captions(done) if caption)
    short = worker.having(sampling=SamplingParams(20))
    assert statuses(short.run(chunk_of(tmp_path, footage))) == ["error"] * 3


def _load(device: str, folder: Path) -> transformers_engine.TransformersEngine:
    return transformers_engine.load_folder(folder, device)
