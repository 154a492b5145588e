"""The T5 text encoder whose states Cosmos-Predict2 is conditioned on, and a random stand-in for trying out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from beam_curate.errors import ModelOutputError
from beam_curate.models.catalog import ENCODER_COPY, T5_XXL
from beam_curate.models.oom_backoff import OomBackoff
from beam_curate.models.requirements import text_encoder_gb
from beam_curate.models.slot import ModelRef
from beam_curate.weights.fetch import WeightsSource, load_from_folder

if TYPE_CHECKING:
    import torch

MAX_TOKENS = 512  # what the trainer pads to; a longer text is cut
WIDTH = 1024  # d_model of T5-11B
_RANDOM_SEED = 0
# Padded tokens of one batch. Small batches of texts of like length waste least: on a processor 1,024 was faster than
# 2,048 and 4,096. A GPU wants more at once.
_TOKEN_BUDGETS = {"cpu": 1024, "cuda": 8192}


@dataclasses.dataclass(frozen=True)
class Tokens:
    """A tokenized text, the end-of-sequence token included; at most 512 ids.

    Attributes:
        ids: Of the tokens.
        truncated: Whether the text has more.
        unreadable: Share of its characters, white space aside, that became unknown tokens.
    """

    ids: tuple[int, ...]
    truncated: bool
    unreadable: float = 0.0


class T5Encoder:
    """A T5 encoder with its tokenizer.

    Args:
        tokenizer: A transformers tokenizer.
        model: A `T5EncoderModel` of width 1024.
        device: What torch calls the device that it is moved to.

    Attributes:
        token_budget: Padded tokens of a batch that use the device well.
    """

    def __init__(self, tokenizer: Any, model: Any, device: str = "cpu") -> None:
        self._tokenizer = tokenizer
        self._device = device
        self._model = model.to(device).eval()
        self._fitting = OomBackoff()
        self.token_budget = _TOKEN_BUDGETS[device.split(":")[0]]

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenizes texts; surrounding white space does not count, as in the trainer's own script."""
        texts = [text.strip() for text in texts]
        with_offsets = self._tokenizer.is_fast
        found = self._tokenizer(texts, truncation=False, verbose=False, return_offsets_mapping=with_offsets)
        offsets = found["offset_mapping"] if with_offsets else [[] for _ in texts]
        end, unknown = self._tokenizer.eos_token_id, self._tokenizer.unk_token_id
        made = []
        for text, ids, places in zip(texts, found["input_ids"], offsets, strict=True):
            lost = "".join(text[start:stop] for id_, (start, stop) in zip(ids, places, strict=False) if id_ == unknown)
            unreadable = _num_visible(lost) / max(1, _num_visible(text))
            cut = len(ids) > MAX_TOKENS
            made.append(Tokens((*ids[: MAX_TOKENS - 1], end) if cut else tuple(ids), cut, unreadable))
        return made

    def encode(self, batch: Sequence[Tokens]) -> list[NDArray[np.float16] | Exception]:
        """Encodes tokenized texts, padded to the longest of the batch, in halves where memory is short.

        Returns:
            For each text float16 [num_tokens, 1024], the states of its own tokens without padding; or why there are
            none: a `ModelOutputError` where a state is NaN or beyond the range of float16, a `ModelMemoryError`.
        """
        return self._fitting.compute(batch, padded_tokens, self._states)

    def _states(self, batch: Sequence[Tokens]) -> list[NDArray[np.float16] | Exception]:
        import torch

        shape = (len(batch), max(len(tokens.ids) for tokens in batch))
        ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens.ids)] = torch.tensor(tokens.ids)
            mask[row, : len(tokens.ids)] = 1
        with torch.inference_mode():
            states = self._model(input_ids=ids.to(self._device), attention_mask=mask.to(self._device)).last_hidden_state
        arrays = states.to(torch.float16).cpu().numpy()
        return [_checked(arrays[row, : len(tokens.ids)].copy()) for row, tokens in enumerate(batch)]


def _num_visible(text: str) -> int:
    return sum(not letter.isspace() for letter in text)


