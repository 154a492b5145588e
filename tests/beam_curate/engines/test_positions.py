"""Positions of tokens in Qwen's rotary embedding, against values worked out by hand from the makers' papers.

Text stands at one position for time, height and width; a token of a video at its grid's time, its row and its column,
all counted from where the video begins; what follows begins one after the largest position before it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from beam_curate.engines.base import Request, SamplingParams
from beam_curate.engines.positions import temporal_positions, video_positions
from beam_curate.engines.transformers_engine import TransformersEngine, load_folder
from tests.support.one_thread import one_thread
from tests.support.tiny_models import make_qwen2_5_vl, make_qwen3_vl

TOKENS_PER_SECOND = 2  # in the config.json of each Qwen2.5-VL, and of Cosmos-Reason1
SIZES = [(1, 1), (2, 3), (5, 2), (12, 12)]  # tokens a side
SAMPLED = [
    (number, rate)
    for number in (2, 4, 7, 52, 128)
    for rate in (Fraction(1, 4), Fraction(1), Fraction(2), Fraction(4), Fraction(10), Fraction(94, 47), Fraction(60))
]


def by_hand(before: int, after: int, times: list[int], height: int, width: int) -> list[tuple[int, int, int]]:
    """The positions of text, a video and text, in plain Python."""
    found = [(index, index, index) for index in range(before)]
    found += [(before + t, before + y, before + x) for t in times for y in range(height) for x in range(width)]
    end = before + max(max(times), height - 1, width - 1) + 1
    return found + [(end + index,) * 3 for index in range(after)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("number", "rate"), SAMPLED)
def test_text_follows_the_largest_position_of_a_video(number: int, rate: Fraction, height: int, width: int) -> None:
    grids = math.ceil(number / 2)
    times = [math.floor(index * 2 / rate * TOKENS_PER_SECOND) for index in range(grids)]
    types = [0] * 6 + [2] * (grids * height * width) + [0] * 9
    seconds = np.arange(grids) * 2 / float(rate)
    found = video_positions(types, (grids, 2 * height, 2 * width), 2, temporal_positions(seconds, TOKENS_PER_SECOND))
    assert list(zip(*found.tolist(), strict=True)) == by_hand(6, 9, times, height, width)


def test_the_video_of_a_robot_is_longer_in_time_than_in_space() -> None:
    """256 frames of 256x256 at 10 frames/s, 52 of them seen as 12x12 tokens: two positions for each of 24.6 s."""
    grids, rate = 26, Fraction(52 * 10, 256)
    assert math.floor(25 * 2 / rate * 2) == 49
    seconds = np.arange(grids) * 2 / float(rate)
    found = video_positions([0] * 6 + [2] * (grids * 144) + [0] * 4, (26, 24, 24), 2, temporal_positions(seconds, 2))
    assert found[:, : 6 + grids * 144].max() == 55
    assert found[:, -4:].tolist() == [[56, 57, 58, 59]] * 3


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("grids", [1, 2, 5, 40])
def test_grids_with_their_time_in_words_stand_one_after_the_other(grids: int, height: int, width: int) -> None:
    """As in Qwen3-VL: time is in the text, and each grid is at the time of its first token."""
    types, expected, begin = [0] * 3, [(index,) * 3 for index in range(3)], 3
    for words in range(4, 4 + grids):
        types += [0] * words + [2] * (height * width)
        expected += [(begin + index,) * 3 for index in range(words)]
        begin += words
        expected += [(begin, begin + y, begin + x) for y in range(height) for x in range(width)]
        begin += max(height, width)
    found = video_positions([*types, 0], (grids, 2 * height, 2 * width), 2, np.arange(grids))
    assert list(zip(*found.tolist(), strict=True)) == [*expected, (begin,) * 3]


def test_a_grid_that_is_not_the_prompts_is_an_error() -> None:
    for grid in ((2, 4, 4), (3, 4, 6), (1, 2, 2)):
        with pytest.raises(ValueError, match="whose grid is"):
            video_positions([0] * 3 + [2] * 12 + [0], grid, 2, np.arange(grid[0]))


def test_a_multiple_of_a_step_is_not_rounded_below_itself() -> None:
    for rate, index in itertools.product((3, 5, 7, 10, 24, 60), range(400)):
        (found,) = temporal_positions(np.array([index * 2 / rate]), 2)
        assert found == 4 * index // rate


# The whole engine: what reaches the language model, while it reads a prompt and while it writes.


@pytest.fixture(scope="module", params=[make_qwen2_5_vl, make_qwen3_vl])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersEngine]:
    with one_thread():
        yield load_folder(request.param(tmp_path_factory.mktemp("model"), seed=1), "cpu", "float32")


def make_request(
    engine: TransformersEngine, frames: int, rate: float, side: int, prompt: str = "What happens?"
) -> Request:
    patch = 28 if "Qwen2_5" in type(engine._model).__name__ else 32
    pictures = np.full((frames, side * patch, side * patch, 3), 90, np.uint8)
    return Request(prompt, pictures, rate, 0, round(frames / rate * 10) - 1)


def seen_positions(engine: TransformersEngine, requests: list[Request], words: int) -> list[torch.Tensor]:
    """The positions, [4, num_questions, num_tokens], that the language model is given, one pass after the other."""
    passes: list[torch.Tensor] = []

    def look(module: Any, arguments: Any, named: dict[str, Any]) -> None:
        passes.append(named["position_ids"].clone())

    with engine._model.model.language_model.register_forward_pre_hook(look, with_kwargs=True):
        engine.generate(requests, SamplingParams(words, min_tokens=words))
    return passes


def expected_positions(engine: TransformersEngine, asked: Request) -> list[tuple[int, int, int]]:
    """By hand from the tokens of the prompt."""
    inputs = engine._inputs(asked)
    tokens = inputs["input_ids"][0].tolist()
    visual = engine._model.config.video_token_id
    side = asked.frames.shape[1] // (28 if "second_per_grid_ts" in inputs else 32)
    grids = math.ceil(len(asked.frames) / 2)
    if "second_per_grid_ts" in inputs:
        first = tokens.index(visual)
        step = Fraction(2) / Fraction(asked.frame_rate).limit_denominator(1000)
        times = [math.floor(index * step * TOKENS_PER_SECOND) for index in range(grids)]
        return by_hand(first, len(tokens) - first - grids * side * side, times, side, side)
    found: list[tuple[int, int, int]] = []
    begin, position = 0, 0
    while position < len(tokens):
        if tokens[position] == visual:
            found += [(begin, begin + y, begin + x) for y in range(side) for x in range(side)]
            begin, position = begin + side, position + side * side
        else:
            found.append((begin,) * 3)
            begin, position = begin + 1, position + 1
    return found


@pytest.mark.parametrize(
    ("frames", "rate", "side"), [(4, 2.0, 2), (12, 0.5, 1), (16, 1.25, 2), (20, 4.0, 3), (5, 0.2, 1)]
)
def test_positions_reach_the_model_and_go_on_with_what_it_writes(
    engine: TransformersEngine, frames: int, rate: float, side: int
) -> None:
    asked = make_request(engine, frames, rate, side)
    expected = expected_positions(engine, asked)
    read, *written = seen_positions(engine, [asked], 5)
    assert list(zip(*read[1:, 0].tolist(), strict=True)) == expected
    assert read[0, 0].tolist() == list(range(len(expected)))
    assert len(written) == 4
    for number, one in enumerate(written, 1):
        assert one[:, 0, 0].tolist() == [len(expected) - 1 + number] + [expected[-1][0] + number] * 3


def test_positions_of_a_batch_are_those_of_each_alone(engine: TransformersEngine) -> None:
    batch = [make_request(engine, 16, 0.5, 1), make_request(engine, 4, 2.0, 3, "And in this rather longer question?")]
    read, *written = seen_positions(engine, batch, 3)
    for row, asked in enumerate(batch):
        expected = expected_positions(engine, asked)
        assert list(zip(*read[1:, row, -len(expected) :].tolist(), strict=True)) == expected
        assert [one[1:, row, 0].tolist() for one in written] == [[expected[-1][0] + n] * 3 for n in (1, 2)]


@pytest.mark.parametrize(("frames", "rate", "side"), [(4, 2.0, 4), (8, 4.0, 5), (2, 0.5, 3), (6, 3.0, 6)])
def test_positions_are_those_of_the_installed_model_where_a_video_is_short(
    engine: TransformersEngine, frames: int, rate: float, side: int
) -> None:
    """It begins what follows a video after the longer side of a frame, which is right while time is not longer."""
    inputs = engine._inputs(make_request(engine, frames, rate, side))
    named = {name: inputs[name] for name in ("input_ids", "mm_token_type_ids", "video_grid_thw", "attention_mask")}
    named |= {name: inputs[name] for name in ("second_per_grid_ts",) if name in inputs}
    expected, _ = engine._model.model.get_rope_index(**named)
    assert inputs["position_ids"][1:].tolist() == expected.tolist()
