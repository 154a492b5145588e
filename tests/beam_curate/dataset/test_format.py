"""The rules for items that the run and verify share."""

from __future__ import annotations

from pathlib import Path

import av
import decord
import numpy as np
import pytest
from tokenizers import normalizers

from beam_curate.dataset.format import (
    MAX_UNREADABLE,
    as_encoded,
    as_tokenized,
    caption_fault,
    language_fault,
    repeated,
    size_fault,
)
from beam_curate.dataset.stage import left_out
from beam_curate.dataset.verify.faults import Item
from beam_curate.dataset.verify.pairs import Pair, check_pairs
from beam_curate.elements import Caption, StoredFile, TextEmbedding, Window
from beam_curate.text_embeddings import t5
from tests.support import tiny_models

ITEM = Item(Path("/data"), "a", frozenset())
EMBEDDING = TextEmbedding(StoredFile("x.pickle", 1, "0"), 3, False)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> t5.T5Encoder:
    folder = tmp_path_factory.mktemp("t5")
    tiny_models.make_t5(folder)
    return t5._load_folder(folder, "cpu", "float32")


# Judged by hand: is the caption readable without the unknown characters?
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
def test_captions_that_t5_cannot_read_are_found(encoder: t5.T5Encoder, text: str, readable: bool) -> None:
    (tokens,) = encoder.tokenize([text])
    assert (tokens.unreadable <= MAX_UNREADABLE) == readable, tokens.unreadable
    assert (language_fault(tokens.unreadable) is None) == readable


def test_a_byte_tokenizer_reads_everything() -> None:
    encoder = t5._load_random("cpu")
    assert [tokens.unreadable for tokens in encoder.tokenize([text for text, _ in CAPTIONS])] == [0.0] * len(CAPTIONS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A sign says 停.", "A sign says 走。".replace("。", ".")),
        ("一辆汽车", "一只狗"),
        ("A box {", "A box }"),
        ("~", "^"),
        ("a\u200bb", "a b"),
        ("\ufeffA car.\u200e", "A car."),
        ("a \x07car", "a car"),
        ("ﬁne weather", "fine  weather"),  # a ligature, which NFKC decomposes
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
def test_captions_that_may_not_share_an_embedding(one: str, other: str) -> None:
    assert as_encoded(one) != as_encoded(other)
    embedding = np.ones((3, 1024), np.float16)
    faults = list(check_pairs([Pair.of(ITEM, one, embedding), Pair.of(ITEM, other, embedding)]))
    assert [fault.rule for fault in faults] == ["shared_embedding"] * 2


def encoded(path: Path, width: int, height: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"preset": "ultrafast", "threads": "1"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(width, height, "yuv420p")))
        container.mux(stream.encode())
    return path


WIDTHS = [*range(2, 150, 2), 192, 256, 288, 384, 3840]


@pytest.mark.parametrize("height", [2, 66])
def test_the_sizes_left_out_are_those_that_the_trainers_reader_cannot_read(tmp_path: Path, height: int) -> None:
    refused = []
    for width in WIDTHS:
        reader = decord.VideoReader(str(encoded(tmp_path / f"{width}.mp4", width, height)), ctx=decord.cpu(0))
        try:
            assert reader.get_batch([0, 2]).asnumpy().shape == (2, height, width, 3)
        except decord.DECORDError:
            refused.append(width)
    assert refused and max(refused) < 100
    assert [width for width in WIDTHS if size_fault(width, height)] == refused


@pytest.mark.parametrize(("width", "height"), [(48, 480), (72, 72), (16, 3840), (16000, 16000), (3840, 16), (64, 64)])
def test_a_size_that_the_trainer_cannot_read_is_left_out(width: int, height: int) -> None:
    window = Window(0, 99, Caption("describe", "A ball.", "success"), EMBEDDING)
    reason = left_out(window, 94, (width, height))
    assert (reason is None) == ((width, height) in [(3840, 16), (64, 64)])
    if reason:
        assert f"{width} pixels wide" in reason or f"{width}x{height}" in reason


# Without newer letters, which the other implementation does not know, and without the zero-width joiner, which
# SentencePiece keeps and the other implementation replaces with a space.
_CODE_POINTS = [number for number in range(1, 0xA700) if number not in (0x200D, 0x32FF)] + [0xFEFF, 0xFFFD, 0xFF21]


def test_captions_are_normalized_as_sentencepiece_does() -> None:
    other = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    differing = [
        hex(number)
        for number in _CODE_POINTS
        if as_tokenized(f"a{chr(number)}b")
        != " ".join(part for part in other.normalize_str(f"a{chr(number)}b").split(" ") if part)
    ]
    assert not differing


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({}, 0),
        ({"a": 1}, 0),
        ({"a": 2}, 0),
        ({"a": 3}, 3),
        ({"a": 3, **{str(i): 1 for i in range(26)}}, 3),
        ({"a": 3, **{str(i): 1 for i in range(27)}}, 0),  # a tenth
        ({"a": 2, "b": 5, "c": 4}, 5),
    ],
)
def test_one_caption_of_many_items_is_counted(counts: dict[str, int], told: int) -> None:
    assert repeated(counts) == told


@pytest.mark.parametrize(
    ("caption", "fault"),
    [
        ("A ball.", None),
        ("a" * 2**20, None),
        ("a" * (2**20 + 1), "bytes"),
        ("ö" * (2**19 + 1), "bytes"),
        ("", "empty"),
        ("\u200b \u2028\x07\ufeff", "empty"),
        ("half a \ud83d", "surrogates"),
    ],
)
def test_invalid_captions_are_found(caption: str, fault: str | None) -> None:
    found = caption_fault(caption)
    assert (found is None) == (fault is None) and (fault or "") in (found or "")
