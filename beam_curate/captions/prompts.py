"""What a model is asked, and the caption in what it answers."""

from __future__ import annotations

from beam_curate.models.catalog import CAPTIONERS, Model, by_name
from beam_curate.options.captions import CaptionOptions

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
"""By the value of ``--captioning-prompt-variant``."""

REFINE = (
    "Below is a description of this video. Improve it: correct what is wrong, add important visual details that are "
    "missing, and say everything clearly and precisely. Answer with the improved description alone, in "
    "English."
)
"""Of the second pass; the first caption follows it."""


def system_prompt(options: CaptionOptions) -> str | None:
    """Returns what the model's makers tell it in a system message; None where they leave that to the chat template."""
    model = _model(options)
    return model.system if model else None


def first_prompt(options: CaptionOptions) -> str:
    """Returns what the model is asked of each window; a user's own words stay as they are."""
    prompt = options.captioning_prompt_text or VARIANTS[options.captioning_prompt_variant]
    ending = answer_format(options)
    return f"{prompt}\n\n{ending}" if ending else prompt


def second_prompt(options: CaptionOptions) -> str | None:
    """Returns what a second pass asks, to be followed by the first caption, or None without one."""
    if not options.qwen_stage2_caption:
        return None
    return options.qwen_stage2_prompt_text or REFINE


def answer_format(options: CaptionOptions) -> str | None:
    """Returns how the model's makers ask for an answer with reasoning, at the end of a prompt; None if they do not."""
    model = _model(options)
    return model.answer_format if model else None


def with_caption(prompt: str, caption: str, ending: str | None = None) -> str:
    """Returns the question of the second pass, which ends with the form of the answer."""
    return "\n\n".join(part for part in (prompt, caption, ending) if part)


def printable(text: str) -> str:
    """Returns a text without control characters other than line breaks and tabs."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(letter for letter in lines if letter in "\n\t" or not _is_control(letter))


def _is_control(letter: str) -> bool:
    return letter < " " or "\x7f" <= letter <= "\x9f"


def _model(options: CaptionOptions) -> Model | None:
    name = CAPTIONERS.get(options.captioning_algorithm)
    return by_name(name) if name else None
