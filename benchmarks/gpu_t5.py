"""T5-11B's encoder at full size with random weights on a GPU: the real batches against 16 captions padded to 512.

Prints tokens/s, the share of the GPU's peak that they make, and peak memory, for each precision. Without a GPU it does
nothing, but for ``--tiny``: a small model on the processor, to see that the script runs.
"""

from __future__ import annotations

import argparse
import sys

import torch
from common import in_turn, report
from t5_batching import FIXED_BATCH, encode_batched, encode_fixed, largest_difference, make_captions
from transformers import T5Config, T5EncoderModel

from beam_curate.text_embeddings.t5 import T5Encoder

# Dense peak of an H100 SXM by NVIDIA's data sheet, FLOP/s; float32 without TF32.
PEAKS = {"float32": 67e12, "bfloat16": 989e12, "float16": 989e12}
T5_11B = {"vocab_size": 32128, "d_model": 1024, "d_kv": 128, "d_ff": 65536, "num_layers": 24, "num_heads": 128}
TINY = {"vocab_size": 512, "d_model": 1024, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 4}


def measure(dtype: str, sizes: dict[str, int], device: str, count: int) -> None:
    """Prints the line of one precision."""
    torch.manual_seed(0)
    with torch.device(device):
        torch.set_default_dtype(getattr(torch, dtype))
        model = T5EncoderModel(T5Config(**sizes)).eval()
        torch.set_default_dtype(torch.float32)
    encoder = T5Encoder(None, model, device)
    captions = make_captions(count, sizes["vocab_size"])
    difference = largest_difference(encode_batched(encoder, captions), encode_fixed(model, captions, FIXED_BATCH))
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    ours_s = in_turn(lambda: encode_batched(encoder, captions))[0]
    memory = 0 if device == "cpu" else torch.cuda.max_memory_allocated()
    theirs_s = in_turn(lambda: encode_fixed(model, captions, FIXED_BATCH))[0]
    tokens = sum(len(caption.ids) for caption in captions)
    parameters = sum(weights.numel() for name, weights in model.named_parameters() if "shared" not in name)
    utilisation = 2 * parameters * tokens / ours_s / PEAKS[dtype]
    note = (
        f"{device}, {tokens / ours_s:.0f} against {tokens / theirs_s:.0f} tokens/s, model FLOP utilisation "
        f"{utilisation:.0%} of an H100, peak memory {memory / 1e9:.1f} GB, largest difference {difference:.2e}"
    )
    report(f"gpu_t5_{dtype}", theirs_s / ours_s, "none", note)


def main() -> int:
    """Measures each precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a small model on the processor")
    tiny = parser.parse_args().tiny
    if not tiny and not torch.cuda.is_available():
        print("gpu_t5: there is no GPU; nothing was measured")
        return 0
    for dtype in ("float32",) if tiny else ("float32", "bfloat16"):
        measure(dtype, TINY if tiny else T5_11B, "cpu" if tiny else "cuda:0", 16 if tiny else 512)
    return 0


if __name__ == "__main__":
    sys.exit(main())
