"""Files made to waste time or memory are rejected at once; nothing in them is run."""

from __future__ import annotations

import pickle
import pickletools
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_curate.dataset.embedding_file import dump_embedding, load_embedding
from beam_curate.errors import EmbeddingFileError

ARRAY = np.random.default_rng(0).standard_normal((7, 1024)).astype(np.float16)
NESTED = b")" + b"\x85" * 3 + b"q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(60))  # doubles 60 times
NDARRAY = b"cnumpy.core.multiarray\n_reconstruct\n"
NEW = NDARRAY + b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R"
F2 = (
    b"cnumpy\ndtype\nX\x02\x00\x00\x00f2\x89\x88\x87R"
    b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)
BIG = b"X" + struct.pack("<I", 2**20) + b"a" * 2**20
LATIN1 = b"X\x06\x00\x00\x00latin1"


def listed(content: bytes, protocol: int = 3) -> bytes:
    return b"\x80" + bytes([protocol]) + b"]" + content + b"a."


def array_of(shape: bytes, data: bytes = b"C\x02ab", order: bytes = b"\x89") -> bytes:
    return listed(NEW + b"(K\x01" + shape + F2 + order + data + b"tb")


HOSTILE = {
    "key of nested tuples": listed(b"}" + NESTED + b"K\x01s"),
    "keys of nested tuples": listed(b"}(" + NESTED + b"K\x01u"),
    "dict of nested tuples": listed(b"(" + NESTED + b"K\x01d"),
    "shape of nested tuples": array_of(NESTED + b"\x85"),
    "shape is nested tuples": array_of(NESTED),
    "shape of texts": array_of(BIG + b"\x85"),
    "shape of many numbers": array_of(b"(" + b"K\x01" * 5000 + b"t"),
    "negative shape": array_of(b"J\xff\xff\xff\xffM\x00\x04\x86"),
    "huge shape": array_of(b"J\xff\xff\xff\x7fM\x00\x04\x86"),
    "shape beyond 64 bits": array_of(b"\x8a\x09" + b"\xff" * 8 + b"\x00M\x00\x04\x86"),
    "shape of truths": array_of(b"\x88\x88\x86"),
    "order is nested": array_of(b"K\x01M\x00\x04\x86", b"C\x02ab", NESTED),
    "state is nested": listed(NEW + NESTED + b"b"),
    "state is a big text": listed(NEW + BIG + b"b"),
    "dtype of a big text": listed(NEW + b"(K\x01K\x01\x85cnumpy\ndtype\n" + BIG + b"\x85R\x89C\x00tb"),
    "dtype of nested tuples": listed(NEW + b"(K\x01K\x01\x85cnumpy\ndtype\n" + NESTED + b"\x85R\x89C\x00tb"),
    "dtype of nothing": listed(NEW + b"(K\x01K\x01\x85cnumpy\ndtype\n)R\x89C\x00tb"),
    "encoded again and again": listed(
        BIG + b"q\x010" + (b"c_codecs\nencode\nh\x01" + LATIN1 + b"\x86R0") * 300 + b"K\x01"
    ).replace(b"q\x010", b"q\x01"),
    "encoded and kept": listed(BIG + b"q\x01" + (b"c_codecs\nencode\nh\x01" + LATIN1 + b"\x86R") * 300),
    "encoded as utf-16": listed(b"c_codecs\nencode\n" + BIG + b"X\x06\x00\x00\x00utf-16\x86R"),
    "bytes with a state": listed(b"C\x02ab" + NESTED + b"b"),
    "function with a state": listed(b"c_codecs\nencode\n}b"),
    "called with a list": listed(NDARRAY + b"]R"),
    "called what is no class": listed(b"K\x01)R"),
    "runs a command": b"cos\nsystem\nX\x02\x00\x00\x00id\x85R.",
    "computed name": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
    "name that is a number": b"\x80\x04K\x01K\x02\x93.",
    "builtins": b"cbuiltins\neval\n.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent id": b"Pabc\n.",
    "object of a class": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "instance": b"(icollections\nOrderedDict\n.",
    "memo far away": listed(b"K\x01r\xff\xff\xff\x7f"),
    "memo that is empty": listed(b"h\x05"),
    "long of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "text of 2^62 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
    "bytes of 2^62 bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"a.",
    "negative length": b"\x80\x02X\xff\xff\xff\xff.",
    "frame that lies": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"K\x01.",
    "marks without end": b"(" * 100_000 + b".",
    "lists without end": b"]" * 100_000 + b".",
    "tuples in tuples": b")" + b"\x85" * 9_000 + b".",
    "list in itself": b"]q\x00h\x00a.",
    "many digits": b"I" + b"9" * 100_000 + b"\n.",
    "many long digits": b"L" + b"9" * 100_000 + b"L\n.",
    "append to a number": b"K\x01K\x02a.",
    "append to nothing": b"K\x02a.",
    "tuple of nothing": b"\x87.",
    "stop at once": b".",
    "only a mark": b"(.",
    "set in nothing": b"s.",
    "build nothing": b"b.",
    "byte array": b"\x80\x05\x96" + struct.pack("<Q", 4) + b"abcd.",
    "buffer outside": b"\x80\x05\x97.",
    "frozen set": b"\x80\x04(\x91.",
    "duplicated": listed(b"K\x012"),
    "escape sequence in a name": b"c\x1b]0;owned\x07\nx\n.",
    "object array": pickle.dumps([np.array([print], dtype=object)], 4),
    "record array": pickle.dumps([np.zeros(3, dtype=[("a", "f2"), ("b", "i4")])], 4),
    "big endian": pickle.dumps([ARRAY.astype(">f2")], 4),
    "text array": pickle.dumps([np.array(["a" * 1000])], 4),
    "Fortran order": pickle.dumps([np.asfortranarray(ARRAY)], 4),
    "protocol 5": pickle.dumps([ARRAY], 5),
    "trailing bytes": dump_embedding(ARRAY) + b"x",
    "two pickles": dump_embedding(ARRAY) * 2,
    "dates": pickle.dumps([__import__("datetime").date(2020, 1, 1)], 4),
    "twice the array": pickle.dumps([ARRAY, ARRAY], 4),
    "empty file": b"",
    "text file": b"hello",
    "zeros": bytes(5_000_000),
    **{
        f"cut off at {share:.0%}": dump_embedding(ARRAY)[: int(len(dump_embedding(ARRAY)) * share)]
        for share in np.linspace(0.01, 0.999, 20)
    },
}


