"""Requests to a vision-language model and its completions: the protocol that every engine implements."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Request:
    """A prompt with the frames of a caption window.

    >>> Request("What happens?", np.zeros((4, 56, 56, 3), np.uint8), 2.0, 0, 47).seconds
    (0.0, 0.5, 1.0, 1.5)

    Attributes:
        prompt: User message.
        frames: Sampled frames, uint8 RGB [num_frames, height, width, 3], already within the pixel budget.
        frame_rate: Sampling rate of `frames`, in frames/s: their number over the window's length.
        first_frame: First frame of the window in the clip.
        last_frame: Last frame of the window in the clip, inclusive.
        seed: Seed of random sampling; used only if the temperature is above 0.
        system: System message; None leaves it to the model's chat template.
        times: Timestamps of the frames, in s after the window's first frame; empty if they are evenly spaced at
            `frame_rate`.
    """

    prompt: str
    frames: NDArray[np.uint8]
    frame_rate: float
    first_frame: int
    last_frame: int
    seed: int = 0
    system: str | None = None
    times: tuple[float, ...] = ()

    @property
    def seconds(self) -> tuple[float, ...]:
        """Timestamps of the frames, in s after the window's first frame."""
        return self.times or tuple(index / self.frame_rate for index in range(len(self.frames)))

    @property
    def step_s(self) -> float:
        """Mean distance between two frames, in s; `frame_rate` also counts the time after the last frame."""
        seconds = self.seconds
        return (seconds[-1] - seconds[0]) / (len(seconds) - 1) if len(seconds) > 1 else 1 / self.frame_rate

    @property
    def is_even(self) -> bool:
        """Whether each frame is less than half a step away from an evenly spaced grid."""
        seconds = np.asarray(self.seconds)
        even = seconds[0] + self.step_s * np.arange(len(seconds))
        return bool(np.abs(seconds - even).max() < self.step_s / 2)


@dataclasses.dataclass(frozen=True)
class SamplingParams:
    """How text is generated; names and neutral values are those of vLLM's sampling parameters.

    >>> SamplingParams(max_output_tokens=100).penalized.repetition_penalty
    1.2

    Attributes:
        max_output_tokens: Maximum number of new tokens; None for no limit but the model's context.
        temperature: 0 always takes the most likely token, so that the completion is the same every time.
        top_p: Sample from the most likely tokens whose probabilities add up to this.
        top_k: Sample from the k most likely tokens; 0 means no limit.
        repetition_penalty: Above 1, tokens of the prompt and the completion become less likely to be repeated.
        presence_penalty: Above 0, tokens of the completion become less likely to be repeated.
        frequency_penalty: Like `presence_penalty`, in proportion to how often a token has occurred.
        min_p: Sample from tokens at least this fraction as likely as the most likely one.
        min_tokens: Minimum number of new tokens.
        against_repetition: Whether a first completion was a loop: the engine adds a penalty that it supports.
    """

    max_output_tokens: int | None
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    min_p: float = 0.0
    min_tokens: int = 0
    against_repetition: bool = False

    @property
    def penalized(self) -> SamplingParams:
        """A copy with a repetition penalty of at least 1.2."""
        return dataclasses.replace(self, repetition_penalty=max(1.2, self.repetition_penalty))


@dataclasses.dataclass(frozen=True)
class Completion:
    """The text that a model generated for a request.

    Attributes:
        text: Raw text, with reasoning and tags; not yet a caption.
        prompt_tokens: Tokens of the prompt, including those of the frames.
        output_tokens: Generated tokens.
        finish: ``stop``, ``length`` if `SamplingParams.max_output_tokens` was reached, or ``blocked`` by a content
            filter.
    """

    text: str
    prompt_tokens: int
    output_tokens: int
    finish: str


class Engine(Protocol):
    """A loaded model, or a connection to one, which `ModelRef.use` lends to a captioner.

    >>> class Echo:
    ...     def generate(self, requests, params):
    ...         return [Completion(request.prompt, 0, 0, "stop") for request in requests]
    >>> request = Request("What happens?", np.zeros((4, 56, 56, 3), np.uint8), 2.0, 0, 47)
    >>> Echo().generate([request], SamplingParams(max_output_tokens=100))
    [Completion(text='What happens?', prompt_tokens=0, output_tokens=0, finish='stop')]
    """

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion | Exception]:
        """Returns the completion of each request, in order, or the exception with which that one request failed."""
        ...
