"""Captions by a model that looks at video: the windows of a chunk, in batches, through an engine."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from beam_curate import counters
from beam_curate.captions import judge, prompts, reasons
from beam_curate.captions.frames import Sampling, SamplingRules, clip_times, sample_frames, sampling
from beam_curate.captions.unwrap import unwrap
from beam_curate.captions.windows import STAGE, WindowRules
from beam_curate.elements import Caption, Clip, ClipChunk, Failure, Window
from beam_curate.engines.base import Answer, Engine, Generation, Question
from beam_curate.errors import ContentError, SetupError
from beam_curate.models.slot import ModelRef
from beam_curate.store.base import Store

_DECODED_AHEAD = threading.BoundedSemaphore(2)
"""Batches in this process whose frames are being decoded, or wait for the model; it bounds memory."""

_CHARACTERS_PER_TOKEN = 3  # of a prompt, about: what counts is that batches do not depend on a tokenizer
_LABEL_TOKENS = 12  # of what some models put before each pair of frames: its time, a beginning and an end


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A window that a question is asked about."""

    clip: Clip
    sampling: Sampling
    tokens: int

    @property
    def key(self) -> tuple[str, int]:
        return self.clip.clip_id, self.sampling.start_frame


@dataclasses.dataclass(frozen=True)
class VlmCaptioner:
    """Has a model caption the windows of a chunk.

    Frames of a batch are decoded and resized outside the model's lock: while one thread has the model, another
    prepares the next batch. Batches are a function of the chunk alone, so answers do not depend on timing.

    Attributes:
        output: The output.
        windows: How clips are divided.
        algorithm: Value of ``--captioning-algorithm``.
        model: What loads an `Engine`.
        prompt: What is asked of each window.
        stage2_prompt: What is asked in a second pass, followed by the first caption; None for one pass. Where the
            second pass gives no caption, the first one stays.
        generation: How text is generated.
        rules: How the model looks at a window.
        batch_tokens: Most tokens of the prompts of a batch, padding included.
        system: What the model is told before each prompt; None for what its chat template says.
        answer_format: How an answer is asked for at the end of the second pass's question, or None.
    """

    output: Store
    windows: WindowRules
    algorithm: str
    model: ModelRef
    prompt: str
    stage2_prompt: str | None
    generation: Generation
    rules: SamplingRules
    batch_tokens: int
    system: str | None = None
    answer_format: str | None = None

    def run(self, chunk: ClipChunk) -> ClipChunk:
        """Returns the chunk with captioned windows; a window that failed has a caption without text.

        Raises:
            SetupError: Every window would fail for the same reason.
        """
        asked = [one for clip in chunk.clips for one in self._windows(clip)]
        questions = self._questions(asked)
        captions: dict[tuple[str, int], Caption | Exception] = {}
        for batch in batches([one.tokens for one in asked], self.batch_tokens):
            answered = self._answer(questions, len(batch))
            captions.update(zip((asked[position].key for position in batch), answered, strict=True))
            ending = {asked[position].clip.clip_id for position in batch}
            after = {one.clip.clip_id for one in asked[batch.stop : batch.stop + 1]}
            counters.step(len(ending - after))
        _count(captions.values())
        return chunk.with_clips(tuple(self._captioned(chunk, clip, captions) for clip in chunk.clips))

    def _windows(self, clip: Clip) -> Iterator[_Asked]:
        if clip.media is None:
            return
        times = clip_times(self.output.local_path(clip.media.file.path), clip.media)
        letters = len(self.system or "") + max(len(self.prompt), len(self.stage2_prompt or ""))
        text = letters // _CHARACTERS_PER_TOKEN
        for window in self.windows.divide(clip.media.num_frames):
            seen = sampling(clip.media, window, self.rules, times)
            yield _Asked(clip, seen, seen.tokens + text + len(seen.indices) // 2 * _LABEL_TOKENS)

    def _questions(self, asked: Sequence[_Asked]) -> Iterator[Question | Exception]:
        """Decodes each clip once, as far as it is asked for; an exception stands for each window that it costs."""
        position = 0
        while position < len(asked):
            clip = asked[position].clip
            mine = [one.sampling for one in asked[position:] if one.clip.clip_id == clip.clip_id]
            position += len(mine)
            done = 0
            try:
                for question in self._questions_of(clip, mine):
                    done += 1
                    yield question
            except Exception as error:  # noqa: BLE001 - it becomes the failure of the windows that it costs
                failure = error.with_traceback(None)
                for _ in mine[done:]:
                    yield failure

    def _questions_of(self, clip: Clip, windows: Sequence[Sampling]) -> Iterator[Question]:
        assert clip.media is not None
        path = self.output.local_path(clip.media.file.path)
        for window, pictures in zip(windows, sample_frames(path, windows), strict=True):
            name = f"{clip.clip_id}_{window.start_frame}_{window.end_frame}"
            seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
            span = window.start_frame, window.end_frame
            yield Question(self.prompt, pictures, window.frame_rate, path, *span, seed, self.system, window.times)

    def _answer(self, questions: Iterator[Question | Exception], number: int) -> list[Caption | Exception]:
        """Captions the next windows."""
        with _Decoded() as decoded:
            batch = [next(questions) for _ in range(number)]
            usable = [question for question in batch if isinstance(question, Question)]
            if not usable:
                return [one for one in batch if isinstance(one, Exception)]
            try:
                with self.model.use() as engine:
                    decoded.release()
                    captions = iter(self._captions(engine, usable))
            except SetupError:
                raise  # no window can be captioned
            except Exception as error:  # noqa: BLE001 - it becomes the failure of the windows that it costs
                captions = iter([error.with_traceback(None)] * len(usable))
            return [next(captions) if isinstance(one, Question) else one for one in batch]

    def _captions(self, engine: Engine, questions: Sequence[Question]) -> list[Caption | Exception]:
        captions = self._asked(engine, questions)
        if self.stage2_prompt is None:
            return captions
        first = {i: caption for i, caption in enumerate(captions) if isinstance(caption, Caption) and caption.usable}
        again = [
            dataclasses.replace(
                questions[i], prompt=prompts.with_caption(self.stage2_prompt, caption.text, self.answer_format)
            )
            for i, caption in first.items()
        ]
        refined = self._asked(engine, again) if again else []
        for (position, caption), second in zip(first.items(), refined, strict=True):
            captions[position] = _refined(caption, second)
        return captions

    def _asked(self, engine: Engine, questions: Sequence[Question]) -> list[Caption | Exception]:
        """Asks questions, and those whose answer only repeats itself once more with a penalty on repetition."""
        captions = [self._caption(answer) for answer in engine.answer(questions, self.generation)]
        loops = {
            position: caption
            for position, caption in enumerate(captions)
            if isinstance(caption, Caption) and caption.failure_reason == judge.DEGENERATE
        }
        if not loops:
            return captions
        counters.add("captions asked again for repetition", len(loops))
        penalized = dataclasses.replace(self.generation, against_repetition=True)
        answers = engine.answer([questions[position] for position in loops], penalized)
        for (position, caption), answer in zip(loops.items(), answers, strict=True):
            second = self._caption(answer)
            if isinstance(second, Caption):
                captions[position] = _both(caption, second)
        return captions

    def _caption(self, answer: Answer | Exception) -> Caption | Exception:
        if isinstance(answer, SetupError):
            raise answer
        if isinstance(answer, Exception):
            return answer
        tokens = answer.prompt_tokens, answer.output_tokens
        if answer.finish == "blocked":
            return Caption(self.algorithm, "", "blocked", *tokens)
        cut = answer.finish == "length"
        # A character may have been cut in its middle.
        text = unwrap(prompts.printable(answer.text.rstrip("\ufffd") if cut else answer.text))
        for said in self._said:
            text = unwrap(text.removeprefix(said)) or text  # some servers repeat the prompt before the answer
        reason = judge.fault(text) or (judge.ECHOED if any(judge.echoes(text, said) for said in self._said) else None)
        if reason is not None:
            reason = reasons.CUT_OFF if cut and reason in (judge.EMPTY, judge.REASONING) else reason
            return Caption(self.algorithm, "", "error", *tokens, failure_reason=reason)
        return Caption(self.algorithm, text, "truncated" if cut else "success", *tokens)

    @property
    def _said(self) -> tuple[str, ...]:
        """What models are told, without the first caption, which a second pass may leave as it is."""
        return tuple(filter(None, (self.prompt, self.stage2_prompt, self.system)))

    def _captioned(self, chunk: ClipChunk, clip: Clip, captions: dict[tuple[str, int], Caption | Exception]) -> Clip:
        if clip.media is None:
            return clip
        windows, failures = [], list(clip.failures)
        for start, end in self.windows.divide(clip.media.num_frames):
            found = captions[clip.clip_id, start]
            error: Exception | None = None
            if isinstance(found, Exception):
                error, found = found, Caption(self.algorithm, "", "error", failure_reason=reasons.reason_of(found))
            elif found.status == "error":
                error = reasons.answer_without_caption(found.failure_reason, found.output_tokens)
            windows.append(Window(start, end, found))
            if error is not None:
                failure = Failure.of(error, STAGE, chunk.video.uri, clip.clip_id)
                message = f"frames {start} to {end}: {failure.message}"
                failures.append(dataclasses.replace(failure, message=message))
        return dataclasses.replace(clip, windows=tuple(windows), failures=tuple(failures))


class _Decoded:
    """Holds one of the places for decoded batches until the model is there, or until it is left."""

    def __enter__(self) -> _Decoded:
        _DECODED_AHEAD.acquire()
        self._held = True
        return self

    def release(self) -> None:
        if self._held:
            self._held = False
            _DECODED_AHEAD.release()

    def __exit__(self, *exception: Any) -> None:
        self.release()


def batches(tokens: Sequence[int], budget: int) -> list[range]:
    """Divides windows, in order, into batches of at most ``budget`` tokens once they are padded to the longest.

    Args:
        tokens: Of each window's prompt with its pictures.
        budget: Most tokens of a batch; a window that has more is a batch of its own.

    Returns:
        Positions in ``tokens``, a range a batch.
    """
    found: list[range] = []
    start, longest = 0, 0
    for position, size in enumerate(tokens):
        longest = max(longest, size)
        if position > start and longest * (position + 1 - start) > budget:
            found.append(range(start, position))
            start, longest = position, size
    return [*found, range(start, len(tokens))] if tokens else []


def _both(first: Caption, second: Caption | Exception) -> Caption | Exception:
    """Returns the second caption with the tokens of both."""
    if isinstance(second, Exception):
        return second
    return dataclasses.replace(
        second,
        prompt_tokens=first.prompt_tokens + second.prompt_tokens,
        output_tokens=first.output_tokens + second.output_tokens,
    )


def _refined(first: Caption, second: Caption | Exception) -> Caption | Exception:
    """Returns the second pass's caption, or the first one where that pass fails for good.

    What may pass is tried again by the next run, and what a filter refuses stays blocked.
    """
    failed_for_good = isinstance(second, ContentError) or (isinstance(second, Caption) and second.status == "error")
    if not failed_for_good:
        return _both(first, second)
    counters.add("captions kept from the first pass")
    both = _both(first, second)
    if isinstance(both, Exception):
        return first
    return dataclasses.replace(first, prompt_tokens=both.prompt_tokens, output_tokens=both.output_tokens)


def _count(captions: Iterable[Caption | Exception]) -> None:
    found = [caption for caption in captions if isinstance(caption, Caption)]
    counters.add("windows captioned", sum(caption.usable for caption in found))
    counters.add("caption prompt tokens", sum(caption.prompt_tokens for caption in found))
    counters.add("caption output tokens", sum(caption.output_tokens for caption in found))
