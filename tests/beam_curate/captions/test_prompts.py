"""What a model is told in each pass."""

from __future__ import annotations

from beam_curate.captions.prompts import REFINE, VARIANTS, Prompts

OWN = 'Say "what" {happens} in {0} %s \\n\n— line two 🚗 <b>'


def test_each_variant_is_about_another_camera() -> None:
    assert len(set(VARIANTS.values())) == 3
    assert "car" in VARIANTS["av"] and "fixed camera" in VARIANTS["av-surveillance"]


def test_every_prompt_of_ours_asks_for_english() -> None:
    """T5 has no tokens for most other scripts."""
    for text in (*VARIANTS.values(), REFINE):
        assert "English" in text


def test_prompts_and_captions_pass_through_untouched() -> None:
    prompts = Prompts(OWN, second=OWN)
    assert prompts.first_message == OWN
    assert prompts.second_message("A {car}.") == f"{OWN}\n\nA {{car}}."


def test_the_format_of_an_answer_is_asked_for_at_the_end_of_each_message() -> None:
    prompts = Prompts(OWN, "Better!", answer_format="Think.")
    assert prompts.first_message == f"{OWN}\n\nThink."
    assert prompts.second_message("A {car}.") == "Better!\n\nA {car}.\n\nThink."
