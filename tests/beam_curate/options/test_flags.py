"""The machinery: flags from dataclasses, sorting of arguments, config files, what is refused and how."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from beam_curate.errors import UsageError
from beam_curate.options.beam_flags import beam_flags
from beam_curate.options.command_line import Arguments, sort_arguments
from beam_curate.options.config_file import read_config
from beam_curate.options.cosmos_curate import UNSUPPORTED, opposite
from beam_curate.options.flags import Group, LocalPath, by_name, check_values, flag, flags_of, same_flag
from beam_curate.options.help import Parser, add_groups


@dataclasses.dataclass(frozen=True)
class Kitchen(Group):
    """Cooking.

    More words that are not the title.
    """

    dish: Literal["soup", "stew"] = flag("soup", "What to cook.", planned=("roast",))
    boil_time_s: float = flag(10.0, "How long; 50% more at altitude.", unit="seconds", gt=0, le=60)
    guests: int | None = flag(None, "Who comes.", ge=1, shown_default="nobody")
    share: float = flag(0.0, "Left over.", ge=0, lt=1)
    with_salt: bool = flag(True, "Leave out the salt.")
    serve: bool = flag(False, "Serve it.")
    cook_book: LocalPath | None = flag(None, "A file.", metavar="FILE")
    config: LocalPath | None = flag(None, "A config file.")

    def contradictions(self) -> Iterator[str]:
        if self.dish == "stew" and not self.with_salt:
            yield "stew needs salt"


KNOWN = by_name([Kitchen])


def cook(*argv: str) -> tuple[Kitchen, list[str]]:
    """The group that a command line makes, and what is wrong with its values."""
    kitchen, mistakes = check_values(Kitchen, sort_arguments(argv, KNOWN).values)
    return kitchen, list(mistakes.values())


def sorting_error(*argv: str) -> str:
    problems = sort_arguments(argv, KNOWN).problems
    assert problems
    return "\n".join(problems)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], {}),
        (["--boil-time-s", "3"], {"boil_time_s": 3.0}),
        (["--boil_time_s=3.5"], {"boil_time_s": 3.5}),
        (["--guests", "+1"], {"guests": 1}),
        (["--no-with-salt"], {"with_salt": False}),
        (["--no_with_salt"], {"with_salt": False}),
        (["--no-with-salt", "--with-salt"], {"with_salt": True}),
        (["--serve", "--no-serve"], {"serve": False}),
        (["--dish=stew", "--dish", "soup"], {"dish": "soup"}),
        (["--cook-book", "a b/=c"], {"cook_book": "a b/=c"}),
        (["--cook-book=--odd"], {"cook_book": "--odd"}),
    ],
)
def test_values_are_read_by_type_in_both_spellings(argv: list[str], expected: dict[str, Any]) -> None:
    assert cook(*argv) == (Kitchen(**expected), [])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--boil-time-s", "long"], ["--boil-time-s", "'long'", "a number"]),
        (["--guests=1.5"], ["--guests", "whole number"]),
        (["--cook-book", "s3://bucket/book"], ["--cook-book", "path on this computer"]),
        (["--cook-book", "file:///book"], ["--cook-book", "without file://"]),
    ],
)
def test_a_text_of_the_wrong_kind_names_flag_and_mend(argv: list[str], words: list[str]) -> None:
    kitchen, (mistake,) = cook(*argv)
    assert kitchen == Kitchen()
    assert all(word in mistake for word in words)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"boil_time_s": 0.0}, "--boil-time-s is 0.0: it must be above 0 and at most 60 (seconds)"),
        ({"boil_time_s": float("nan")}, "finite"),
        ({"boil_time_s": float("inf")}, "finite"),
        ({"guests": 0}, "at least 1"),
        ({"share": 1.0}, "at least 0 and below 1"),
        ({"dish": "cake"}, "--dish is 'cake': choose soup or stew"),
        ({"dish": "roast"}, "--dish roast is not supported yet: use soup or stew"),
    ],
)
def test_a_value_out_of_bounds_is_one_problem(values: dict[str, Any], words: str) -> None:
    kitchen, mistakes = check_values(Kitchen, {"serve": True} | values)
    assert kitchen == Kitchen(serve=True)
    assert list(mistakes) == list(values)
    assert words in mistakes[next(iter(values))]


def test_every_wrong_value_is_told() -> None:
    kitchen, mistakes = cook("--guests=0", "--dish=cake", "--boil-time-s=x", "--no-with-salt")
    assert kitchen == Kitchen(with_salt=False)
    assert [mistake.split()[0] for mistake in mistakes] == ["--dish", "--boil-time-s", "--guests"]


def test_a_flag_of_another_group_keeps_its_bounds() -> None:
    fields = [("cooling_s", float, same_flag(Kitchen, "boil_time_s", "How long to wait."))]
    (cooling,) = flags_of(dataclasses.make_dataclass("Later", fields, bases=(Group,), frozen=True))
    assert cooling.help == "How long to wait. (seconds; above 0 and at most 60; default: 10)"


def test_help_has_title_unit_default_and_only_the_dash_form() -> None:
    parser = Parser()
    add_groups(parser, Kitchen)
    text = parser.format_help()
    assert "Cooking:" in text
    assert "50% more at altitude. (seconds; above 0 and at most 60; default: 10)" in " ".join(text.split())
    assert "(at least 1; default: nobody)" in text
    assert "A file.\n" in text
    assert "none" not in text.lower()
    assert "--no-with-salt" in text
    assert "_time" not in text
    assert "--no-serve" not in text


def test_a_function_as_default_is_called_for_each_instance() -> None:
    fields = [("names", list, flag(list, "Names."))]
    group = dataclasses.make_dataclass("Late", fields, bases=(Group,), frozen=True)
    first, second = group(), group()
    assert first.names == second.names == []
    assert first.names is not second.names


def test_parser_raises_instead_of_leaving() -> None:
    with pytest.raises(UsageError, match="unrecognized"):
        Parser().parse_args(["--what"])
    assert issubclass(Parser, argparse.ArgumentParser)


@pytest.mark.parametrize(
    "argv",
    [
        ["--direct_num_workers", "4"],
        ["--direct_num_workers=4"],
        ["--direct_num_workers", "-1"],
        ["--streaming"],
        ["--experiments=a,b", "--experiments", "c"],
        ["--update_compatibility_version"],
        ["--job-server-timeout", "9"],
        ["--profile_cpu"],
    ],
)
def test_flags_of_beam_are_passed_on_unchanged(argv: list[str]) -> None:
    arguments = sort_arguments(["--serve", *argv, "--guests=2"], KNOWN)
    assert arguments.beam == argv
    assert arguments.values == {"serve": True, "guests": "2"}


def test_beam_flags_are_those_that_beam_knows() -> None:
    known = beam_flags()
    assert known["--streaming"] == "0"
    assert known["--job_name"] == "1"
    assert {"--runner", "--flink_master", "--region", "--prism_location", "--setup_file"} <= known.keys()


def test_what_follows_lone_dashes_is_for_beam() -> None:
    assert sort_arguments(["--serve", "--", "--of_a_job_server", "x"], KNOWN).beam == ["--of_a_job_server", "x"]
    assert "--guests stands after --" in sorting_error("--", "--guests=3")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--gusets", "3"], "unknown flag --gusets; did you mean --guests?"),
        (["--with-slat"], "did you mean --with-salt?"),
        (["--direct-num-workers", "3"], "did you mean Apache Beam's --direct_num_workers?"),
        (["--zzz"], "unknown flag --zzz; --help lists all flags"),
        (["--guest", "3"], "did you mean --guests?"),
        (["-x"], "unknown flag -x: flags begin with two dashes"),
        (["a.mp4"], "'a.mp4' belongs to no flag: quote patterns"),
        (["--cook-book", "a.mp4", "b.mp4"], "'b.mp4' belongs to no flag"),
        (["--serve", "yes"], "'yes' belongs to no flag"),
        (["--serve=yes"], "--serve is a switch and takes no value: leave out =yes"),
        (["--guests"], "--guests needs a value"),
        (["--guests", "--serve"], "--guests needs a value"),
        (["--guests="], "--guests needs a value and got an empty text"),
        (["--guests", "", "--serve"], "--guests needs a value and got an empty text"),
        (["--job_name"], "--job_name (a flag of Apache Beam) needs a value"),
        (["--streaming", "yes"], "'yes' belongs to no flag"),
        (["--no-generate-embeddings=1"], "is a switch and takes no value"),
        (["--no-generate-embeddings", "1"], "'1' belongs to no flag"),
    ],
)
def test_what_no_one_knows_is_an_error_with_a_near_miss(argv: list[str], message: str) -> None:
    assert message in sorting_error(*argv)


def test_all_mistakes_are_told_at_once() -> None:
    message = sorting_error("--gusets", "3", "--vlm-filter", "enable", "--sam3-prompts", "a", "b", "--serve=1")
    assert [line.split()[0] for line in message.splitlines()] == [
        "unknown",
        "--vlm-filter",
        "--sam3-prompts",
        "--serve",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--generate-previews"], "--generate-previews is not supported yet; leave it out"),
        (["--generate_previews"], "--generate-previews is not supported yet; leave it out"),
        (["--no-upload-clips"], "--no-upload-clips is not supported yet"),
        (["--vlm-filter", "enable"], "--vlm-filter is not supported yet"),
        (["--vlm-filter"], "--vlm-filter is not supported yet"),
        (["--qwen-filter-fp8-enable"], "--qwen-filter-fp8-enable is not supported yet"),
        (["--video-classifier-allow", "news"], "--video-classifier-allow is not supported yet"),
        (["--vllm-async-enforce-eager"], "is not supported yet"),
        (["--no-vllm-async-enforce-eager"], "is not supported yet"),
        (["--execution-mode=BATCH"], "--execution-mode has no meaning here"),
        (["--transcode-cpus-per-worker", "4"], "has no meaning here: Apache Beam's runner"),
        (["--transnetv2-gpus-per-worker", "0.25"], "has no meaning here"),
        (["--transcode-ffmpeg-batch-size", "8"], "has no meaning here"),
        (["--profile-cpu"], "Apache Beam's own profiler is --profile_cpu"),
        (["--embedding-algorithm", "openai"], "is not supported yet"),
    ],
)
def test_flags_of_cosmos_curate_that_are_not_built_say_so(argv: list[str], message: str) -> None:
    assert message in sorting_error(*argv)


@pytest.mark.parametrize(
    "argv",
    [
        ["--no-generate-embeddings"],
        ["--vlm-filter", "disable"],
        ["--vlm_filter=disable"],
        ["--artificial-text-filter=disable"],
        ["--qwen-filter=disable"],
        ["--video-classifier=disable"],
        ["--no-perf-profile"],
    ],
)
def test_asking_for_what_happens_anyway_is_accepted(argv: list[str]) -> None:
    arguments = sort_arguments([*argv, "--serve"], KNOWN)
    assert (arguments.values, arguments.beam, arguments.problems) == ({"serve": True}, [], [])
    assert len(arguments.accepted) == 1


def test_the_table_is_in_good_order() -> None:
    for name, entry in UNSUPPORTED.items():
        assert name == name.lower().strip("-")
        assert "-" not in name
        if entry.is_switch:
            assert UNSUPPORTED[opposite(name)].is_switch
        else:
            assert "leave it out" in entry.reason or re.search(r"is --[a-z0-9-]+ here$", entry.reason)
    assert opposite(opposite("verbose")) == "verbose"


def config(tmp_path: Path, text: str, name: str = "config.yaml") -> Arguments:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_config(str(path), KNOWN)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("guests: 3", {"guests": "3"}),
        ("boil-time-s: 3.5", {"boil_time_s": "3.5"}),
        ("with_salt: false", {"with_salt": False}),
        ("with_salt: true", {"with_salt": True}),
        ("no-with-salt: true", {"with_salt": False}),
        ("serve: false", {"serve": False}),
        ("guests: null", {}),
        ("dish: soup\nguests: 2", {"dish": "soup", "guests": "2"}),
        ("pipeline: split\nargs:\n  guests: 3", {"guests": "3"}),
        ("pipeline: split\nguests: 3", {"guests": "3"}),
        ("dish: --odd", {"dish": "--odd"}),
        ('{"guests": 3}', {"guests": "3"}),
        ("generate_embeddings: false\nvlm_filter: disable\nupload_clips: true", {}),
        ("generate_previews: false\nembedding_algorithm: null", {}),
    ],
)
def test_a_config_file_stands_for_arguments(tmp_path: Path, text: str, values: dict[str, Any]) -> None:
    arguments = config(tmp_path, text)
    assert (arguments.values, arguments.problems) == (values, [])


def test_a_config_file_in_json(tmp_path: Path) -> None:
    arguments = config(tmp_path, json.dumps({"guests": 3, "serve": True}, indent="\t"), "config.JSON")
    assert arguments.values == {"guests": "3", "serve": True}


def test_every_mistake_in_a_config_file_is_told(tmp_path: Path) -> None:
    arguments = config(tmp_path, "gusets: 3\nserve: 1\ndish: ''\nvlm_filter: enable")
    assert len(arguments.problems) == 4
    assert arguments.doubtful == {"guests", "serve", "dish"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gusets: 3", "unknown key gusets; did you mean guests?"),
        ("guests: true", "guests is True: give one value, in quotes"),
        ("guests: [1, 2]", "guests is ['1', '2']: give one value"),
        ("guests: {a: 1}", "guests is {'a': '1'}: give one value"),
        ("serve: 1", "serve is '1': give true or false"),
        ("serve: 'yes'", "serve is 'yes': give true or false"),
        ("dish:", "dish has no value"),
        ("dish: ''", "--dish needs a value"),
        ("job_name: a", "job_name is a flag of Apache Beam: give it on the command line"),
        ("config: other.yaml", "config cannot be given in a config file"),
        ("pipeline: dedup\nargs: {}", "only split is supported"),
        ("guests: 1\nargs: {}", "guests beside args"),
        ("args: [1]", "a mapping from flag names to values"),
        ("- guests", "a mapping from flag names to values"),
        ("", "a mapping from flag names to values"),
        ("a: [", "neither YAML nor JSON"),
        ("generate_embeddings: true", "--generate-embeddings is not supported yet"),
        ("upload_clips: false", "--no-upload-clips is not supported yet"),
        ("profile_cpu: true", "--profile-cpu is not supported yet"),
    ],
)
def test_mistakes_in_a_config_file_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    try:
        (problem,) = config(tmp_path, text).problems
    except UsageError as error:
        problem = str(error)
    assert message in problem
    assert "config.yaml" in problem


@pytest.mark.parametrize("kind", ["missing", "folder", "binary", "broken.json"])
def test_a_config_file_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"\xff\xfe\x00" if kind == "binary" else b"{")
    with pytest.raises(UsageError, match=kind):
        read_config(str(path), KNOWN)


def test_flags_know_their_names_and_kinds() -> None:
    kinds = {known.name: known.kind for known in flags_of(Kitchen)}
    assert kinds["guests"] is int
    assert kinds["boil_time_s"] is float
    assert kinds["with_salt"] is bool
    assert kinds["cook_book"] is str
