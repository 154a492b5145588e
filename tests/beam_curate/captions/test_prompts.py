"""What is asked, and which part of an answer is the caption."""

from __future__ import annotations

import pytest

from beam_curate.captions import prompts
from beam_curate.captions.prompts import first_prompt, printable, second_prompt, system_prompt
from beam_curate.options.captions import CaptionOptions

OWN = 'Say "what" {happens} in {0} %s \\n\n— line two 🚗 <b>'


def test_each_variant_asks_something_else() -> None:
    asked = [first_prompt(CaptionOptions(captioning_prompt_variant=variant)) for variant in prompts.VARIANTS]
    assert len(set(asked)) == 3
    assert "car" in asked[1] and "fixed camera" in asked[2]


def test_every_prompt_of_ours_asks_for_english() -> None:
    """T5 has no tokens for most other scripts."""
    for text in (*prompts.VARIANTS.values(), prompts.REFINE):
        assert "English" in text


def test_a_users_own_words_pass_through_untouched() -> None:
    assert first_prompt(CaptionOptions(captioning_algorithm="qwen", captioning_prompt_text=OWN)) == OWN
    assert first_prompt(CaptionOptions(captioning_algorithm="cosmos_r1", captioning_prompt_text=OWN)) == OWN
    reasoning = first_prompt(CaptionOptions(captioning_algorithm="cosmos_r2", captioning_prompt_text=OWN))
    assert reasoning.startswith(f"{OWN}\n\n")
    options = CaptionOptions(captioning_algorithm="qwen", qwen_stage2_caption=True, qwen_stage2_prompt_text=OWN)
    second = second_prompt(options)
    assert second == OWN
    assert prompts.with_caption(OWN, "A {car}.") == f"{OWN}\n\nA {{car}}."


def test_cosmos_reason1_is_told_how_to_answer_in_the_system_message() -> None:
    """As in README.md of nvidia-cosmos/cosmos-reason1."""
    options = CaptionOptions(captioning_algorithm="cosmos_r1", captioning_prompt_text=OWN, qwen_stage2_caption=True)
    assert system_prompt(options) == (
        "You are a helpful assistant. Answer the question in the following format: <think>\nyour reasoning\n</think>"
        "\n\n<answer>\nyour answer\n</answer>."
    )
    assert first_prompt(options) == OWN
    assert prompts.answer_format(options) is None


def test_cosmos_reason2_is_told_how_to_answer_after_the_prompt() -> None:
    """As in cosmos_reason2_utils/text.py and script/inference.py of nvidia-cosmos/cosmos-reason2."""
    form = (
        "Answer the question using the following format:\n\n<think>\nYour reasoning.\n</think>\n\n"
        "Write your final answer immediately after the </think> tag."
    )
    options = CaptionOptions(captioning_algorithm="cosmos_r2", captioning_prompt_text=OWN, qwen_stage2_caption=True)
    assert system_prompt(options) == "You are a helpful assistant."
    assert first_prompt(options) == f"{OWN}\n\n{form}"
    second = prompts.with_caption(second_prompt(options) or "", "A {car}.", prompts.answer_format(options))
    assert second == f"{prompts.REFINE}\n\nA {{car}}.\n\n{form}"


@pytest.mark.parametrize("algorithm", ["qwen", "qwen3_vl_30b", "qwen3_vl_30b_fp8", "openai"])
def test_others_have_what_their_chat_template_says(algorithm: str) -> None:
    options = CaptionOptions(captioning_algorithm=algorithm, captioning_prompt_text=OWN)
    assert (system_prompt(options), first_prompt(options), prompts.answer_format(options)) == (None, OWN, None)


def test_there_is_no_second_question_unless_it_is_asked_for() -> None:
    assert second_prompt(CaptionOptions(captioning_algorithm="qwen")) is None


def test_control_characters_are_left_out() -> None:
    assert printable("A\x00 car\x07\x1b[1m\x7f turns\r\nleft\tnow\x85.") == "A car[1m turns\nleft\tnow."
