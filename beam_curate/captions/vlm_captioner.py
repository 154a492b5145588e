"""The captioner for vision-language models: sends the windows of a chunk to an engine, in batches."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

from beam_curate import counters
from beam_curate.captions import judge
from beam_curate.captions.frames import FrameSampling, SampledWindow, clip_times, sample_frames, sample_window
from beam_curate.captions.prompts import Prompts
from beam_curate.captions.stage import Captioner
from beam_curate.captions.unwrap import printable, unwrap
from beam_curate.elements import Caption, Clip, ClipChunk, Failure, Window
from beam_curate.engines.base import Completion, Engine, Request, SamplingParams
from beam_curate.errors import ContentError, SetupError
from beam_curate.models.slot import ModelRef
from beam_curate.store.stage_files import StageFiles

_DECODED_AHEAD = threading.BoundedSemaphore(2)
"""Limits the batches in this process that are being decoded or wait for the model, to bound memory.

They need no permit for a core: a model that waits for frames costs more than a core that is shared for a moment."""
_SENT = threading.BoundedSemaphore(8)
"""Limits the batches that are with a server, which takes as many as come."""

_CHARACTERS_PER_TOKEN = 3  # approximate, so that batches do not depend on a tokenizer
_LABEL_TOKENS = 12  # timestamp and delimiters that some models add to each pair of frames


@dataclasses.dataclass(frozen=True)
class _SampledClipWindow:
    """A window to be captioned, with its sampled frames and the tokens of its request."""

    clip: Clip
    sampling: SampledWindow
    tokens: int

    @property
    def key(self) -> tuple[str, int]:
        return self.clip.clip_id, self.sampling.start_frame


@dataclasses.dataclass(frozen=True)
class VlmCaptioner(Captioner):
    """Has a model caption the windows of a chunk.

    Frames are decoded and resized without holding the model: while one thread uses it, another prepares the next batch.
    Batches are a function of the chunk alone, so that captions do not depend on timing.

    Attributes:
        model: Reference to an `Engine`.
        prompts: Prompts of each pass. If the second pass gives no caption, the first one is kept.
        sampling: How text is generated.
        frame_sampling: How frames are sampled for the model.
        batch_tokens: Maximum number of prompt tokens per batch, including padding.
    """

    model: ModelRef
    prompts: Prompts
    sampling: SamplingParams
    frame_sampling: FrameSampling
    batch_tokens: int

    def identity(self) -> dict[str, Any]:
        """Returns what captions depend on. Batches change the order of sums, but a server does its own batching."""
        identity = super().identity()
        if self.model.shared:
            del identity["batch_tokens"]
        return identity

    def run(self, chunk: ClipChunk, files: StageFiles) -> ClipChunk:
        """Returns the chunk with captioned windows; a failed window has a caption without text.

        Raises:
            SetupError: Every window would fail for the same reason.
        """
        asked = [one for clip in chunk.clips for one in self._windows(clip, files)]
        captions: dict[tuple[str, int], Caption | Exception] = {}
        with contextlib.closing(self._requests(asked, files)) as requests:  # it has the file of a clip until it ends
            for batch in batches([one.tokens for one in asked], self.batch_tokens):
                answered = self._answer(requests, len(batch))
                captions.update(zip((asked[position].key for position in batch), answered, strict=True))
                ending = {asked[position].clip.clip_id for position in batch}
                after = {one.clip.clip_id for one in asked[batch.stop : batch.stop + 1]}
                counters.step(len(ending - after))
        _count(captions.values())
        return chunk.with_clips(tuple(self._captioned(chunk, clip, captions) for clip in chunk.clips))

    def _windows(self, clip: Clip, files: StageFiles) -> Iterator[_SampledClipWindow]:
        if clip.media is None:
            return
        with files.reading(clip.media.file) as path:
            times = clip_times(path, clip.media)
        text = self.prompts.num_characters // _CHARACTERS_PER_TOKEN
        for window in self.windows.divide(clip.media.num_frames):
            seen = sample_window(clip.media, window, self.frame_sampling, times)
            yield _SampledClipWindow(clip, seen, seen.tokens + text + len(seen.indices) // 2 * _LABEL_TOKENS)

    def _requests(
        self, asked: Sequence[_SampledClipWindow], files: StageFiles
    ) -> Generator[Request | Exception, None, None]:
        """Yields a request for each window, or the exception that decoding failed with; decodes each clip once."""
        position = 0
        while position < len(asked):
            clip = asked[position].clip
            mine = [one.sampling for one in asked[position:] if one.clip.clip_id == clip.clip_id]
            position += len(mine)
            done = 0
            try:
                for request in self._requests_of(clip, mine, files):
                    done += 1
                    yield request
            except Exception as error:  # noqa: BLE001 - it becomes the failure of the affected windows
                failure = error.with_traceback(None)
                for _ in mine[done:]:
                    yield failure

    def _requests_of(self, clip: Clip, windows: Sequence[SampledWindow], files: StageFiles) -> Iterator[Request]:
        assert clip.media is not None
        with files.reading(clip.media.file) as path:
            for window, images in zip(windows, sample_frames(path, windows), strict=True):
                name = f"{clip.clip_id}_{window.start_frame}_{window.end_frame}"
                seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
                span = window.start_frame, window.end_frame
                prompt, system = self.prompts.first_message, self.prompts.system
                yield Request(prompt, images, window.frame_rate, *span, seed, system, window.times)

    def _answer(self, requests: Iterator[Request | Exception], number: int) -> list[Caption | Exception]:
        """Captions the next batch of windows."""
        with _Decoded() as decoded:
            batch = [next(requests) for _ in range(number)]
            usable = [request for request in batch if isinstance(request, Request)]
            if not usable:
                return [one for one in batch if isinstance(one, Exception)]
            try:
                with self.model.use() as engine, _SENT if self.model.shared else contextlib.nullcontext():
                    decoded.release()
                    captions = iter(self._captions(engine, usable))
            except SetupError:
                raise  # no window can be captioned
            except Exception as error:  # noqa: BLE001 - it becomes the failure of the affected windows
                captions = iter([error.with_traceback(None)] * len(usable))
            return [next(captions) if isinstance(one, Request) else one for one in batch]

    def _captions(self, engine: Engine, requests: Sequence[Request]) -> list[Caption | Exception]:
        captions = self._generate(engine, requests)
        if self.prompts.second is None:
            return captions
        first = {i: caption for i, caption in enumerate(captions) if isinstance(caption, Caption) and caption.usable}
        again = [
            dataclasses.replace(requests[i], prompt=self.prompts.second_message(caption.text))
            for i, caption in first.items()
        ]
        refined = self._generate(engine, again) if again else []
        for (position, caption), second in zip(first.items(), refined, strict=True):
            captions[position] = _refined(caption, second)
        return captions

    def _generate(self, engine: Engine, requests: Sequence[Request]) -> list[Caption | Exception]:
        """Captions windows; loops are repeated once with a repetition penalty."""
        captions = [self._caption(completion) for completion in engine.generate(requests, self.sampling)]
        loops = {
            position: caption
            for position, caption in enumerate(captions)
            if isinstance(caption, Caption) and caption.failure_reason == judge.DEGENERATE
        }
        if not loops:
            return captions
        counters.add("captions asked again for repetition", len(loops))
        penalized = dataclasses.replace(self.sampling, against_repetition=True)
        completions = engine.generate([requests[position] for position in loops], penalized)
        for (position, caption), completion in zip(loops.items(), completions, strict=True):
            second = self._caption(completion)
            if isinstance(second, Caption):
                captions[position] = _both(caption, second)
        return captions

    def _caption(self, completion: Completion | Exception) -> Caption | Exception:
        if isinstance(completion, SetupError):
            raise completion
        if isinstance(completion, Exception):
            return completion
        tokens = completion.prompt_tokens, completion.output_tokens
        if completion.finish == "blocked":
            return Caption(self.algorithm, "", "blocked", *tokens)
        cut = completion.finish == "length"
        # The last character may be incomplete.
        text = unwrap(printable(completion.text.rstrip("\ufffd") if cut else completion.text))
        told = self.prompts.texts
        for prompt in told:
            text = unwrap(text.removeprefix(prompt)) or text  # some servers repeat the prompt before the completion
        reason = judge.fault(text) or (judge.ECHOED if any(judge.echoes(text, prompt) for prompt in told) else None)
        if reason is not None:
            reason = judge.CUT_OFF if cut and reason in (judge.EMPTY, judge.REASONING) else reason
            return Caption(self.algorithm, "", "error", *tokens, failure_reason=reason)
        return Caption(self.algorithm, text, "truncated" if cut else "success", *tokens)

    def _captioned(self, chunk: ClipChunk, clip: Clip, captions: dict[tuple[str, int], Caption | Exception]) -> Clip:
        if clip.media is None:
            return clip
        windows, failures = [], list(clip.failures)
        for start, end in self.windows.divide(clip.media.num_frames):
            found = captions[clip.clip_id, start]
            error: Exception | None = None
            if isinstance(found, Exception):
                error, found = found, Caption(self.algorithm, "", "error", failure_reason=judge.reason_of(found))
            elif found.status == "error":
                error = judge.answer_without_caption(found.failure_reason, found.output_tokens)
            windows.append(Window(start, end, found))
            if error is not None:
                failure = Failure.of(error, self.name, chunk.video.uri, clip.clip_id)
                message = f"frames {start} to {end}: {failure.message}"
                failures.append(dataclasses.replace(failure, message=message))
        return dataclasses.replace(clip, windows=tuple(windows), failures=tuple(failures))


class _Decoded:
    """Holds a slot of `_DECODED_AHEAD` until the model is available, or the block is left."""

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
    """Divides windows, in order, into batches of at most ``budget`` tokens after padding to the longest.

    >>> batches([100, 200, 100, 900], budget=600)
    [range(0, 3), range(3, 4)]

    Args:
        tokens: Tokens of each window's prompt and frames.
        budget: Maximum number of tokens per batch; a larger window is a batch of its own.

    Returns:
        Positions in ``tokens``, one range per batch.
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
    """Returns the second caption with the token counts of both."""
    if isinstance(second, Exception):
        return second
    return dataclasses.replace(
        second,
        prompt_tokens=first.prompt_tokens + second.prompt_tokens,
        output_tokens=first.output_tokens + second.output_tokens,
    )


def _refined(first: Caption, second: Caption | Exception) -> Caption | Exception:
    """Returns the second pass's caption, or the first one if that pass failed permanently.

    A temporary failure is left to the next run, and what a filter blocks stays blocked.
    """
    failed_permanently = isinstance(second, ContentError) or (isinstance(second, Caption) and second.status == "error")
    if not failed_permanently:
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
