"""What a user of the command line relies on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from beam_curate import __version__
from beam_curate.errors import UsageError
from beam_curate.options.flags import flags_of
from beam_curate.options.parse import GROUPS, Options, Parsed, flag_lines, parse
from beam_curate.options.run import default_workspace
from beam_curate.options.sources import parse_extensions

REFERENCE_COMMAND = (
    "--runner=DirectRunner --input-video-path nexar/train/positive/ --output-clip-path out/ "
    "--no-generate-embeddings --generate-cosmos-predict-dataset predict2 --splitting-algorithm transnetv2 "
    "--transnetv2-min-length-frames 120 --captioning-algorithm describe --text-encoder t5_random --limit 0"
)
IN_OUT = "--input-video-path in --output-clip-path out --no-generate-embeddings "


def parsed(line: str) -> Parsed:
    return parse(line.split())


def error(line: str) -> str:
    with pytest.raises(UsageError) as caught:
        parsed(line)
    return str(caught.value)


def help_text(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_the_command_line_of_the_manual() -> None:
    result = parsed(REFERENCE_COMMAND)
    options = result.options
    assert options.run.runner == "DirectRunner"
    assert options.input.input_video_path == "nexar/train/positive/"
    assert options.input.output_clip_path == "out/"
    assert options.input.limit == 0
    assert options.split.splitting_algorithm == "transnetv2"
    assert options.split.transnetv2_min_length_frames == 120
    assert options.caption.captioning_algorithm == "describe"
    assert options.text.text_encoder == "t5_random"
    assert options.dataset.generate_cosmos_predict_dataset == "predict2"
    assert result.beam_args == ()
    assert result.notes == ("--text-encoder t5_random makes embeddings without meaning: do not train on this dataset",)


@pytest.mark.parametrize(
    ("flags", "engine"),
    [
        ("", "measures"),
        ("--captioning-algorithm cosmos_r1", "transformers"),
        ("--captioning-algorithm cosmos_r1 --captioning-engine vllm", "vllm"),
        ("--captioning-algorithm openai --captioning-endpoint http://h/v1", "endpoint"),
        ("--captioning-algorithm cosmos_r2 --captioning-engine endpoint --captioning-endpoint http://h/v1", "endpoint"),
    ],
)
def test_the_engine_follows_from_the_algorithm_unless_it_is_named(flags: str, engine: str) -> None:
    assert parsed(IN_OUT + flags).options.caption.engine == engine


@pytest.mark.parametrize("prompt", ['Say "what" {happens} %s\n\n🚗', " ", "--like-a-flag"])
def test_a_prompt_of_ones_own_stays_as_it_is(prompt: str) -> None:
    line = [*IN_OUT.split(), "--captioning-algorithm", "cosmos_r1", f"--captioning-prompt-text={prompt}"]
    if prompt.strip():
        assert parse(line).options.caption.captioning_prompt_text == prompt
    else:
        with pytest.raises(UsageError, match="--captioning-prompt-text is empty"):
            parse(line)


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("", ["input", "output"]),
        ("--runner=DirectRunner", ["input", "output"]),
        ("--output-clip-path out", ["input"]),
        ("--input-video-path in", ["output"]),
        ("--input-video-list-json-path list.json", ["output"]),
    ],
)
def test_a_missing_input_or_output_is_a_mistake(line: str, missing: list[str]) -> None:
    sentences = {
        "input": "no input: name your videos with --input-video-path PATH or --input-video-list-json-path FILE "
        "(beam-curate demo makes and curates a sample video)",
        "output": "--output-clip-path is missing: name the folder for clips and dataset",
    }
    assert error(line).splitlines() == [sentences[name] for name in missing]
    assert parse(line.split(), for_run=False)


@pytest.mark.parametrize("empty", [["--input-video-path", ""], ["--input-video-path="]])
def test_an_empty_variable_of_a_script_is_a_mistake(empty: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse([*empty, "--output-clip-path=out"])
    assert str(caught.value) == "--input-video-path needs a value and got an empty text: --input-video-path PATH"


def test_defaults() -> None:
    lines = flag_lines(parsed(IN_OUT).options)
    expected = {
        "fixed_stride_split_duration": 10.0,
        "fixed_stride_min_clip_length_s": 2.0,
        "transnetv2_threshold": 0.4,
        "transnetv2_min_length_s": 2.0,
        "transnetv2_min_length_frames": 48,
        "transnetv2_max_length_s": 60.0,
        "transnetv2_max_length_mode": "stride",
        "transnetv2_crop_s": 0.5,
        "clip_re_chunk_size": 32,
        "decode_timeout_s": 300.0,
        "decode_memory_mb": 4096,
        "transcode_encoder": "libx264",
        "transcode_encoder_threads": 1,
        "transcode_crf": 18,
        "transcode_preset": "veryfast",
        "transcode_bit_rate_kbps": None,
        "transcode_max_output_frames": None,
        "generate_captions": True,
        "captioning_window_size": 256,
        "captioning_remainder_threshold": 128,
        "text_encoder": "t5_11b",
        "generate_cosmos_predict_dataset": "disable",
        "predict2_min_frames": 94,
        "validation_fraction": 0.0,
        "write_all_caption_json": None,
        "write_video_summaries": None,
        "runner": "DirectRunner",
        "max_failure_ratio": None,
        "threads": None,
    }
    assert {name: lines[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("--fixed_stride_split_duration 2.5", "fixed_stride_split_duration", 2.5),
        ("--splitting-algorithm=fixed-stride", "splitting_algorithm", "fixed-stride"),
        ("--no-generate-captions", "generate_captions", False),
        ("--no-write-all-caption-json", "write_all_caption_json", False),
        ("--write-all-caption-json", "write_all_caption_json", True),
        ("--no-write-video-summaries", "write_video_summaries", False),
        ("--keep-duplicates", "keep_duplicates", True),
        ("--input-extensions MP4,.Mov", "input_extensions", ".mp4,.mov"),
        ("--input-video-list-json-path list.json", "input_video_list_json_path", "list.json"),
        ("--max-failure-ratio 1", "max_failure_ratio", 1.0),
        ("--validation-fraction 0.1", "validation_fraction", 0.1),
        ("--threads 1", "threads", 1),
        ("--transcode-bit-rate-kbps 4000", "transcode_bit_rate_kbps", 4000),
        ("--transcode-crf 0", "transcode_crf", 0),
        ("--runner FlinkRunner", "runner", "FlinkRunner"),
        ("--workspace=/models", "workspace", "/models"),
    ],
)
def test_values_reach_their_option(line: str, name: str, value: object) -> None:
    assert flag_lines(parsed(IN_OUT + line).options)[name] == value


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--input-video-path in", "--output-clip-path is missing"),
        ("--input-video-list-json-path list.json", "--output-clip-path is missing"),
        (IN_OUT + "--limit -1", "--limit is -1: it must be at least 0 and at most 1,000,000,000 (videos)"),
        (IN_OUT + "--limit many", "--limit is 'many': give a whole number"),
        (IN_OUT + "--limit-clips=-2", "--limit-clips"),
        (IN_OUT + "--fixed-stride-split-duration 0", "at least 0.1 and at most 86,400 (seconds)"),
        (IN_OUT + "--transnetv2-threshold 1.5", "at least 0 and at most 1"),
        (IN_OUT + "--transnetv2-threshold nan", "give a finite number"),
        (IN_OUT + "--transnetv2-max-length-s 1", "below --transnetv2-min-length-s 2"),
        (IN_OUT + "--captioning-window-size 100", "--captioning-remainder-threshold 128 is above"),
        (
            IN_OUT + "--captioning-algorithm gemini",
            "--captioning-algorithm gemini is not supported yet: use describe or qwen or cosmos_r1",
        ),
        (IN_OUT + "--captioning-algorithm openai", "name it with --captioning-endpoint URL"),
        (IN_OUT + "--captioning-algorithm openai --captioning-engine vllm", "so its engine is endpoint"),
        (IN_OUT + "--captioning-algorithm qwen --captioning-endpoint http://h/v1", "add --captioning-engine endpoint"),
        (IN_OUT + "--captioning-endpoint http://h/v1", "is not used by --captioning-algorithm describe"),
        (IN_OUT + "--captioning-algorithm openai --captioning-endpoint h:8000", "give a URL such as http://"),
        (IN_OUT + "--captioning-algorithm openai --captioning-endpoint http://me:key@h/v1", "OPENAI_API_KEY"),
        (IN_OUT + "--captioning-algorithm qwen --qwen-use-fp8-weights", "add --captioning-engine vllm"),
        (IN_OUT + "--captioning-algorithm qwen --captioning-max-output-tokens 0", "or a negative one for no limit"),
        (IN_OUT + "--captioning-algorithm qwen --captioning-max-output-tokens 9", "--vllm-sampling-min-tokens 16"),
        (IN_OUT + "--captioning-sampling-fps 0", "above 0"),
        (IN_OUT + "--openai-model-name gpt", "--openai-model-name is --captioning-endpoint-model here"),
        (IN_OUT + "--captioning-algorithm quen", "--captioning-algorithm is 'quen': choose describe"),
        (IN_OUT + "--captoning-algorithm x", "did you mean --captioning-algorithm?"),
        (IN_OUT + "--splitting-algorithm scenes", "choose transnetv2 or fixed-stride"),
        (IN_OUT + "--transcode-crf 52", "at least 0 and at most 51"),
        (IN_OUT + "--transcode-preset turbo", "veryfast"),
        (IN_OUT + "--transcode-use-input-video-bit-rate --transcode-bit-rate-kbps 9", "contradicts"),
        (IN_OUT + "--validation-fraction 1", "below 1"),
        (IN_OUT + "--max-failure-ratio 1.1", "at most 1"),
        (IN_OUT + "--predict2-min-frames 0", "at least 1"),
        (IN_OUT + "--threads 0", "at least 1"),
        (IN_OUT + "--input-extensions mp4;mov", "--input-extensions is 'mp4;mov': give extensions"),
        (IN_OUT + "--input-extensions ,", "separated by commas"),
        (IN_OUT + "--no-upload-clips", "--no-upload-clips is not supported yet"),
        (IN_OUT + "--generate-cosmos-predict-dataset predict2 --no-generate-captions", "needs captions"),
        (
            IN_OUT + "--generate-cosmos-predict-dataset predict2 --captioning-window-size 40 "
            "--captioning-remainder-threshold 20",
            "the dataset would be empty: raise --captioning-window-size",
        ),
        (
            "--input-video-path https://b/in --output-clip-path out",
            "give s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a path",
        ),
        ("--input-video-path in --output-clip-path gs:///out", "--output-clip-path is 'gs:///out'"),
        ("--input-video-path in --output-clip-path az://b/out", "--output-clip-path is 'az://b/out': give s3://BUCKET"),
        ("in out", "'in' belongs to no flag"),
        ("--config missing.yaml", "--config missing.yaml cannot be read"),
    ],
)
def test_mistakes_name_problem_flag_and_mend(line: str, message: str) -> None:
    assert message in error(line)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("limit: x\nthreads: 0\nvebose: true\nqwen_use_fp8_weights: true\n")
    message = error(f"--inptu-extensions mp4 --limit -1 --captioning-algorithm quen --hdr=keep --hdr --config {path}")
    assert message.splitlines() == [
        "unknown flag --inptu-extensions; did you mean --input-extensions?",
        "--hdr needs a value: --hdr {tonemap,keep}",
        f"{path}: unknown key vebose; did you mean verbose?",
        "--limit is -1: it must be at least 0 and at most 1,000,000,000 (videos)",
        "--captioning-algorithm is 'quen': choose describe or qwen or cosmos_r1 or cosmos_r2 or qwen3_vl_30b or "
        "qwen3_vl_30b_fp8 or openai",
        f"{path}: --threads is 0: it must be at least 1 and at most 256 (threads)",
        "no input: name your videos with --input-video-path PATH or --input-video-list-json-path FILE "
        "(beam-curate demo makes and curates a sample video)",
        "--output-clip-path is missing: name the folder for clips and dataset",
        "--qwen-use-fp8-weights is done by vLLM: add --captioning-engine vllm, or leave it out",
    ]


@pytest.mark.parametrize(
    ("line", "mistakes"),
    [
        ("--input-vidoe-path in --output-clip-path out", 1),
        ("--input-video-path in --output-clip-path az://out", 1),
        ("--config missing.yaml", 1),
        (IN_OUT + "--transnetv2-max-length-s x --transnetv2-min-length-s 90", 1),
        (IN_OUT + "--transnetv2-max-length-s 1 --transcode-crf 99", 2),
    ],
)
def test_what_follows_from_a_mistake_is_not_told(line: str, mistakes: int) -> None:
    assert len(error(line).splitlines()) == mistakes


@pytest.mark.parametrize("flag", ["--workers", "--num-workers", "--jobs"])
def test_other_words_for_threads_lead_to_the_flag(flag: str) -> None:
    assert error(f"{IN_OUT} {flag} 2") == f"unknown flag {flag}; did you mean --threads?"


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (IN_OUT, None),
        (IN_OUT.replace("--no-generate-embeddings", ""), "video embeddings are not supported yet"),
        (IN_OUT + "--validation-fraction 0.1", "--validation-fraction has no effect"),
        (IN_OUT + "--generate-cosmos-predict-dataset predict2 --validation-fraction 0.1", None),
        (
            IN_OUT + "--generate-cosmos-predict-dataset predict2 --predict2-min-frames 93",
            "94 frames (93 + 1)",
        ),
        (IN_OUT + "--threads 256", "--threads 256 is more than this program's"),
        (IN_OUT + "--threads 1", None),
    ],
)
def test_notes(line: str, note: str | None) -> None:
    notes = parsed(line).notes
    assert notes == () if note is None else note in notes[0]


def test_flags_of_beam_are_passed_on() -> None:
    result = parsed(IN_OUT + "--direct_num_workers 4 --limit 2 --experiments=x -- --of_a_job_server=1")
    assert result.beam_args == ("--direct_num_workers", "4", "--experiments=x", "--of_a_job_server=1")
    assert result.options.input.limit == 2


def test_the_command_line_overrules_the_config_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("limit: 5\ngenerate_captions: false\noutput_clip_path: out\nthreads: 2\n")
    in_file = parse(["--config", str(path), "--input-video-path=in"])
    assert in_file.options.input.limit == 5
    assert not in_file.options.caption.generate_captions
    over = parse(["--limit=7", f"--config={path}", "--generate-captions", "--input-video-path=in"])
    assert over.options.input.limit == 7
    assert over.options.caption.generate_captions
    assert over.options.run.threads == 2


def test_a_config_file_says_that_embeddings_are_off(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    args = {"input_video_path": "in", "output_clip_path": "out", "generate_embeddings": False}
    path.write_text(json.dumps({"pipeline": "split", "args": args}))
    assert parse(["--config", str(path)]).notes == ()


def test_recorded_options_are_a_config_file(tmp_path: Path) -> None:
    options = parsed(IN_OUT + "--limit 3 --no-generate-captions --input-extensions mp4,mov").options
    lines = flag_lines(options)
    assert len(lines) == sum(len(flags_of(group)) for group in GROUPS.values())
    path = tmp_path / "options.json"
    path.write_text(json.dumps(lines))
    again = flag_lines(parse([f"--config={path}"]).options)
    assert again == lines | {"config": str(path)}


def test_the_workspace_is_where_cosmos_curate_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSMOS_CURATE_LOCAL_WORKSPACE_PREFIX", "/data")
    assert parse([], for_run=False).options.run.workspace == "/data/cosmos_curate_local_workspace"
    monkeypatch.setenv("COSMOS_CURATE_LOCAL_WORKSPACE_PREFIX", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_workspace() == "/home/me/cosmos_curate_local_workspace"


def test_without_a_home_folder_the_workspace_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("COSMOS_CURATE_LOCAL_WORKSPACE_PREFIX", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(UsageError, match="--workspace"):
        parse([], for_run=False)
    assert parse(["--workspace=w"], for_run=False).options.run.workspace == "w"


def test_the_home_sign_is_understood_in_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parse(["--output-clip-path=~/out"], for_run=False).options.input.output_clip_path == "/home/me/out"


def test_options_can_be_made_without_a_command_line() -> None:
    assert Options().split.transnetv2_crop_s == 0.5
    assert [*GROUPS, "plugins"] == list(Options.__dataclass_fields__)


def test_extensions() -> None:
    assert parse_extensions(" .MP4, mov ,mp4") == (".mp4", ".mov")


def test_every_flag_shows_in_help_with_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_text(capsys)
    flat = " ".join(shown.split())
    for group in GROUPS.values():
        assert f"{(group.__doc__ or '').splitlines()[0].rstrip('.')}:" in shown
        for known in flags_of(group):
            assert f"\n  {known.option}" in shown
            assert len(known.help_text) > 30
            assert known.help_text.endswith((".", "0", "1"))
            assert " ".join(known.help.split()) in flat


def test_help_leads_on(capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_text(capsys)
    assert "Flags of Apache Beam are passed on" in shown
    assert max(len(line) for line in shown.splitlines()[3:]) <= 100
    examples = shown.split("Examples:")[1].split("Exit status:")[0].replace("\\\n", " ")
    commands = [line for line in examples.splitlines() if "--input-video-path" in line]
    assert len(commands) == 2
    for line in commands:
        parsed(line.split("beam-curate split")[1])


def test_help_wins_over_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--nonsense --help")
    assert "Input and output:" in capsys.readouterr().out


def test_no_default_is_said_to_be_none(capsys: pytest.CaptureFixture[str]) -> None:
    shown = " ".join(help_text(capsys).split()).lower()
    assert "default: none" not in shown
    assert "default: )" not in shown


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"beam-curate {__version__}\n"


def test_a_command_line_costs_no_import_of_beam_torch_or_av() -> None:
    program = (
        "import sys\n"
        "from beam_curate.options.parse import parse\n"
        f"parse({REFERENCE_COMMAND.split()!r} + ['--direct_num_workers=2'])\n"
        "for argv in (['--nonsense'], ['--limit=x']):\n"
        "    try: parse(argv)\n"
        "    except Exception as error: assert type(error).__name__ == 'UsageError', error\n"
        "try: parse(['--help'])\n"
        "except SystemExit as error: assert error.code == 0\n"
        "assert not {'apache_beam', 'torch', 'av', 'yaml', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
