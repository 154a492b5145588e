"""The messages that a model is sent about a caption window."""

from __future__ import annotations

import dataclasses

VARIANTS = {
    "default": (
        "Describe this video in detail: the place and the light, the people, animals and things in it and how they "
        "look, what happens from beginning to end, and how the camera moves. Describe only what can be seen. "
        "Write in English."
    ),
    "av": (
        "This video was taken from a moving car and shows the road ahead. Describe how the car itself moves and how "
        "other vehicles move around it. Describe what matters for driving safely: pedestrians and cyclists, lanes, "
        "traffic signs and signals, the state of the road, weather and light, and any risky or aggressive driving. "
        "Mention buildings and other landmarks. Describe only what can be seen. Write in English."
    ),
    "av-surveillance": (
        "This video was taken by a fixed camera that watches traffic. Describe how vehicles move through the scene and "
        "towards each other. Describe what matters for safety: pedestrians and cyclists, lanes, traffic signs and "
        "signals, the state of the road, weather and light, and any risky or aggressive driving. Mention buildings "
        "and other landmarks. Describe only what can be seen. Write in English."
    ),
}
"""First prompts by the value of ``--captioning-prompt-variant``."""

REFINE = (
    "Below is a description of this video. Improve it: correct what is wrong, add important visual details that are "
    "missing, and say everything clearly and precisely. Answer with the improved description alone, in "
    "English."
)
"""The default prompt of the second pass."""


@dataclasses.dataclass(frozen=True)
class Prompts:
    r"""The prompts of one or two captioning passes.

    >>> prompts = Prompts("What happens?", second="Improve this:", answer_format="Think first.")
    >>> prompts.first_message
    'What happens?\n\nThink first.'
    >>> prompts.second_message("A car.")
    'Improve this:\n\nA car.\n\nThink first.'

    Attributes:
        first: Prompt of the first pass.
        second: Prompt of the second pass, which refines the first caption; None for a single pass.
        system: System message; None leaves it to the model's chat template.
        answer_format: How the model's makers ask for an answer with reasoning, at the end of a user message; None if
            they do not.
    """

    first: str
    second: str | None = None
    system: str | None = None
    answer_format: str | None = None

    @property
    def first_message(self) -> str:
        """The user message of the first pass."""
        return _paragraphs(self.first, self.answer_format)

    def second_message(self, caption: str) -> str:
        """Returns the user message of the second pass."""
        return _paragraphs(self.second, caption, self.answer_format)

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that a model is told of any window.

        >>> Prompts("What happens?", system="Be brief.").texts
        ('What happens?', 'Be brief.')
        """
        return tuple(filter(None, (self.first_message, self.second, self.system)))

    @property
    def num_characters(self) -> int:
        """Length of the longest request, without the first caption.

        >>> Prompts("What happens?", system="Be brief.").num_characters
        22
        """
        return len(self.system or "") + max(len(self.first_message), len(self.second or ""))


def _paragraphs(*parts: str | None) -> str:
    return "\n\n".join(part for part in parts if part)
