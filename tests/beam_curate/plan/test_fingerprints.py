"""Which option redoes which stages: its own and what follows, and nothing that came before."""

from __future__ import annotations

import dataclasses
import json

import pytest

from beam_curate.models.slot import ModelRef
from beam_curate.plan.fingerprints import fingerprint
from beam_curate.stage import Stage
from beam_curate.text_embeddings.stage import CaptionEncoder
from tests.support.plans import plan_of

DATASET = ["--generate-cosmos-predict-dataset", "predict2"]
FIXED = ["--splitting-algorithm", "fixed-stride"]
STAGES = ["shots", "clips", "captions", "text", "windows", "done"]
NOTHING: list[str] = []


def of(*flags: str) -> dict[str, str]:
    """Returns the fingerprints by stage; a stage that is left out has that of the one before it."""
    plan = plan_of(*DATASET, *flags)
    found = {planned.name: planned.results.fingerprint for planned in plan.stages}
    before = ""
    for stage in STAGES[:-1]:
        before = found.setdefault(stage, before)
    return found | {"done": plan.context.fingerprint}


def changed(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return [stage for stage in STAGES if one[stage] != other[stage]]


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
    ("--no-write-video-summaries", NOTHING),
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
    values = list(of().values())
    assert len(set(values)) == len(values)
    assert all(len(value) == 16 and value.isalnum() for value in values)
    assert of() == of()


@pytest.mark.parametrize("flag", ["--motion-filter=enable", "--motion-filter=score-only", "--aesthetic-threshold=3.5"])
def test_a_filter_redoes_nothing_but_the_end(flag: str) -> None:
    assert changed(of(), of(flag)) == ["done"]


def test_a_threshold_scores_nothing_anew() -> None:
    def score(*flags: str) -> str:
        plan = plan_of("--motion-filter", "enable", *flags)
        return next(planned.results.fingerprint for planned in plan.stages if planned.name == "motion")

    for flags in (["--motion-global-mean-threshold", "0.1"], ["--motion-per-patch-min-256-threshold", "0.1"]):
        assert score(*flags) == score()
        assert changed(of("--motion-filter=enable"), of("--motion-filter=enable", *flags)) == ["done"]
        assert changed(of(), of(*flags)) == NOTHING  # without the filter
    assert score("--motion-decode-target-fps", "4") != score()
    assert score("--transcode-crf", "23") != score() == score("--captioning-window-size", "200")


COMMANDS = [[], FIXED, [*MODEL, "--motion-filter=enable", "--aesthetic-threshold=3.5"]]


def every_stage() -> list[Stage]:
    """Every kind of stage there is, each once."""
    found = {type(planned.stage): planned.stage for flags in COMMANDS for planned in plan_of(*DATASET, *flags).stages}
    return list(found.values())


def test_every_stage_class_is_looked_at_here() -> None:
    def concrete(kind: type[Stage]) -> set[type[Stage]]:
        below = [kind for kind in kind.__subclasses__() if kind.__module__.startswith("beam_curate.")]
        return set().union(*(concrete(one) for one in below)) if below else {kind}

    assert concrete(Stage) == {type(stage) for stage in every_stage()}


@pytest.mark.parametrize("stage", every_stage(), ids=lambda stage: type(stage).__name__)
def test_each_field_of_a_stage_is_part_of_its_identity_or_declared_transient(stage: Stage) -> None:
    fields = {field.name for field in dataclasses.fields(stage)}
    assert set(stage.identity()) == fields - stage.transient
    assert stage.transient <= fields
    json.dumps(stage.identity())


def leaves(value: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(value, dict):
        return [leaf for key, below in value.items() for leaf in leaves(below, (*path, key))]
    return [path]


def with_another(value: dict, path: tuple[str, ...]) -> dict:
    key, *rest = path
    return value | {key: with_another(value[key], tuple(rest)) if rest else "another"}


@pytest.mark.parametrize("stage", every_stage(), ids=lambda stage: type(stage).__name__)
def test_another_value_of_any_part_of_the_identity_is_another_fingerprint(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = stage.identity()
    found = {fingerprint(stage, "before"), fingerprint(stage, "elsewhere")}
    for path in leaves(identity):
        monkeypatch.setattr(type(stage), "identity", lambda self, path=path: with_another(identity, path))
        found.add(fingerprint(stage, "before"))
    assert len(found) == 2 + len(leaves(identity))


def test_a_model_without_an_identity_is_refused() -> None:
    nameless = CaptionEncoder(ModelRef("nameless", str), min_frames=94)
    with pytest.raises(ValueError, match="the model nameless states no identity"):
        fingerprint(nameless, "")
