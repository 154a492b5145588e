"""Which model the options name, and what runs it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from beam_curate.captions.frames import FrameSampling
from beam_curate.captions.vlm_captioner import VlmCaptioner
from beam_curate.engines.base import SamplingParams
from beam_curate.options.parse import Options, parse
from beam_curate.plan import engines
from beam_curate.plan.captions import DescribeCaptioner, captioner

SERVER = "--captioning-engine endpoint --captioning-endpoint http://127.0.0.1:1/v1"


def options(flags: str) -> Options:
    return parse(f"--input-video-path in --output-clip-path out --workspace nowhere {flags}".split()).options


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("--captioning-algorithm cosmos_r1", "cosmos_reason1"),
        ("--captioning-algorithm cosmos_r2", "cosmos_reason2"),
        ("--captioning-algorithm qwen", "qwen2.5_vl"),
        ("--captioning-algorithm qwen3_vl_30b", "qwen3_vl_30b"),
    ],
)
def test_models_in_the_worker_have_one_user_at_a_time(flags: str, name: str) -> None:
    reference = engines.engine_reference(options(flags))
    assert reference.name == name and not reference.shared


@pytest.mark.parametrize(
    "flags",
    [
        f"--captioning-algorithm openai {SERVER}",
        f"--captioning-algorithm cosmos_r1 {SERVER}",
        "--captioning-algorithm cosmos_r1 --captioning-engine vllm",
    ],
)
def test_servers_serve_several_threads_at_once(flags: str) -> None:
    reference = engines.engine_reference(options(flags))
    assert reference.shared and len(pickle.dumps(reference)) < 4000


@pytest.mark.parametrize(
    ("flags", "rules"),
    [
        ("--captioning-algorithm qwen", FrameSampling(2.0, 28, 24576, 2)),
        ("--captioning-algorithm qwen3_vl_30b", FrameSampling(2.0, 32, 12288, 2)),
        ("--captioning-algorithm qwen3_vl_30b_fp8", FrameSampling(2.0, 32, 12288, 2)),
        # video_preprocessor_config.json of Qwen3-VL: longest_edge 25165824 = 12288 * 2 * 32 ** 2
        # configs/vision_config.yaml of cosmos-reason1: fps 4, total_pixels 12845056 = 16384 * 28 ** 2
        ("--captioning-algorithm cosmos_r1", FrameSampling(4.0, 28, 16384, 2)),
        ("--captioning-algorithm cosmos_r2", FrameSampling(4.0, 32, 12288, 2)),
        ("--captioning-algorithm cosmos_r2 --captioning-sampling-fps 2", FrameSampling(2.0, 32, 12288, 2)),
        ("--captioning-algorithm qwen --captioning-sampling-fps 0.5", FrameSampling(0.5, 28, 24576, 2)),
        (f"--captioning-algorithm openai {SERVER}", FrameSampling(2.0, 28, 16384, 1)),
        (f"--captioning-algorithm cosmos_r1 {SERVER}", FrameSampling(4.0, 28, 16384, 1)),
        (f"--captioning-algorithm cosmos_r1 {SERVER} --captioning-endpoint-media mp4", FrameSampling(4.0, 28, 16384)),
        ("--captioning-algorithm cosmos_r2 --captioning-engine vllm", FrameSampling(4.0, 32, 12288, 1)),
        (
            "--captioning-algorithm cosmos_r2 --captioning-engine vllm --captioning-endpoint-media mp4",
            FrameSampling(4.0, 32, 12288, 2),
        ),
    ],
)
def test_a_model_looks_at_video_as_its_makers_have_it(flags: str, rules: FrameSampling) -> None:
    worker = captioner(options(flags))
    assert isinstance(worker, VlmCaptioner) and worker.frame_sampling == rules


@pytest.mark.parametrize("engine", ["", "--captioning-engine vllm", SERVER])
@pytest.mark.parametrize("algorithm", ["cosmos_r1", "cosmos_r2"])
def test_what_a_model_is_told_is_the_same_on_each_engine(algorithm: str, engine: str) -> None:
    worker = captioner(options(f"--captioning-algorithm {algorithm} {engine}"))
    assert isinstance(worker, VlmCaptioner)
    assert worker.prompts.system is not None and worker.prompts.system.startswith("You are a helpful assistant.")
    assert ("<think>" in worker.prompts.system, "<think>" in worker.prompts.first_message) == (
        algorithm == "cosmos_r1",
        algorithm != "cosmos_r1",
    )


def test_sampling_params_are_what_the_flags_say() -> None:
    flags = (
        "--captioning-max-output-tokens 100 --vllm-sampling-temperature 0.5 --vllm-sampling-top-p 0.6 "
        "--vllm-sampling-top-k 7 --vllm-sampling-repetition-penalty 1.1 --vllm-sampling-presence-penalty 0.2 "
        "--vllm-sampling-frequency-penalty 0.3 --vllm-sampling-min-p 0.4 --vllm-sampling-min-tokens 5"
    )
    assert engines.sampling_params(options(flags).caption) == SamplingParams(100, 0.5, 0.6, 7, 1.1, 0.2, 0.3, 0.4, 5)
    assert engines.sampling_params(options("--captioning-max-output-tokens -1").caption).max_output_tokens is None


def test_measures_need_no_model() -> None:
    worker = captioner(options(""))
    assert isinstance(worker, DescribeCaptioner) and worker.model is None


def test_a_captioner_reads_no_file_before_it_works(tmp_path: Path) -> None:
    worker = captioner(options("--captioning-algorithm cosmos_r1"))
    assert len(pickle.dumps(worker)) < 4000
    assert list(tmp_path.iterdir()) == []
