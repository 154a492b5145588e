"""Whether models fit into memory, and what makes them fit."""

from __future__ import annotations

import pytest

from beam_curate.models.requirements import Requirement, too_large, without_gpu
from beam_curate.options.parse import parse
from beam_curate.plan.requirements import required_models

T5 = ["--generate-cosmos-predict-dataset", "predict2"]
COSMOS, QWEN = ["--captioning-algorithm", "cosmos_r1"], ["--captioning-algorithm", "qwen"]
LARGE = ["--captioning-algorithm", "qwen3_vl_30b"]
VLLM = ["--captioning-engine", "vllm"]
FP8 = [*VLLM, "--qwen-use-fp8-weights"]
ENDPOINT = ["--captioning-engine", "endpoint", "--captioning-endpoint", "http://127.0.0.1:8000/v1"]

# Flags, memory of the GPU in GB, and for each message what it holds.
GPUS: list[tuple[list[str], float, list[tuple[str, ...]]]] = [
    ([], 1, []),
    (T5, 24, []),
    (T5, 16, [("--text-encoder t5_11b needs about 20 GB", "has 16 GB", "--text-encoder-dtype bfloat16 (10 GB)")]),
    (T5, 8, [("--text-encoder t5_11b", "take a larger GPU")]),
    ([*T5, "--text-encoder-dtype", "bfloat16"], 16, []),
    ([*T5, "--text-encoder-dtype", "float16"], 12, [("needs about 14 GB", "--text-encoder-dtype bfloat16 (10 GB)")]),
    ([*T5, "--text-encoder-dtype", "float16"], 8, [("needs about 14 GB", "take a larger GPU")]),
    ([*T5, "--text-encoder", "t5_random"], 1, []),
    (COSMOS, 24, []),
    (COSMOS, 16, [("cosmos_r1 needs about 19 GB", "--captioning-engine vllm --qwen-use-fp8-weights (12 GB)")]),
    (COSMOS, 8, [("cosmos_r1", "--captioning-engine endpoint")]),
    ([*QWEN, *VLLM], 24, []),
    ([*QWEN, *VLLM], 20, [("qwen needs about 22 GB", "--qwen-use-fp8-weights (12 GB)")]),
    ([*QWEN, *FP8], 16, []),
    ([*QWEN, *FP8], 10, [("needs about 12 GB", "--captioning-engine endpoint")]),
    (LARGE, 80, []),
    (LARGE, 48, [("needs about 64 GB", "--captioning-algorithm qwen3_vl_30b_fp8 (35 GB)")]),
    (LARGE, 24, [("needs about 64 GB", "--captioning-engine endpoint")]),
    ([*LARGE, *ENDPOINT], 1, []),
    (["--captioning-algorithm", "qwen3_vl_30b_fp8"], 40, []),
    (["--captioning-algorithm", "qwen3_vl_30b_fp8"], 24, [("_fp8 needs about 35 GB", "--captioning-engine endpoint")]),
    ([*COSMOS, *T5], 24, []),
    ([*COSMOS, *T5], 13, [("cosmos_r1", "vllm"), ("t5_11b", "bfloat16")]),
]


def required(flags: list[str]) -> tuple[Requirement, ...]:
    return required_models(parse(["--input-video-path", "in", "--output-clip-path", "out", *flags]).options)


@pytest.mark.parametrize(("flags", "gpu_gb", "expected"), GPUS)
def test_a_model_that_is_too_large_names_the_flag_that_makes_it_fit(
    flags: list[str], gpu_gb: float, expected: list[tuple[str, ...]]
) -> None:
    messages = list(too_large(required(flags), gpu_gb))
    assert len(messages) == len(expected)
    for message, parts in zip(messages, expected, strict=True):
        assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize(
    ("flags", "ram_gb", "bfloat16", "expected"),
    [
        ([], 1, True, []),
        (T5, 64, True, [("google-t5/t5-11b without a GPU", "about 20 GB of memory", "has 64 GB")]),
        (T5, 16, True, [("about 20 GB", "has 16 GB, which is too little")]),
        ([*T5, "--text-encoder-dtype", "bfloat16"], 16, True, [("about 10 GB of memory", "has 16 GB")]),
        (COSMOS, 32, True, [("Cosmos-Reason1-7B without a GPU", "about 19 GB", "has 32 GB")]),
        (COSMOS, 32, False, [("about 35 GB", "which is too little")]),
        ([*COSMOS, *VLLM], 32, True, []),
    ],
)
def test_without_a_gpu_a_user_is_told_how_slow_and_how_large(
    flags: list[str], ram_gb: float, bfloat16: bool, expected: list[tuple[str, ...]]
) -> None:
    messages = list(without_gpu(required(flags), ram_gb, bfloat16=bfloat16))
    assert len(messages) == len(expected)
    for message, parts in zip(messages, expected, strict=True):
        assert [part for part in parts if part not in message] == []
        assert ("too little" in message) == any("too little" in part for part in parts)
