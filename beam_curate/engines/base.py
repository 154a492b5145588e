"""What is asked of a model that looks at video and writes text, and what it answers; the same for every engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Question:
    """A prompt about the frames of a window.

    Attributes:
        prompt: The text, as the user or the variant gives it.
        frames: Sampled frames, uint8 RGB [num_frames, height, width, 3], sides already within the pixel budget.
        frame_rate: Frames/s of `frames`, as sampled: their number over the window's length.
        clip: The clip's file on this computer: with the two frame numbers, which window the question is about.
        first_frame: First frame of the window in the clip.
        last_frame: Last frame of the window in the clip, inclusive.
        seed: Of random sampling; used only where the temperature is above 0.
        system: What the model's makers have it told before the prompt; None for what its chat template says.
        times: Of each frame, in s after the window's first frame; empty where frames are one over the rate apart.
    """

    prompt: str
    frames: NDArray[np.uint8]
    frame_rate: float
    clip: Path
    first_frame: int
    last_frame: int
    seed: int = 0
    system: str | None = None
    times: tuple[float, ...] = ()

    @property
    def seconds(self) -> tuple[float, ...]:
        """When each frame is seen, in s after the window's first frame."""
        return self.times or tuple(index / self.frame_rate for index in range(len(self.frames)))

    @property
    def step_s(self) -> float:
        """From one frame to the next, in s, in the mean; `frame_rate` counts what follows the last frame as well."""
        seconds = self.seconds
        return (seconds[-1] - seconds[0]) / (len(seconds) - 1) if len(seconds) > 1 else 1 / self.frame_rate

    @property
    def is_even(self) -> bool:
        """Whether each frame is less than half a step away from where it is with even steps."""
        seconds = np.asarray(self.seconds)
        even = seconds[0] + self.step_s * np.arange(len(seconds))
        return bool(np.abs(seconds - even).max() < self.step_s / 2)


@dataclasses.dataclass(frozen=True)
class Generation:
    """How text is generated; the names and the neutral values are those of vLLM's sampling parameters.

    Attributes:
        max_output_tokens: Most tokens of an answer; None for as many as the model allows.
        temperature: 0 always takes the likeliest token, so that the answer is the same every time.
        top_p: Sampling among the likeliest tokens of this total probability.
        top_k: Sampling among so many likeliest tokens; 0 for all.
        repetition_penalty: Above 1 makes tokens of prompt and answer less likely to come again.
        presence_penalty: Above 0 makes tokens of the answer less likely to come again.
        frequency_penalty: The same, by how often they came.
        min_p: Sampling among tokens of at least this share of the likeliest one's probability.
        min_tokens: Fewest tokens of an answer.
        against_repetition: Whether a first answer only repeated itself: the engine adds a penalty that it knows.
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
    def penalized(self) -> Generation:
        """The same with a repetition penalty of at least 1.2."""
        return dataclasses.replace(self, repetition_penalty=max(1.2, self.repetition_penalty))


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a model wrote.

    Attributes:
        text: As written, with reasoning and tags; not yet a caption.
        prompt_tokens: Tokens read, those of the pictures included.
        output_tokens: Tokens written.
        finish: ``stop``; ``length`` where the most tokens were reached; ``blocked`` by a content filter.
    """

    text: str
    prompt_tokens: int
    output_tokens: int
    finish: str


class Engine(Protocol):
    """A loaded model, or a connection to one; what `ModelRef.use` lends to a captioner."""

    def answer(self, questions: Sequence[Question], generation: Generation) -> list[Answer | Exception]:
        """Answers questions, in order; an exception stands for the one question that failed, never for all."""
        ...
