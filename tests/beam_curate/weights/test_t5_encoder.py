"""The encoder of T5, extracted from each format in which T5 is published."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

from beam_curate.weights.headers import read_header
from beam_curate.weights.t5_encoder import copy_encoder

LAYERS = 3
CONFIG = T5Config(vocab_size=120, d_model=32, d_kv=8, d_ff=64, num_layers=LAYERS, num_decoder_layers=2, num_heads=4)
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def model() -> T5ForConditionalGeneration:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return T5ForConditionalGeneration(CONFIG).eval()


def state_of(model: T5ForConditionalGeneration) -> State:
    """The weights as published, with two names for shared weights."""
    return dict(model.state_dict())


def transposed(state: State) -> State:
    """The same weights, transposed as in files converted from TensorFlow."""
    return {name: tensor.t().contiguous().t() if tensor.ndim == 2 else tensor for name, tensor in state.items()}


def in_one_storage(state: State) -> State:
    """The same weights as views of one storage."""
    whole = torch.cat([tensor.flatten() for tensor in state.values()])
    parts = whole.split([tensor.numel() for tensor in state.values()])
    return {name: part.view(tensor.shape) for (name, tensor), part in zip(state.items(), parts, strict=True)}


def save_zip(state: State, folder: Path) -> list[Path]:
    torch.save(state, folder / "pytorch_model.bin")
    return [folder / "pytorch_model.bin"]


def save_legacy(state: State, folder: Path) -> list[Path]:
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    return [folder / "pytorch_model.bin"]


def save_legacy_parameters(state: State, folder: Path) -> list[Path]:
    return save_legacy({name: torch.nn.Parameter(tensor) for name, tensor in state.items()}, folder)


def save_transposed(state: State, folder: Path) -> list[Path]:
    return save_legacy(transposed(state), folder)


def save_transposed_zip(state: State, folder: Path) -> list[Path]:
    return save_zip(transposed(state), folder)


def save_one_storage(state: State, folder: Path) -> list[Path]:
    return save_legacy(in_one_storage(state), folder)


def save_without_shared(state: State, folder: Path) -> list[Path]:
    return save_zip({name: tensor for name, tensor in state.items() if name != "shared.weight"}, folder)


def save_safetensors(state: State, folder: Path) -> list[Path]:
    save_file({name: tensor.clone() for name, tensor in state.items()}, folder / "model.safetensors")
    return [folder / "model.safetensors"]


def save_shards(state: State, folder: Path) -> list[Path]:
    paths = []
    names = sorted(state)
    for number in range(3):
        paths.append(folder / f"model-{number}.safetensors")
        save_file({name: state[name].clone() for name in names[number::3]}, paths[-1])
    return paths


SAVES = [
    save_zip,
    save_legacy,
    save_legacy_parameters,
    save_transposed,
    save_transposed_zip,
    save_one_storage,
    save_without_shared,
    save_safetensors,
    save_shards,
]


@pytest.mark.parametrize("save", SAVES)
def test_the_copy_loads_into_an_encoder_that_gives_the_same_states(
    tmp_path: Path, model: T5ForConditionalGeneration, save: Callable[[State, Path], list[Path]]
) -> None:
    target = tmp_path / "encoder.safetensors"
    digest = copy_encoder(save(state_of(model), tmp_path), target, LAYERS)
    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    copied = load_file(target)
    assert not [name for name in copied if name != "shared.weight" and not name.startswith("encoder.")]
    assert "encoder.embed_tokens.weight" not in copied
    encoder = T5EncoderModel(CONFIG).eval()
    assert not encoder.load_state_dict(copied, strict=False).unexpected_keys
    ids = torch.arange(40).reshape(2, 20)
    with torch.inference_mode():
        expected = model.encoder(input_ids=ids).last_hidden_state
        assert torch.equal(encoder(input_ids=ids).last_hidden_state, expected)
    assert sorted(path.name for path in tmp_path.glob("*encoder*")) == ["encoder.safetensors"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_copy_has_the_precision_of_the_source(
    tmp_path: Path, model: T5ForConditionalGeneration, dtype: torch.dtype
) -> None:
    state = {name: tensor.to(dtype) for name, tensor in state_of(model).items()}
    copy_encoder(save_legacy(transposed(state), tmp_path), tmp_path / "copy.safetensors", LAYERS)
    copied = load_file(tmp_path / "copy.safetensors")
    assert copied
    assert all(tensor.dtype == dtype and torch.equal(tensor, state[name]) for name, tensor in copied.items())


@pytest.mark.parametrize("save", [save_zip, save_legacy, save_safetensors])
@pytest.mark.parametrize("left", [0.999, 0.5, 0.01, 0])
def test_a_truncated_source_is_detected_before_anything_is_written(
    tmp_path: Path, model: T5ForConditionalGeneration, save: Callable[[State, Path], list[Path]], left: float
) -> None:
    (path,) = save(state_of(model), tmp_path)
    os.truncate(path, int(path.stat().st_size * left))
    with pytest.raises(ValueError, match=path.name):
        copy_encoder([path], tmp_path / "encoder.safetensors", LAYERS)
    assert not list(tmp_path.glob("*encoder*"))


def test_a_model_without_all_layers_is_refused(tmp_path: Path, model: T5ForConditionalGeneration) -> None:
    paths = save_zip(state_of(model), tmp_path)
    with pytest.raises(ValueError, match=r"not a complete T5 with 4 layers: encoder.block.3. is missing"):
        copy_encoder(paths, tmp_path / "encoder.safetensors", LAYERS + 1)
    only_decoder = {name: tensor for name, tensor in state_of(model).items() if name.startswith("decoder")}
    with pytest.raises(ValueError, match=r"shared\.weight is missing"):
        copy_encoder(save_zip(only_decoder, tmp_path), tmp_path / "encoder.safetensors", LAYERS)


class _Harmful:
    """Runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("new_format", [False, True])
def test_code_in_a_weight_file_is_not_executed(tmp_path: Path, new_format: bool) -> None:
    path, witness = tmp_path / "pytorch_model.bin", tmp_path / "witness"
    torch.save({"shared.weight": _Harmful(witness)}, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(ValueError, match=r"posix\.system, which is not a tensor"):
        read_header(path)
    path.write_bytes(pickle.dumps(_Harmful(witness)))
    with pytest.raises(ValueError, match="not a tensor"):
        read_header(path)
    assert not witness.exists()


PEAK = """
import resource, sys
from pathlib import Path
from beam_curate.weights.t5_encoder import copy_encoder
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
copy_encoder([Path(sys.argv[1])], Path(sys.argv[2]), 8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("new_format", [False, True])
def test_memory_holds_one_tensor_at_a_time_and_not_the_model(tmp_path: Path, new_format: bool) -> None:
    source, target = tmp_path / "pytorch_model.bin", tmp_path / "encoder.safetensors"
    tensor_mb, blocks = 24, 8
    state = {"shared.weight": torch.zeros(8, 8), "encoder.final_layer_norm.weight": torch.zeros(8)}
    for block in range(blocks):
        state[f"encoder.block.{block}.wi.weight"] = torch.zeros(tensor_mb << 18).view(1024, -1).t()
        state[f"decoder.block.{block}.wi.weight"] = torch.zeros(tensor_mb << 18)
    torch.save(state, source, _use_new_zipfile_serialization=new_format)
    assert source.stat().st_size > 2 * tensor_mb * blocks << 20
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(source), str(target)], capture_output=True, text=True, check=True
    )
    assert target.stat().st_size > tensor_mb * blocks << 20
    assert int(done.stdout) / 1024 < 4 * tensor_mb
