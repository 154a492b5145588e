"""Which option redoes which stages: its own and what follows, and nothing that came before."""

from __future__ import annotations

import dataclasses

import pytest

from beam_curate.options.parse import parse
from beam_curate.plan.fingerprints import Fingerprints, fingerprints

DATASET = ["--input-video-path", "in", "--output-clip-path", "out", "--generate-cosmos-predict-dataset", "predict2"]
FIXED = ["--splitting-algorithm", "fixed-stride"]
STAGES = [field.name for field in dataclasses.fields(Fingerprints)]
NOTHING: list[str] = []


def of(*flags: str) -> Fingerprints:
    return fingerprints(parse([*DATASET, *flags]).options)


def changed(one: Fingerprints, other: Fingerprints) -> list[str]:
    return [stage for stage in STAGES if getattr(one, stage) != getattr(other, stage)]


def since(stage: str) -> list[str]:
    return STAGES[STAGES.index(stage) :]


CASES = [
    ("--transnetv2-threshold 0.5", since("shots")),
    ("--transnetv2-min-length-s 3", since("shots")),
    ("--transnetv2-min-length-frames 120", since("shots")),
    ("--transnetv2-max-length-s 30", since("shots")),
    ("--transnetv2-max-length-mode truncate", since("shots")),
    ("--transnetv2-crop-s 0", since("shots")),
    ("--fast-shots", since("shots")),
    ("--splitting-algorithm fixed-stride", since("shots")),
    ("--limit-clips 3", since("shots")),
    ("--fixed-stride-split-duration 5", NOTHING),
    ("--fixed-stride-min-clip-length-s 1", NOTHING),
    ("--clip-re-chunk-size 8", since("clips")),
    ("--transcode-crf 23", since("clips")),
    ("--transcode-preset medium", since("clips")),
    ("--transcode-encoder libopenh264", since("clips")),
    ("--transcode-encoder-threads 4", since("clips")),
    ("--transcode-bit-rate-kbps 4000", since("clips")),
    ("--transcode-use-input-video-bit-rate", since("clips")),
    ("--transcode-max-output-frames 200", since("clips")),
    ("--captioning-window-size 200", since("captions")),
    ("--captioning-remainder-threshold 94", since("captions")),
    ("--text-encoder t5_random", since("text")),
    ("--predict2-min-frames 120", since("text")),
    ("--validation-fraction 0.1", ["done"]),
    ("--keep-duplicates", ["done"]),
    ("--limit 3", NOTHING),
    ("--decode-timeout-s 10", ["done"]),
    ("--decode-memory-mb 1000", ["done"]),
    ("--no-write-all-caption-json", NOTHING),
    ("--input-extensions mp4", NOTHING),
    ("--retry-failed", NOTHING),
    ("--repair", NOTHING),
    ("--max-failure-ratio 0.5", NOTHING),
    ("--threads 2", NOTHING),
    ("--verbose", NOTHING),
    ("--workspace elsewhere", NOTHING),
    ("--runner PrismRunner", NOTHING),
]


@pytest.mark.parametrize(("flags", "stages"), CASES, ids=[case[0] for case in CASES])
def test_what_an_option_redoes(flags: str, stages: list[str]) -> None:
    assert changed(of(), of(*flags.split())) == stages


MODEL = ["--captioning-algorithm", "cosmos_r1"]
SERVER = ["--captioning-algorithm", "openai", "--captioning-endpoint", "http://127.0.0.1:8000/v1"]
OF_MODELS = [
    ("--captioning-prompt-variant av", since("captions")),
    ("--captioning-prompt-text Look!", since("captions")),
    ("--captioning-sampling-fps 3", since("captions")),
    ("--captioning-max-output-tokens 100", since("captions")),
    ("--qwen-stage2-caption", since("captions")),
    ("--vllm-sampling-temperature 0.5", since("captions")),
    ("--vllm-sampling-top-p 0.5", since("captions")),
    ("--vllm-sampling-top-k 5", since("captions")),
    ("--vllm-sampling-repetition-penalty 1", since("captions")),
    ("--vllm-sampling-presence-penalty 1", since("captions")),
    ("--vllm-sampling-frequency-penalty 1", since("captions")),
    ("--vllm-sampling-min-p 0.1", since("captions")),
    ("--vllm-sampling-min-tokens 1", since("captions")),
]
OF_THE_WORKER = [
    ("--captioning-batch-tokens 1000", since("captions")),
    ("--captioning-engine vllm", since("captions")),
    ("--captioning-engine vllm --qwen-use-fp8-weights", since("captions")),
    ("--captioning-algorithm cosmos_r2", since("captions")),
]
OF_SERVERS = [
    ("--captioning-endpoint-model other", since("captions")),
    ("--captioning-endpoint-media mp4", since("captions")),
    ("--captioning-endpoint http://10.0.0.1/v1", NOTHING),
    ("--captioning-batch-tokens 1000", NOTHING),
    ("--api-caption-batch-size 1", NOTHING),
    ("--openai-caption-retries 9", NOTHING),
    ("--openai-retry-delay-seconds 9", NOTHING),
    ("--openai-timeout-s 9", NOTHING),
]
OF_NONE = [
    ("--vllm-command vllm2", NOTHING),
    ("--vllm-start-timeout-s 9", NOTHING),
    ("--qwen-stage2-prompt-text Better!", NOTHING),  # without a second pass
]