def padded_tokens(batch: Sequence[Tokens]) -> int:
    """Returns how many tokens a batch has with its padding.

    >>> padded_tokens([Tokens((71, 1), truncated=False), Tokens((71, 1131, 443, 1), truncated=False)])
    8
    """
    return len(batch) * max(len(tokens.ids) for tokens in batch)


def _checked(states: NDArray[np.float16]) -> NDArray[np.float16] | Exception:
    if np.isfinite(states).all():
        return states
    return ModelOutputError("the text encoder answered with NaN or infinite values")


def _load_t5_11b(device: str, workspace: str, dtype: str, weights: WeightsSource | None) -> T5Encoder:
    return load_from_folder(T5_XXL, workspace, weights, functools.partial(_load_folder, device=device, dtype=dtype))


def _load_folder(folder: Path, device: str, dtype: str) -> T5Encoder:
    import torch
    from transformers import AutoTokenizer, T5EncoderModel

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    precision: torch.dtype = getattr(torch, dtype)
    if (folder / ENCODER_COPY).is_file():
        model = _from_encoder_weights(folder, precision, device)
    else:
        model = T5EncoderModel.from_pretrained(folder, local_files_only=True, dtype=precision)
    if model.config.d_model != WIDTH:
        raise ValueError(f"it is a T5 of width {model.config.d_model}, and {WIDTH} is needed")
    return T5Encoder(tokenizer, model, device)


def _from_encoder_weights(folder: Path, precision: torch.dtype, device: str) -> Any:
    """Loads the encoder-only copy by memory map, tensor by tensor: on a processor, float32 weights stay in the file."""
    import torch
    from safetensors import safe_open
    from transformers import T5Config, T5EncoderModel

    with torch.device("meta"):
        model = T5EncoderModel(T5Config.from_pretrained(folder, local_files_only=True))
    # T5's feed-forward outputs leave float16's range, so transformers keeps these weights in float32.
    in_float32 = T5EncoderModel._keep_in_fp32_modules if precision == torch.float16 else ()
    state = {}
    with safe_open(folder / ENCODER_COPY, framework="pt", device=device) as weights:
        for name in weights.keys():  # noqa: SIM118 - it is no mapping
            keep = any(part in name.split(".") for part in in_float32)
            state[name] = weights.get_tensor(name).to(torch.float32 if keep else precision)
    state["encoder.embed_tokens.weight"] = state["shared.weight"]
    model.load_state_dict(state, assign=True)
    return model


def _load_random(device: str) -> T5Encoder:
    import torch
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    tokenizer = ByT5Tokenizer()
    config = T5Config(vocab_size=len(tokenizer), d_model=WIDTH, d_kv=32, d_ff=256, num_layers=1, num_heads=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        model = T5EncoderModel(config)
    return T5Encoder(tokenizer, model, device)


def reference(
    text_encoder: str, workspace: str, dtype: str = "float32", weights: WeightsSource | None = None
) -> ModelRef:
    """Returns a reference to the text encoder.

    >>> reference("t5_random", workspace="/models").name
    't5_random'

    Args:
        text_encoder: Value of ``--text-encoder``.
        workspace: Where its files lie.
        dtype: Value of ``--text-encoder-dtype``.
        weights: Where they are fetched from when they are missing.
    """
    if text_encoder == "t5_random":
        return ModelRef("t5_random", _load_random, identity="t5_random")
    load = functools.partial(_load_t5_11b, workspace=workspace, dtype=dtype, weights=weights)
    gigabytes = text_encoder_gb(dtype)
    return ModelRef("t5_11b", load, identity=f"{T5_XXL.identity} {dtype}", gpu_gb=gigabytes, ram_gb=gigabytes)


def token_counter(text_encoder: str, workspace: str) -> Any:
    """Returns a function from a text to its number of tokens before the cut at 512, end token included."""
    from transformers import AutoTokenizer, ByT5Tokenizer

    if text_encoder == "t5_random":
        tokenizer = ByT5Tokenizer()
    else:
        tokenizer = AutoTokenizer.from_pretrained(T5_XXL.folder(workspace), local_files_only=True)
    return lambda text: len(tokenizer(text.strip(), verbose=False)["input_ids"])
