"""Which models the flags of a run ask for."""

from __future__ import annotations

import pytest

from tests.support.plans import plan_of

PREDICT2 = ("--generate-cosmos-predict-dataset", "predict2")
ENDPOINT = ("--captioning-engine", "endpoint", "--captioning-endpoint", "http://127.0.0.1:8000/v1")
NEEDED = [
    ([], []),
    (["--text-encoder", "t5_11b"], []),
    (PREDICT2, ["t5_xxl"]),
    ([*PREDICT2, "--text-encoder", "t5_random"], []),
    (["--captioning-algorithm", "cosmos_r1"], ["cosmos_reason1"]),
    (["--captioning-algorithm", "cosmos_r2", *PREDICT2], ["cosmos_reason2", "t5_xxl"]),
    (["--captioning-algorithm", "qwen", "--captioning-engine", "vllm"], ["qwen2.5_vl"]),
    (["--captioning-algorithm", "qwen", *ENDPOINT], []),
    (["--captioning-algorithm", "openai", "--captioning-endpoint", "http://127.0.0.1:8000/v1"], []),
    (["--captioning-algorithm", "qwen3_vl_30b"], ["qwen3_vl_30b"]),
    (["--captioning-algorithm", "qwen3_vl_30b_fp8"], ["qwen3_vl_30b_fp8"]),
    (["--captioning-algorithm", "qwen", "--no-generate-captions"], []),
]


@pytest.mark.parametrize(("flags", "names"), NEEDED)
def test_a_run_needs_the_models_of_its_flags_only(flags: list[str], names: list[str]) -> None:
    assert [required.model.name for required in plan_of(*flags).required] == names
