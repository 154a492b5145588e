"""The T5 text encoder whose states Cosmos-Predict2 is conditioned on, and a random stand-in for trying out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beam_curate.errors import ModelOutputError
from beam_curate.models.catalog import T5_XXL
from beam_curate.models.fitting import Fitting
from beam_curate.models.slot import ModelRef

MAX_TOKENS = 512  # what the trainer pads to; a longer text is cut
WIDTH = 1024  # d_model of T5-11B
_RANDOM_SEED = 0


@dataclasses.dataclass(frozen=True)
class Tokens:
    """A tokenized text, the end-of-sequence token included; at most 512 ids."""

    ids: tuple[int, ...]
    truncated: bool


class T5Encoder:
    """A T5 encoder with its tokenizer.

    Args:
        tokenizer: A transformers tokenizer.
        model: A `T5EncoderModel` of width 1024.
        device: What torch calls the device that it is moved to.
    """

    def __init__(self, tokenizer: Any, model: Any, device: str = "cpu") -> None:
        self._tokenizer = tokenizer
        self._device = device
        self._model = model.to(device).eval()
        self._fitting = Fitting()

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenizes texts; surrounding white space does not count, as in the trainer's own script."""
        ids = self._tokenizer([text.strip() for text in texts], truncation=False, verbose=False)["input_ids"]
        end = self._tokenizer.eos_token_id
        return [
            Tokens((*text[: MAX_TOKENS - 1], end), True) if len(text) > MAX_TOKENS else Tokens(tuple(text), False)
            for text in ids
        ]

    def encode(self, batch: Sequence[Tokens]) -> list[NDArray[np.float16]]:
        """Encodes tokenized texts, padded to the longest of the batch.

        Returns:
            For each text float16 [num_tokens, 1024]: the states of its own tokens, no padding.

        Raises:
            ModelOutputError: A state is NaN or beyond the range of float16.
        """
        import torch

        longest = max(len(tokens.ids) for tokens in batch)
        ids = torch.zeros((len(batch), longest), dtype=torch.long)
        mask = torch.zeros((len(batch), longest), dtype=torch.long)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens.ids)] = torch.tensor(tokens.ids)
            mask[row, : len(tokens.ids)] = 1
        with torch.inference_mode():
            states = self._model(input_ids=ids.to(self._device), attention_mask=mask.to(self._device)).last_hidden_state
        arrays = states.to(torch.float16).cpu().numpy()
        if not np.isfinite(arrays[mask.numpy() == 1]).all():
            raise ModelOutputError("the text encoder answered with NaN or infinite values")
        return [arrays[row, : len(tokens.ids)].copy() for row, tokens in enumerate(batch)]


def _load_t5_11b(device: str, folder: Path) -> T5Encoder:
    import torch
    from transformers import AutoTokenizer, T5EncoderModel

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = T5EncoderModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    if model.config.d_model != WIDTH:
        raise ModelOutputError(f"{folder} is a T5 of width {model.config.d_model}, and {WIDTH} is needed")
    return T5Encoder(tokenizer, model, device)


def _load_random(device: str) -> T5Encoder:
    import torch
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    tokenizer = ByT5Tokenizer()
    config = T5Config(vocab_size=len(tokenizer), d_model=WIDTH, d_kv=32, d_ff=256, num_layers=1, num_heads=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        model = T5EncoderModel(config)
    return T5Encoder(tokenizer, model, device)


def reference(text_encoder: str, workspace: str) -> ModelRef:
    """Returns a reference to the encoder that ``--text-encoder`` names."""
    if text_encoder == "t5_random":
        return ModelRef("t5_random", _load_random)
    return ModelRef("t5_11b", functools.partial(_load_t5_11b, folder=T5_XXL.folder(workspace)))


def token_counter(text_encoder: str, workspace: str) -> Any:
    """Returns a function from a text to its number of tokens before the cut at 512, end token included."""
    from transformers import AutoTokenizer, ByT5Tokenizer

    if text_encoder == "t5_random":
        tokenizer = ByT5Tokenizer()
    else:
        tokenizer = AutoTokenizer.from_pretrained(T5_XXL.folder(workspace), local_files_only=True)
    return lambda text: len(tokenizer(text.strip(), verbose=False)["input_ids"])
