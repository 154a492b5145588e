"""Which prompts the options name."""

from __future__ import annotations

from typing import Any

import pytest

from beam_curate.captions.prompts import REFINE, VARIANTS
from beam_curate.options.captions import CaptionOptions
from beam_curate.plan.captions import prompts_of

OWN = 'Say "what" {happens} in {0} %s \\n\n— line two 🚗 <b>'


def options(algorithm: str, **others: Any) -> CaptionOptions:
    return CaptionOptions(captioning_algorithm=algorithm, **{"captioning_prompt_text": OWN} | others)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_a_prompt(variant: str) -> None:
    assert prompts_of(CaptionOptions(captioning_prompt_variant=variant)).first_message == VARIANTS[variant]


@pytest.mark.parametrize("algorithm", ["qwen", "qwen3_vl_30b", "qwen3_vl_30b_fp8", "openai"])
def test_most_models_are_told_a_users_own_words_and_nothing_else(algorithm: str) -> None:
    assert prompts_of(options(algorithm)).texts == (OWN,)


def test_cosmos_reason1_is_told_how_to_answer_in_the_system_message() -> None:
    """As in README.md of nvidia-cosmos/cosmos-reason1."""
    prompts = prompts_of(options("cosmos_r1", qwen_stage2_caption=True))
    assert prompts.system == (
        "You are a helpful assistant. Answer the question in the following format: <think>\nyour reasoning\n</think>"
        "\n\n<answer>\nyour answer\n</answer>."
    )
    assert prompts.first_message == OWN
    assert prompts.second_message("A {car}.") == f"{REFINE}\n\nA {{car}}."


def test_cosmos_reason2_is_told_how_to_answer_after_the_prompt() -> None:
    """As in cosmos_reason2_utils/text.py and script/inference.py of nvidia-cosmos/cosmos-reason2."""
    answer_format = (
        "Answer the question using the following format:\n\n<think>\nYour reasoning.\n</think>\n\n"
        "Write your final answer immediately after the </think> tag."
    )
    prompts = prompts_of(options("cosmos_r2", qwen_stage2_caption=True))
    assert prompts.system == "You are a helpful assistant."
    assert prompts.first_message == f"{OWN}\n\n{answer_format}"
    assert prompts.second_message("A {car}.") == f"{REFINE}\n\nA {{car}}.\n\n{answer_format}"


def test_there_is_a_second_pass_only_where_it_is_asked_for() -> None:
    assert prompts_of(options("qwen")).second is None
    assert prompts_of(options("qwen", qwen_stage2_caption=True)).second == REFINE
    own = options("qwen", qwen_stage2_caption=True, qwen_stage2_prompt_text="Better!")
    assert prompts_of(own).second == "Better!"
