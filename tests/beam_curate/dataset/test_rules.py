"""What the run publishes, verify accepts: both follow one table of rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_models

from beam_curate.dataset.check_pairs import Pair, check_pairs
from beam_curate.dataset.faults import Item
from beam_curate.dataset.rules import MOST_UNREADABLE, as_encoded, language_fault, size_fault
from beam_curate.dataset.windows import left_out
from beam_curate.elements import Caption, StoredFile, TextEmbedding, Window
from beam_curate.models import t5

ITEM = Item(Path("/data"), "a", frozenset())
EMBEDDING = TextEmbedding(StoredFile("x.pickle", 1, "0"), 3, False)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> t5.T5Encoder:
    folder = tmp_path_factory.mktemp("t5")
    tiny_models.make_t5(folder)
    return t5._load_folder(folder, "cpu", "float32")


# Written by hand: what a reader of English would lose of each with the unknown characters gone.
CAPTIONS = [
    ("A red car drives down a wet road in the rain.", True),
    ("a ball rolls", True),
    ("一辆红色的汽车在雨中行驶。", False),
    ("赤い車が雨の中を走っている。", False),
    ("빨간 자동차가 비 속을 달린다.", False),
    ("Красная машина едет под дождём.", False),
    ("سيارة حمراء تسير تحت المطر", False),
    ("बारिश में एक लाल कार चलती है", False),
    ("🚗🚗🌧️🚗🚗🌧️🚗", False),
    ("A red car drives past a shop with the sign 停 in the rain.", True),
    ("汽车 car 汽车在雨中行驶", False),
]


@pytest.mark.parametrize(("text", "readable"), CAPTIONS)
def test_captions_that_t5_cannot_read_are_known(encoder: t5.T5Encoder, text: str, readable: bool) -> None:
    (tokens,) = encoder.tokenize([text])
    assert (tokens.unreadable <= MOST_UNREADABLE) == readable, tokens.unreadable
    assert (language_fault(tokens.unreadable) is None) == readable


def test_a_tokenizer_of_bytes_reads_everything() -> None:
    encoder = t5._load_random("cpu")
    assert [tokens.unreadable for tokens in encoder.tokenize([text for text, _ in CAPTIONS])] == [0.0] * len(CAPTIONS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A sign says 停.", "A sign says 走。".replace("。", ".")),
        ("一辆汽车", "一只狗"),
        ("A box {", "A box }"),
        ("~", "^"),
        ("ﬁne weather", "fine  weather"),  # a ligature, which NFKC takes apart
    ],
)
def test_captions_that_may_share_an_embedding(one: str, other: str) -> None:
    assert as_encoded(one) == as_encoded(other)
    embedding = np.ones((3, 1024), np.float16)
    assert not list(check_pairs([Pair.of(ITEM, one, embedding), Pair.of(ITEM, other, embedding)]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A red car.", "A blue car."),
        ("Über", "Uber"),
        ("a 停 b", "b 停 a"),
        ("Straße", "Strasse"),
        ("3 cars", "4 cars"),
    ],
)
def test_captions_that_may_not(one: str, other: str) -> None:
    assert as_encoded(one) != as_encoded(other)
    embedding = np.ones((3, 1024), np.float16)
    faults = list(check_pairs([Pair.of(ITEM, one, embedding), Pair.of(ITEM, other, embedding)]))
    assert [fault.rule for fault in faults] == ["shared_embedding"] * 2


SIZES = [
    (2, 64),
    (16, 3840),
    (24, 64),
    (48, 480),
    (62, 62),
    (64, 2),
    (66, 66),
    (3840, 16),
    (8192, 4320),
    (16000, 16000),
]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_sizes_that_the_trainer_cannot_read_are_left_out(width: int, height: int) -> None:
    window = Window(0, 99, Caption("describe", "A ball.", "success"), EMBEDDING)
    reason = left_out(window, 94, (width, height))
    assert (reason is None) == (64 <= width < 16000) == (size_fault(width, height) is None)
    if reason:
        assert f"{width} pixels wide" in reason or f"{width}x{height}" in reason
