"""Whether the models of a run fit into the memory of a device, by an estimate, and which flags make them fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from beam_curate.models.catalog import CAPTIONERS, T5_XXL, Model, by_name, needed
from beam_curate.options.captions import CaptionOptions
from beam_curate.options.parse import Options

VLLM_SHARE = 0.85
"""Of a GPU's memory: what vLLM takes for itself, as cosmos-curate sets it."""


def captioner_gb(options: CaptionOptions, *, bfloat16: bool = True) -> float:
    """Returns the memory of a GPU, in GB (10^9 bytes), that the captioner's model needs.

    Args:
        options: With an engine that runs the model itself.
        bfloat16: Whether the device computes in it; float32 is used otherwise.
    """
    model = by_name(CAPTIONERS[options.captioning_algorithm])
    if options.engine == "vllm":
        precision = "float8" if options.qwen_use_fp8_weights else model.precision
        return model.memory_gb(precision) / VLLM_SHARE
    return model.memory_gb(model.precision if bfloat16 else "float32")


def text_encoder_gb(dtype: str) -> float:
    """Returns the memory in GB (10^9 bytes) that T5-11B needs in a precision: ``--text-encoder-dtype``."""
    in_float32 = 24 * 65536 * 1024 / 1e9 if dtype == "float16" else 0  # see `beam_curate.text_embeddings.t5`
    return T5_XXL.memory_gb(dtype) + in_float32 * 2


def too_large(options: Options, gpu_gb: float) -> Iterator[str]:
    """Yields which models do not fit into a GPU, a message each with the flag that makes them fit.

    One model is in memory at a time, so that each is compared by itself.

    Args:
        options: Of the run.
        gpu_gb: Memory of the smallest GPU, in GB (10^9 bytes).
    """
    for model in needed(options):
        flag = flag_of(model, options)
        if model is T5_XXL:
            gigabytes = text_encoder_gb(options.text.text_encoder_dtype)
            others = [("--text-encoder-dtype bfloat16", model.memory_gb("bfloat16"))]
            last = "take a larger GPU, or hide it (CUDA_VISIBLE_DEVICES=) to use the processor, which is slow"
        else:
            gigabytes = captioner_gb(options.caption)
            others = [(flags, captioner_gb(caption)) for flags, caption in _lighter_captioners(options.caption)]
            last = "caption with a model server elsewhere: --captioning-engine endpoint"
        if gigabytes > gpu_gb:
            fits = next((f"take {flags} ({other:.0f} GB)" for flags, other in others if other <= gpu_gb), last)
            yield f"{flag} needs about {gigabytes:.0f} GB of GPU memory and the GPU has {gpu_gb:.0f} GB: {fits}"


def without_gpu(options: Options, ram_gb: float, *, bfloat16: bool) -> Iterator[str]:
    """Yields warnings of a run without a GPU, a sentence a model.

    Args:
        options: Of the run.
        ram_gb: Memory of the computer, in GB (10^9 bytes).
        bfloat16: Whether the processor computes in it.
    """
    for model in needed(options):
        if model is T5_XXL:
            gigabytes, pace = text_encoder_gb(options.text.text_encoder_dtype), "many seconds a caption"
        elif options.caption.engine == "vllm":
            continue  # its command may reach a GPU that is not seen here
        else:
            gigabytes, pace = captioner_gb(options.caption, bfloat16=bfloat16), "minutes a caption"
        short = "" if gigabytes <= ram_gb else ", which is too little"
        yield (
            f"{flag_of(model, options)} runs {model.model_id} without a GPU: that takes {pace} and about "
            f"{gigabytes:.0f} GB of memory; this computer has {ram_gb:.0f} GB{short}"
        )


def flag_of(model: Model, options: Options) -> str:
    """Returns the flag because of which a run needs a model."""
    if model is T5_XXL:
        return "--text-encoder t5_11b"
    return f"--captioning-algorithm {options.caption.captioning_algorithm}"


def _lighter_captioners(options: CaptionOptions) -> Iterator[tuple[str, CaptionOptions]]:
    """Yields flags that need less memory, best first, with what they make of the options."""
    if options.captioning_algorithm == "qwen3_vl_30b":
        name = "qwen3_vl_30b_fp8"
        yield f"--captioning-algorithm {name}", dataclasses.replace(options, captioning_algorithm=name)  # type: ignore[arg-type]
    if options.captioning_algorithm != "qwen3_vl_30b_fp8" and not options.qwen_use_fp8_weights:
        yield (
            "--captioning-engine vllm --qwen-use-fp8-weights",
            dataclasses.replace(options, captioning_engine="vllm", qwen_use_fp8_weights=True),
        )
