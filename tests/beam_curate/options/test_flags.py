"""The machinery: flags from dataclasses, sorting of arguments, config files, what is refused and how."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_curate.errors import UsageError
from beam_curate.options.command_line import Arguments, read_config, sort_arguments
from beam_curate.options.cosmos_curate import UNSUPPORTED, beam_flags, opposite
from beam_curate.options.flags import Group, HelpFormatter, Parser, add_group, by_name, flag, flags_of, problems_of


@dataclasses.dataclass(frozen=True)
class Kitchen(Group):
    """Cooking.

    More words that are not the title.
    """

    dish: str = flag("soup", "What to cook.", choices=("soup", "stew"), planned=("roast",))
    boil_time_s: float = flag(10.0, "How long; 50% more at altitude.", unit="seconds", above=0, maximum=60)
    guests: int | None = flag(None, "Who comes.", minimum=1, shown_default="nobody")
    share: float = flag(0.0, "Left over.", minimum=0, below=1)
    with_salt: bool = flag(True, "Leave out the salt.")
    serve: bool = flag(False, "Serve it.")
    cook_book: str | None = flag(None, "A file.", is_path=True)
    config: str | None = flag(None, "A config file.", is_path=True)

    def contradictions(self) -> Iterator[str]:
        if self.dish == "stew" and not self.with_salt:
            yield "stew needs salt"


KNOWN = by_name([Kitchen])


def cook(*argv: str) -> Kitchen:
    parser = Parser(allow_abbrev=False, formatter_class=HelpFormatter)
    add_group(parser, Kitchen)
    return Kitchen(**vars(parser.parse_args(sort_arguments(argv, KNOWN).own)))


def sorting_error(*argv: str) -> str:
    with pytest.raises(UsageError) as caught:
        sort_arguments(argv, KNOWN)
    return str(caught.value)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], {}),
        (["--boil-time-s", "3"], {"boil_time_s": 3.0}),
        (["--boil_time_s=3.5"], {"boil_time_s": 3.5}),
        (["--guests", "-1"], {"guests": -1}),
        (["--no-with-salt"], {"with_salt": False}),
        (["--no_with_salt"], {"with_salt": False}),
        (["--no-with-salt", "--with-salt"], {"with_salt": True}),
        (["--serve", "--no-serve"], {"serve": False}),
        (["--dish=stew", "--dish", "soup"], {"dish": "soup"}),
        (["--cook-book", "a b/=c"], {"cook_book": "a b/=c"}),
        (["--dish=--odd"], {"dish": "--odd"}),
    ],
)
def test_values_are_read_by_type_in_both_spellings(argv: list[str], expected: dict[str, Any]) -> None:
    assert cook(*argv) == Kitchen(**expected)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--boil-time-s", "long"], ["--boil-time-s", "'long'", "a number"]),
        (["--guests=1.5"], ["--guests", "whole number"]),
        (["--cook-book", "s3://bucket/book"], ["--cook-book", "not supported yet", "local folder"]),
        (["--cook-book", "file:///book"], ["--cook-book", "without file://"]),
    ],
)
def test_a_text_of_the_wrong_kind_names_flag_and_mend(argv: list[str], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        cook(*argv)
    assert all(word in str(caught.value) for word in words)


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
    (problem,) = problems_of(Kitchen(**values))
    assert words in problem


def test_defaults_have_no_problem() -> None:
    assert problems_of(Kitchen()) == []


def test_contradictions_are_told_after_values_out_of_bounds() -> None:
    problems = problems_of(Kitchen(dish="stew", with_salt=False, guests=0))
    assert problems == ["--guests is 0: it must be at least 1", "stew needs salt"]


def test_help_has_title_unit_default_and_only_the_dash_form() -> None:
    parser = Parser(formatter_class=HelpFormatter)
    add_group(parser, Kitchen)
    text = parser.format_help()
    assert "Cooking:" in text
    assert "50% more at altitude. (seconds; above 0 and at most 60; default: 10)" in " ".join(text.split())
    assert "(at least 1; default: nobody)" in text
    assert "A file. (default: none)" in text
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
    assert arguments.beam == tuple(argv)
    assert arguments.own == ("--serve", "--guests=2")


def test_beam_flags_are_those_that_beam_knows() -> None:
    known = beam_flags()
    assert known["--streaming"] == "0"
    assert known["--job_name"] == "1"
    assert {"--runner", "--flink_master", "--region", "--prism_location", "--setup_file"} <= known.keys()


def test_what_follows_lone_dashes_is_for_beam() -> None:
    assert sort_arguments(["--serve", "--", "--of_a_job_server", "x"], KNOWN).beam == (
        "--of_a_job_server",
        "x",
    )
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
        (["--guests="], "--guests needs a value"),
        (["--job_name"], "--job_name (a flag of Apache Beam) needs a value"),
        (["--streaming", "yes"], "'yes' belongs to no flag"),
        (["--no-generate-embeddings=1"], "is a switch and takes no value"),
        (["--no-generate-embeddings", "1"], "'1' belongs to no flag"),
    ],
)
def test_what_no_one_knows_is_an_error_with_a_near_miss(argv: list[str], message: str) -> None:
    assert message in sorting_error(*argv)


def test_all_mistakes_are_told_at_once() -> None:
    message = sorting_error("--gusets", "3", "--motion-filter", "enable", "--sam3-prompts", "a", "b", "--serve=1")
    assert [line.split()[0] for line in message.splitlines()] == [
        "unknown",
        "--motion-filter",
        "--sam3-prompts",
        "--serve",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--generate-previews"], "--generate-previews is not supported yet; leave it out"),
        (["--generate_previews"], "--generate-previews is not supported yet; leave it out"),
        (["--no-upload-clips"], "--no-upload-clips is not supported yet"),
        (["--motion-filter", "enable"], "--motion-filter is not supported yet"),
        (["--motion-filter"], "--motion-filter is not supported yet"),
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
        ["--motion-filter", "disable"],
        ["--motion_filter=disable"],
        ["--artificial-text-filter=disable"],
        ["--vlm-filter=disable"],
        ["--qwen-filter=disable"],
        ["--video-classifier=disable"],
        ["--no-perf-profile"],
    ],
)
def test_asking_for_what_happens_anyway_is_accepted(argv: list[str]) -> None:
    arguments = sort_arguments([*argv, "--serve"], KNOWN)
    assert (arguments.own, arguments.beam) == (("--serve",), ())
    assert len(arguments.accepted) == 1


def test_the_table_is_in_good_order() -> None:
    for name, entry in UNSUPPORTED.items():
        assert name == name.lower().strip("-")
        assert "-" not in name
        if entry.is_switch:
            assert UNSUPPORTED[opposite(name)].is_switch
        else:
            assert "leave it out" in entry.reason or re.search(r"is --[a-z-]+ here$", entry.reason)
    assert opposite(opposite("verbose")) == "verbose"


def config(tmp_path: Path, text: str, name: str = "config.yaml") -> Arguments:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_config(str(path), KNOWN)


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("guests: 3", ["--guests=3"]),
        ("boil-time-s: 3.5", ["--boil-time-s=3.5"]),
        ("with_salt: false", ["--no-with-salt"]),
        ("with_salt: true", ["--with-salt"]),
        ("no-with-salt: true", ["--no-with-salt"]),
        ("serve: false", ["--no-serve"]),
        ("guests: null", []),
        ("dish: soup\nguests: 2", ["--dish=soup", "--guests=2"]),
        ("pipeline: split\nargs:\n  guests: 3", ["--guests=3"]),
        ("pipeline: split\nguests: 3", ["--guests=3"]),
        ("dish: --odd", ["--dish=--odd"]),
        ('{"guests": 3}', ["--guests=3"]),
        ("generate_embeddings: false\nmotion_filter: disable\nupload_clips: true", []),
        ("generate_previews: false\naesthetic_threshold: null", []),
    ],
)
def test_a_config_file_stands_for_arguments(tmp_path: Path, text: str, own: list[str]) -> None:
    assert list(config(tmp_path, text).own) == own


def test_a_config_file_in_json(tmp_path: Path) -> None:
    arguments = config(tmp_path, json.dumps({"guests": 3, "serve": True}, indent="\t"), "config.JSON")
    assert arguments.own == ("--guests=3", "--serve")


def test_every_mistake_in_a_config_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        config(tmp_path, "gusets: 3\nserve: 1\ndish: ''\nmotion_filter: enable")
    assert len(str(caught.value).splitlines()) == 4


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
        ("config: other.yaml", "config cannot stand in a config file"),
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
    with pytest.raises(UsageError) as caught:
        config(tmp_path, text)
    assert message in str(caught.value)
    assert "config.yaml" in str(caught.value)


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
