"""Embedding files: files that are written load anywhere, and no others are loaded."""

import collections
import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from beam_curate.dataset.embedding_file import dump_embedding, load_embedding
from beam_curate.errors import CurateError, EmbeddingFileError


def embedding(num_tokens=7, seed=0):
    return np.random.default_rng(seed).normal(0, 0.15, (num_tokens, 1024)).astype(np.float16)


def with_zero_row():
    array = embedding()
    array[3] = 0
    return array


def with_value(value):
    array = embedding()
    array[2, 5] = value
    return array


@pytest.mark.parametrize("num_tokens", [1, 2, 511, 512])
def test_round_trip(num_tokens):
    array = embedding(num_tokens)
    loaded = load_embedding(dump_embedding(array))
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == np.float16 and loaded.flags.c_contiguous


def test_the_file_is_what_the_trainer_reads():
    data = dump_embedding(np.asfortranarray(embedding()))
    content = pickle.loads(data)
    assert type(content) is list and len(content) == 1 and type(content[0]) is np.ndarray
    assert content[0].flags.c_contiguous
    assert next(pickletools.genops(data))[1] == 4


def test_same_values_give_the_same_bytes():
    array = embedding(9)
    wide = np.zeros((9, 2048), np.float16)
    wide[:, ::2] = array
    assert dump_embedding(wide[:, ::2]) == dump_embedding(array) == dump_embedding(array.copy())


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (embedding().astype(np.float32), "float32"),
        (embedding().astype(">f2"), ">f2"),
        (embedding().tolist(), "list"),
        (embedding()[0], "shape"),
        (embedding()[None], "shape"),
        (embedding()[:, :768], "768 wide"),
        (embedding(513), "513 rows"),
        (embedding()[:0], "0 rows"),
        (with_value(np.nan), "NaN"),
        (with_value(-np.inf), "infinite"),
        (with_zero_row(), "row 3"),
    ],
)
def test_invalid_embeddings_are_not_written(array, message):
    with pytest.raises(EmbeddingFileError, match=message):
        dump_embedding(array)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("num_tokens", [1, 30, 512])
def test_loads_every_protocol_that_the_trainer_can_read(protocol, num_tokens):
    array = embedding(num_tokens)
    np.testing.assert_array_equal(load_embedding(pickle.dumps([array], protocol=protocol)), array)


def test_loads_files_of_numpy_1():
    data = pickle.dumps([embedding()], protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    np.testing.assert_array_equal(load_embedding(data), embedding())


def test_a_changed_copy_of_a_loaded_array_can_be_written():
    array = load_embedding(dump_embedding(embedding()))
    array[0, 0] = 1
    assert load_embedding(dump_embedding(array))[0, 0] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (embedding(), "bare array"),
        ((embedding(),), "bare tuple"),
        ({"t5": embedding()}, "bare dict"),
        ([], "list of 0"),
        ([embedding(), embedding()], "list of 2"),
        ([embedding(3).tolist()], "list with a list"),
        ([None], "list with a NoneType"),
        ([np.zeros(4, np.int32)], "i4"),
        ([embedding().astype(np.float32)], "f4"),
        ([embedding().astype(">f2")], ">f2"),
        ([np.array([None, {}], dtype=object)], "O8"),
        ([embedding()[0]], "shape"),
        ([embedding()[None]], "shape"),
        ([np.ones((3, 4096), np.float16)], "4096 wide"),
        ([np.ones((513, 1024), np.float16)], "513 rows"),
        ([np.ones((0, 1024), np.float16)], "0 rows"),
        ([np.asfortranarray(embedding())], "C-contiguous"),
        ([with_value(np.nan)], "NaN"),
        ([with_value(np.inf)], "infinite"),
        ([with_zero_row()], "row 3"),
        ([np.pad(embedding(), ((0, 505), (0, 0)))], "rows of zeros: 505"),
        ([np.float16(1)], "scalar"),
        ([collections.OrderedDict()], "collections.OrderedDict"),
        ([Path("x")], "pathlib"),
        ([10**30], "number"),
        ([{1, 2}], "EMPTY_SET"),
    ],
)
def test_other_contents_are_rejected(content, message):
    with pytest.raises(EmbeddingFileError, match=message):
        load_embedding(pickle.dumps(content, protocol=4))


