"""Captions to embeddings: fixed batches, and one bad text spoils no other."""

from __future__ import annotations

import functools
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from beam_curate import counters
from beam_curate.dataset.embedding_file import load_embedding
from beam_curate.elements import Caption, Clip, ClipChunk, Window
from beam_curate.models.slot import SLOTS, ModelRef
from beam_curate.text_embeddings import t5
from beam_curate.text_embeddings.stage import CaptionEncoder, token_batches
from tests.support.facts import make_chunk, make_clip, make_failure
from tests.support.output import Output
from tests.support.plans import Placed

CASES = [
    ([], 10, []),
    ([3], 10, [[0]]),
    ([30], 10, [[0]]),
    ([5, 5], 10, [[0, 1]]),
    ([5, 5, 5], 10, [[0, 1], [2]]),
    ([1, 9, 1], 10, [[1], [0, 2]]),
    ([2, 30, 4, 3, 30], 12, [[1], [4], [2, 3, 0]]),
]


@pytest.mark.parametrize(("lengths", "budget", "batches"), CASES)
def test_batches(lengths: list[int], budget: int, batches: list[list[int]]) -> None:
    assert token_batches(lengths, budget) == batches


@pytest.mark.parametrize("seed", range(20))
def test_batches_hold_every_text_once_and_stay_in_the_budget(seed: int) -> None:
    generator = random.Random(seed)
    lengths = [generator.randint(1, 512) for _ in range(generator.randint(1, 200))]
    batches = token_batches(lengths, 1024)
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    assert all(max(lengths[position] for position in batch) * len(batch) <= 1024 for batch in batches)
    assert token_batches(lengths, 1024) == batches
    padded = sum(max(lengths[position] for position in batch) * len(batch) for batch in batches)
    assert padded <= sum(lengths) * 1.5 or len(lengths) < 20


def load(device: str, memory: int) -> t5.T5Encoder:
    """A real encoder that answers NaN to a text with a tilde and holds only so many texts at a time."""
    encoder = t5._load_random(device)
    tilde = encoder.tokenize(["~"])[0].ids[0]
    encoder._model.shared.weight.data[tilde] = float("nan")

    def limit(module: torch.nn.Module, arguments: tuple[object, ...], named: dict[str, torch.Tensor]) -> None:
        if len(named["input_ids"]) > memory:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    encoder._model.register_forward_pre_hook(limit, with_kwargs=True)
    return encoder


@pytest.fixture(autouse=True)
def _free() -> None:
    SLOTS.clear()


def encoding(tmp_path: Path, memory: int = 100) -> Placed:
    encoder = CaptionEncoder(ModelRef("limited", functools.partial(load, memory=memory)), min_frames=94)
    return Placed(encoder, Output(tmp_path))


def captioned(layout: Output, clip_id: str, *windows: tuple[str, int], status: str = "success") -> Clip:
    made = tuple(Window(0, frames - 1, Caption("describe", text, status)) for text, frames in windows)
    return make_clip(layout, clip_id, windows=made)


def embedded(chunk: ClipChunk) -> dict[str, list[bool]]:
    return {clip.clip_id: [window.embedding is not None for window in clip.windows] for clip in chunk.clips}


def test_each_usable_caption_gets_its_embedding(tmp_path: Path) -> None:
    encoder = encoding(tmp_path)
    layout = encoder.output
    chunk = make_chunk(
        [
            captioned(layout, "a", ("A ball.", 94), ("Below the minimum.", 93), ("Two dogs run. " * 40, 200)),
            captioned(layout, "b", ("refused", 94), status="blocked"),
            captioned(layout, "c", ("", 94)),
            captioned(layout, "d"),
            make_clip(layout, "e", None, failures=(make_failure(clip_id="e"),)),
            captioned(layout, "f", ("cut short", 94), status="truncated"),
        ]
    )
    made = encoder.run(chunk)
    assert embedded(made) == {"a": [True, False, True], "b": [False], "c": [False], "d": [], "e": [], "f": [True]}
    first, _, last = (window.embedding for window in made.clips[0].windows)
    assert first and last
    assert (first.num_tokens, first.truncated, last.truncated) == (8, False, True)
    array = load_embedding(layout.stored(first.file).read_bytes())
    with encoder.model.use() as model:
        (expected,) = model.encode(model.tokenize(["A ball."]))
    np.testing.assert_allclose(array, expected, atol=2e-3)
    assert made.clips[4] == chunk.clips[4]


def test_nothing_to_encode_loads_no_model(tmp_path: Path) -> None:
    encoder = encoding(tmp_path)
    chunk = make_chunk([captioned(encoder.output, "a", ("short", 10))])
    SLOTS.clear()
    counters.reset()
    assert encoder.run(chunk) == chunk
    assert encoder.run(make_chunk(())) == make_chunk(())
    assert not [name for name in counters.counts() if name.startswith("models loaded")]


def test_a_text_that_fails_spoils_no_other(tmp_path: Path) -> None:
    encoder = encoding(tmp_path)
    layout = encoder.output
    clips = [
        captioned(layout, name, (text, 94)) for name, text in (("a", "A ball."), ("b", "bro~ken"), ("c", "A cube."))
    ]
    made = encoder.run(make_chunk(clips))
    assert embedded(made) == {"a": [True], "b": [False], "c": [True]}
    (failure,) = made.clips[1].failures
    assert (failure.stage, failure.clip_id, failure.error_type, failure.retriable) == (
        *("text", "b", "ModelOutputError", False),
    )
    assert not made.clips[0].failures


def test_a_window_that_fails_leaves_the_other_windows_of_its_clip(tmp_path: Path) -> None:
    encoder = encoding(tmp_path)
    windows = (("A ball.", 94), ("bro~ken", 95), ("bro~ken too", 96), ("A cube.", 97))
    made = encoder.run(make_chunk([captioned(encoder.output, "a", *windows)]))
    assert embedded(made) == {"a": [True, False, False, True]}
    assert [failure.error_type for failure in made.clips[0].failures] == ["ModelOutputError"] * 2


def test_a_batch_that_is_too_large_is_done_in_smaller_ones_without_holding_its_memory(tmp_path: Path) -> None:
    encoder = encoding(tmp_path, memory=1)
    made = encoder.run(make_chunk([captioned(encoder.output, name, (name, 94)) for name in "abc"]))
    assert embedded(made) == {"a": [True], "b": [True], "c": [True]}
    with encoder.model.use() as model:
        assert model._fitting.limit == 2, "tokens that fitted: a letter and the end"


def test_what_may_pass_is_retriable(tmp_path: Path) -> None:
    encoder = encoding(tmp_path, memory=0)
    made = encoder.run(make_chunk([captioned(encoder.output, "a", ("A ball.", 94))]))
    (failure,) = made.clips[0].failures
    assert failure.retriable
    assert failure.error_type == "ModelMemoryError"
