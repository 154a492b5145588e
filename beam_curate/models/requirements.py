"""Whether the models of a run fit into the memory of a device, by an estimate, and which flags make them fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from beam_curate.models.catalog import T5_XXL, Model

VLLM_SHARE = 0.85
"""Of a GPU's memory: what vLLM takes for itself, as cosmos-curate sets it."""

_T5_IN_FLOAT32 = 24 * 65536 * 1024 / 1e9
"""Billions of parameters of T5-11B that stay float32 in float16: ``wo`` of its 24 layers."""


@dataclasses.dataclass(frozen=True)
class Requirement:
    """A model whose files a run needs in the workspace, and the memory that it needs.

    Attributes:
        model: Of the catalog.
        flag: The flag that asks for it.
        gpu_gb: Memory of a GPU, in GB (10^9 bytes).
        cpu_gb: Memory without a GPU, in float32; None where the model may have a GPU that is not seen here.
        cpu_bfloat16_gb: The same on a processor that computes in bfloat16.
        cpu_pace: How long a caption takes without a GPU, in words.
        lighter: Flags that need less, best first, each with the memory of a GPU in GB that it needs.
        otherwise: What to do where none of them fits.
    """

    model: Model
    flag: str
    gpu_gb: float
    cpu_gb: float | None
    cpu_bfloat16_gb: float | None
    cpu_pace: str
    lighter: tuple[tuple[str, float], ...]
    otherwise: str


def vllm_gb(model: Model, *, fp8: bool) -> float:
    """Returns the memory in GB (10^9 bytes) of a GPU on which vLLM can serve a model.

    >>> from beam_curate.models.catalog import by_name
    >>> round(vllm_gb(by_name("qwen2.5_vl"), fp8=False), 1)
    21.9

    Args:
        model: Which one.
        fp8: Whether its weights become 8-bit floating point while they are loaded.
    """
    return model.memory_gb("float8" if fp8 else model.precision) / VLLM_SHARE


def text_encoder_gb(dtype: str) -> float:
    """Returns the memory in GB (10^9 bytes) that T5-11B needs in a precision: ``--text-encoder-dtype``.

    >>> round(text_encoder_gb("bfloat16"), 1)
    10.3
    """
    extra = 2 * _T5_IN_FLOAT32 if dtype == "float16" else 0  # bytes more a parameter
    return T5_XXL.memory_gb(dtype) + extra


def barriers(needs: Iterable[tuple[str, float]], capacity_gb: float) -> frozenset[str]:
    """Returns before which stages all chunks wait, since their model does not fit beside those of the stages before.

    >>> barriers([("captions", 19.0), ("text", 20.1)], capacity_gb=24.0)
    frozenset({'text'})
    >>> barriers([("captions", 19.0), ("text", 20.1)], capacity_gb=48.0)
    frozenset()

    Args:
        needs: Stages in order, each with the memory of its model in GB (10^9 bytes).
        capacity_gb: Memory for all of them.
    """
    found, used = set(), 0.0
    for stage, gigabytes in needs:
        if used and gigabytes and used + gigabytes > capacity_gb:
            found.add(stage)
            used = 0.0
        used += gigabytes
    return frozenset(found)


def too_large(requirements: Iterable[Requirement], gpu_gb: float) -> Iterator[str]:
    """Yields which models do not fit into a GPU, a message each with the flag that makes them fit.

    Models that do not fit together are used one after the other, so that each is compared by itself.

    >>> lighter = (("--text-encoder-dtype bfloat16", 10.3),)
    >>> t5 = Requirement(T5_XXL, "--text-encoder t5_11b", 20.1, 20.1, 20.1, "a second", lighter, otherwise="")
    >>> list(too_large([t5], gpu_gb=16.0))
    ['--text-encoder t5_11b needs about 20 GB ... the GPU has 16 GB: take --text-encoder-dtype bfloat16 (10 GB)']

    Args:
        requirements: Of the run.
        gpu_gb: Memory of the smallest GPU, in GB (10^9 bytes).
    """
    for one in requirements:
        if one.gpu_gb > gpu_gb:
            fitting = (f"take {flags} ({gb:.0f} GB)" for flags, gb in one.lighter if gb <= gpu_gb)
            yield (
                f"{one.flag} needs about {one.gpu_gb:.0f} GB of GPU memory and the GPU has {gpu_gb:.0f} GB: "
                f"{next(fitting, one.otherwise)}"
            )


def without_gpu(requirements: Iterable[Requirement], ram_gb: float, *, bfloat16: bool) -> Iterator[str]:
    """Yields warnings of a run without a GPU, a sentence a model.

    >>> t5 = Requirement(T5_XXL, "--text-encoder t5_11b", 20.1, 20.1, 20.1, "a second", (), otherwise="")
    >>> list(without_gpu([t5], ram_gb=16.0, bfloat16=False))
    ['--text-encoder t5_11b runs ... about 20 GB of memory; this computer has 16 GB, which is too little']

    Args:
        requirements: Of the run.
        ram_gb: Memory of the computer, in GB (10^9 bytes).
        bfloat16: Whether the processor computes in it.
    """
    for one in requirements:
        gigabytes = one.cpu_bfloat16_gb if bfloat16 else one.cpu_gb
        if gigabytes is None:
            continue
        short = "" if gigabytes <= ram_gb else ", which is too little"
        yield (
            f"{one.flag} runs {one.model.model_id} without a GPU: that takes {one.cpu_pace} and about "
            f"{gigabytes:.0f} GB of memory; this computer has {ram_gb:.0f} GB{short}"
        )