def test_protocol_5_is_rejected():
    with pytest.raises(EmbeddingFileError, match="protocol 5"):
        load_embedding(pickle.dumps([embedding()], protocol=5))


class Command:
    """Runs a shell command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_code_in_a_file_is_never_run(tmp_path, protocol):
    data = pickle.dumps([embedding(), Command(f"touch {tmp_path}/ran")], protocol=protocol)
    with pytest.raises(EmbeddingFileError):
        load_embedding(data)
    assert not (tmp_path / "ran").exists()
    pickle.loads(data)  # the attack is real
    assert (tmp_path / "ran").exists()


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"cos\nsystem\n(S'false'\ntR.", id="global"),
        pytest.param(b"(S'false'\nios\nsystem\n.", id="inst"),
        pytest.param(b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93.", id="stack global"),
        pytest.param(b"\x80\x04\x8c\x02os\x940\x8c\x06systemh\x00\x93.", id="stack global after pop"),
        pytest.param(b"\x80\x04\x8c\x05numpy(\x8c\x05dtypet\x93.", id="stack global of a tuple"),
        pytest.param(b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.", id="dotted name"),
        pytest.param(b"\x80\x02\x82\x01.", id="extension registry"),
        pytest.param(b"Pfile\n.", id="persistent id"),
        pytest.param(b"cbuiltins\neval\n.", id="eval"),
        pytest.param(b"cnumpy\nload\n.", id="another numpy name"),
        pytest.param(b"c_codecs\ndecode\n.", id="another codecs name"),
        pytest.param(b"(lp4294967295\n.", id="memo index of gigabytes"),
        pytest.param(b"(lr\xff\xff\xff\xff.", id="binary memo index of gigabytes"),
        pytest.param(b"(l(cnumpy\nndarray\n(I1000000\nI1000000\ntR.", id="huge array"),
        pytest.param(b"(lcnumpy\nndarray\n((I1000000\nI1000000\nttRa.", id="huge array in a list"),
        pytest.param(b"(lc_codecs\nencode\n(Vx\nVzip\ntRa.", id="other encoding"),
        pytest.param(b"(lc_codecs\nencode\n(N}Vencoding\nVlatin1\nstba.", id="state of a function"),
        pytest.param(b"(lcnumpy\ndtype\n(Vf2\ntbta.", id="state of a class"),
        pytest.param(b"(l" + ARRAY + b"a.", id="array without state"),
        pytest.param(b"(l" + ARRAY + b"(I1\n(I1\nI1024\ntNI00\nVx\ntba.", id="no dtype"),
        pytest.param(b"(l" + ARRAY + b"(I1\nI1\nI1\nI1\nI1\ntba.", id="no shape"),
        pytest.param(b"(l" + ARRAY + b"I1\nba.", id="no state tuple"),
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="text"),
        pytest.param(b"\x80\x04]\x94.", id="empty list"),
        pytest.param(b"\x80\x04.", id="nothing"),
        pytest.param(b"a.", id="empty stack"),
        pytest.param(b"g7\n.", id="unknown memo"),
        pytest.param(dump_embedding(embedding())[:-1], id="no end"),
        pytest.param(dump_embedding(embedding())[:5000], id="cut off"),
        pytest.param(dump_embedding(embedding()) + b"x", id="more after the end"),
        pytest.param(bytes(17 * 2**20), id="too large"),
    ],
)
def test_crafted_and_damaged_files_are_rejected(data):
    with pytest.raises(EmbeddingFileError) as caught:
        load_embedding(data)
    assert isinstance(caught.value, CurateError) and not caught.value.retriable


def test_array_data_that_do_not_fill_the_shape_are_rejected():
    data = dump_embedding(embedding(7)).replace(b"K\x07M\x00\x04", b"K\x08M\x00\x04")
    with pytest.raises(EmbeddingFileError, match="do not fill"):
        load_embedding(data)


def test_random_damage_is_rejected_or_harmless():
    rng = np.random.default_rng(5)
    good = dump_embedding(embedding(1))
    head = good.index(b"B\x00\x08\x00\x00")  # before the values, where every byte matters
    for _ in range(3000):
        data = bytearray(good)
        for place in rng.integers(0, head, rng.integers(1, 4)):
            data[place] = rng.integers(256)
        try:
            array = load_embedding(bytes(data))
        except EmbeddingFileError:
            continue
        assert array.dtype == np.float16 and array.shape == (1, 1024)