GOOD = pickle.dumps([ARRAY], 3)
FRAMED = dump_embedding(ARRAY)
DATA = ARRAY.tobytes()
BYTES = b"B" + struct.pack("<I", len(DATA)) + DATA
STATE = b"(K\x01K\x07M\x00\x04\x86" + F2 + b"\x89" + BYTES + b"tb"
HOSTILE |= {
    "frame too long": FRAMED[:3] + struct.pack("<Q", 2**40) + FRAMED[11:],
    "state set twice": listed(NEW + STATE + STATE),
    "leftover on the stack": b"\x80\x03K\x01" + GOOD[2:],
    "tuple across a mark": listed(NEW + STATE.replace(b"K\x07M\x00\x04\x86", b"(K\x07M\x00\x04\x87")),
    "reconstruct of nothing": listed(NEW.replace(b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R", b")R") + STATE),
    "reconstruct of a dtype": listed(NEW.replace(b"cnumpy\nndarray", b"cnumpy\ndtype") + STATE),
    "reconstruct of another shape": listed(NEW.replace(b"K\x00\x85", b"K\x09\x85") + STATE),
    "ndarray called": listed(b"cnumpy\nndarray\nK\x00\x85\x85R" + STATE),
    "dtype with other arguments": listed(NEW + STATE.replace(b"\x89\x88\x87R", b"\x88\x88\x87R", 1)),
    "dtype with another state": listed(NEW + STATE.replace(b"<NNN", b"<NNK\x01", 1)),
    "array of another version": listed(NEW + STATE.replace(b"(K\x01", b"(K\x05", 1)),
    "array appended twice over": b"\x80\x03](" + NEW + STATE + b"e.",
}


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("optimized", [False, True])
@pytest.mark.parametrize("dumps", [pickle.dumps, pickle._dumps], ids=["C", "Python"])  # type: ignore[attr-defined]
def test_files_of_every_protocol_load_as_the_same_array(protocol: int, optimized: bool, dumps: Any) -> None:
    data = dumps([ARRAY], protocol)
    data = pickletools.optimize(data) if optimized else data
    np.testing.assert_array_equal(load_embedding(data), ARRAY)
    np.testing.assert_array_equal(pickle.loads(data)[0], ARRAY)


def test_the_parts_of_the_hostile_files_are_valid() -> None:
    good = listed(NEW + STATE)
    np.testing.assert_array_equal(load_embedding(good), ARRAY)
    np.testing.assert_array_equal(pickle.loads(good)[0], ARRAY)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_rejected(name: str) -> None:
    with pytest.raises(EmbeddingFileError) as refusal:
        load_embedding(HOSTILE[name])
    assert len(str(refusal.value)) < 500 and str(refusal.value).isprintable()


def test_all_hostile_files_together_take_little_time_and_memory(tmp_path: Path) -> None:
    """84 files and more, in a process that may not use 100 MB more than at its start."""
    assert len(HOSTILE) >= 84
    for number, content in enumerate(HOSTILE.values()):
        (tmp_path / f"{number}.pickle").write_bytes(content)
    code = """
import pathlib, resource, sys
from beam_curate.dataset.embedding_file import load_embedding
from beam_curate.errors import EmbeddingFileError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        load_embedding(path.read_bytes())
    except EmbeddingFileError:
        continue
    sys.exit(f"{path} was accepted")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=84, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100 * 1024


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("rows", [1, 40, 512])
@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_files_that_numpy_writes_are_read(protocol: int, rows: int, module: bytes) -> None:
    array = np.random.default_rng(rows).standard_normal((rows, 1024)).astype(np.float16)
    data = pickle.dumps([array], protocol)
    if protocol < 4:  # at protocol 4, the name is preceded by its length
        data = data.replace(b"numpy._core.multiarray", module)
    np.testing.assert_array_equal(load_embedding(data), array)