@pytest.mark.parametrize(("flags", "stages"), [*OF_MODELS, *OF_THE_WORKER, *OF_NONE])
def test_what_an_option_redoes_with_a_model(flags: str, stages: list[str]) -> None:
    assert changed(of(*MODEL), of(*MODEL, *flags.split())) == stages


@pytest.mark.parametrize(("flags", "stages"), [*OF_MODELS, *OF_SERVERS, *OF_NONE])
def test_what_an_option_redoes_with_a_server(flags: str, stages: list[str]) -> None:
    assert changed(of(*SERVER), of(*SERVER, *flags.split())) == stages


@pytest.mark.parametrize("flags", [case[0] for case in [*OF_MODELS, *OF_NONE] if "engine" not in case[0]])
def test_measured_captions_do_not_depend_on_how_models_are_asked(flags: str) -> None:
    assert changed(of(), of(*flags.split())) == NOTHING


def test_the_algorithm_and_fp8_weights_redo_captions() -> None:
    assert changed(of(), of(*MODEL)) == since("captions")
    served = [*MODEL, "--captioning-engine", "vllm"]
    assert changed(of(*served), of(*served, "--qwen-use-fp8-weights")) == since("captions")
    assert changed(of(*served), of(*served, "--captioning-batch-tokens", "1000")) == NOTHING
    refined = [*MODEL, "--qwen-stage2-caption"]
    assert changed(of(*refined), of(*refined, "--qwen-stage2-prompt-text", "Better!")) == since("captions")


FIXED_CASES = [
    ("--fixed-stride-split-duration 5", since("shots")),
    ("--fixed-stride-split-duration 10.0", NOTHING),  # the default, spelled otherwise
    ("--fixed-stride-min-clip-length-s 1", since("shots")),
    ("--limit-clips 3", since("shots")),
    ("--transnetv2-threshold 0.5", NOTHING),
    ("--transnetv2-crop-s 0", NOTHING),
    ("--fast-shots", NOTHING),
    ("--transcode-crf 23", since("clips")),
]


@pytest.mark.parametrize(("flags", "stages"), FIXED_CASES, ids=[case[0] for case in FIXED_CASES])
def test_what_an_option_redoes_with_a_fixed_stride(flags: str, stages: list[str]) -> None:
    assert changed(of(*FIXED), of(*FIXED, *flags.split())) == stages


def test_without_a_dataset_its_options_change_nothing() -> None:
    off = ["--generate-cosmos-predict-dataset", "disable"]
    for flags in ("--text-encoder t5_random", "--predict2-min-frames 120", "--validation-fraction 0.1"):
        assert changed(of(*off), of(*off, *flags.split())) == []
    assert changed(of(), of(*off)) == since("text")


def test_captions_can_be_added_to_clips() -> None:
    off = ["--generate-cosmos-predict-dataset", "disable"]
    without = of(*off, "--no-generate-captions")
    assert changed(of(*off), without) == since("captions")
    assert changed(without, of(*off, "--no-generate-captions", "--captioning-window-size", "200")) == []


def test_fingerprints_differ_from_stage_to_stage_and_name_folders() -> None:
    values = dataclasses.astuple(of())
    assert len(set(values)) == len(values)
    assert all(len(value) == 16 and value.isalnum() for value in values)
    assert of() == of()
