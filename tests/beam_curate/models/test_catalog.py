"""The catalog of models, and which of them a run needs."""

from __future__ import annotations

import re

import pytest

from beam_curate.models.catalog import BYTES_PER_PARAMETER, CAPTIONERS, MODELS, ON_REQUEST, T5_XXL, by_name
from beam_curate.options.captions import CaptionOptions
from beam_curate.options.flags import flags_of


def test_every_captioner_that_the_flags_know_has_a_model() -> None:
    (flag,) = [flag for flag in flags_of(CaptionOptions) if flag.name == "captioning_algorithm"]
    assert set(flag.choices) - {"describe", "openai"} == set(CAPTIONERS)


def test_every_row_is_one_model_at_one_commit() -> None:
    assert len({model.name for model in MODELS}) == len({model.model_id for model in MODELS}) == len(MODELS)
    assert len({model.revision for model in MODELS}) == len(MODELS)
    for model in MODELS:
        assert re.fullmatch(r"[0-9a-f]{40}", model.revision)
        assert model.precision in BYTES_PER_PARAMETER
        assert model.weights
        assert not [name for name in model.required if "*" in name]
    assert all(by_name(name) for name in ON_REQUEST)
    with pytest.raises(KeyError):
        by_name("no such model")


def test_memory_is_parameters_times_their_bytes_plus_activations() -> None:
    for model in MODELS:
        own = model.parameters * BYTES_PER_PARAMETER[model.precision]
        assert own < model.memory_gb() == pytest.approx(own + model.activations_gb)
    assert T5_XXL.memory_gb() - T5_XXL.memory_gb("bfloat16") == pytest.approx(2 * T5_XXL.parameters)
    heads, width, inner = 128 * 128, 1024, 65536  # of T5-11B's encoder, which has 24 layers and 32,128 pieces
    expected = 24 * (4 * width * heads + 2 * width * inner) + 32128 * width
    assert T5_XXL.parameters == pytest.approx(expected / 1e9, rel=1e-3)
