"""Encoding captions with T5: sorted by length under a token budget, against 16 at a time, each padded to 512 tokens.

The same random weights on both sides: two layers in the proportions of T5-11B, an eighth as wide. Ends with status 1
where the embeddings differ by more than 2e-3.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence

import numpy as np
import torch
from common import in_turn, report
from numpy.typing import NDArray
from transformers import T5Config, T5EncoderModel

from beam_curate.text_embeddings.stage import token_batches
from beam_curate.text_embeddings.t5 import MAX_TOKENS, WIDTH, T5Encoder, Tokens

TOLERANCE = 2e-3
END = 1  # T5's end-of-sequence token
FIXED_BATCH = 16


def make_captions(count: int, vocabulary: int) -> list[Tokens]:
    """Makes captions of 40 to 400 tokens, 130 in the mean, as models write them of windows of ten seconds."""
    chance = random.Random(0)
    lengths = [min(400, max(40, round(chance.lognormvariate(4.77, 0.45)))) for _ in range(count)]
    return [Tokens((*(chance.randrange(2, vocabulary) for _ in range(n - 1)), END), False) for n in lengths]


def encode_batched(encoder: T5Encoder, captions: Sequence[Tokens]) -> list[NDArray[np.float16]]:
    """Encodes as `CaptionEncoder` does."""
    found: dict[int, NDArray[np.float16]] = {}
    for batch in token_batches([len(tokens.ids) for tokens in captions], encoder.token_budget):
        for position, states in zip(batch, encoder.encode([captions[i] for i in batch]), strict=True):
            if isinstance(states, Exception):
                raise states
            found[position] = states
    return [found[position] for position in range(len(captions))]


def encode_fixed(model: T5EncoderModel, captions: Sequence[Tokens], batch: int) -> list[NDArray[np.float16]]:
    """Encodes a fixed number of captions at a time, padded to 512 tokens, and cuts the padding off after."""
    found = []
    for start in range(0, len(captions), batch):
        texts = captions[start : start + batch]
        ids = torch.zeros((len(texts), MAX_TOKENS), dtype=torch.long)
        for row, tokens in enumerate(texts):
            ids[row, : len(tokens.ids)] = torch.tensor(tokens.ids)
        ids = ids.to(model.device)
        with torch.inference_mode():
            states = model(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state
        arrays = states.to(torch.float16).cpu().numpy()
        found += [arrays[row, : len(tokens.ids)] for row, tokens in enumerate(texts)]
    return found


def largest_difference(ours: Sequence[NDArray[np.float16]], theirs: Sequence[NDArray[np.float16]]) -> float:
    """Returns the largest absolute difference of two lists of embeddings."""
    pairs = zip(ours, theirs, strict=True)
    return max(float(np.abs(one.astype(np.float32) - other.astype(np.float32)).max()) for one, other in pairs)


def main() -> int:
    """Compares both ways on 64 captions."""
    torch.manual_seed(0)
    config = T5Config(vocab_size=32128, d_model=WIDTH, d_kv=128, d_ff=8192, num_layers=2, num_heads=16)
    model = T5EncoderModel(config).eval()
    encoder = T5Encoder(None, model)
    captions = make_captions(64, config.vocab_size)
    difference = largest_difference(encode_batched(encoder, captions), encode_fixed(model, captions, FIXED_BATCH))
    ours_s, theirs_s = in_turn(
        lambda: encode_batched(encoder, captions), lambda: encode_fixed(model, captions, FIXED_BATCH)
    )
    tokens = sum(len(caption.ids) for caption in captions)
    speeds = f"{tokens / ours_s:.0f} against {tokens / theirs_s:.0f} tokens/s"
    report("t5_batching", theirs_s / ours_s, ">=4", f"{speeds}, largest difference {difference:.2e}")
    return 0 if difference <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
