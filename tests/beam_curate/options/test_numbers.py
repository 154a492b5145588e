"""Every number that a command takes has bounds, which its refusal and its help name."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from beam_curate.cli import main
from beam_curate.cli.verify import VerifyOptions
from beam_curate.options.flags import Flag, Group, check_values, flags_of
from beam_curate.options.parse import GROUPS, parse

NUMBERS = [
    pytest.param(group, known, id=f"{group.__name__}-{known.name}")
    for group in (*GROUPS.values(), VerifyOptions)
    for known in flags_of(group)
    if known.kind in (int, float)
]
IN_OUT = ["--input-video-path=in", "--output-clip-path=out"]
NO_LOWER = {"captioning_max_output_tokens"}  # below 0 is no limit


def refusal(group: type[Group], known: Flag, text: str) -> str:
    _, mistakes = check_values(group, {known.name: text})
    return mistakes[known.name]


@pytest.mark.parametrize(("group", "known"), NUMBERS)
def test_a_number_beyond_its_bounds_is_refused_by_flag_and_bound(group: type[Group], known: Flag) -> None:
    upper = known.le if known.le is not None else known.lt
    assert upper is not None, "no upper bound"
    for number in (str(upper + 1), "999999999999999"):
        message = refusal(group, known, number)
        assert f"{known.option} is {number}" in message
        assert f"{'at most' if known.le is not None else 'below'} {upper:,}" in message
    lower = known.ge if known.ge is not None else known.gt
    if known.name in NO_LOWER:
        assert lower is None
    else:
        assert lower is not None, "no lower bound"
        assert f"{lower:,}" in refusal(group, known, str(lower - 1))


@pytest.mark.parametrize(("group", "known"), NUMBERS)
def test_what_is_no_number_of_use_is_refused_in_a_short_line(group: type[Group], known: Flag) -> None:
    for text in ("nan", "inf", "-inf", "1e999", "9" * 5000, "9" * 4000, "ten", ""):
        message = refusal(group, known, text)
        assert message.startswith(f"{known.option} is ")
        assert len(message) < 200


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from commands(command)


def test_no_command_takes_a_number_that_these_tests_miss() -> None:
    parsers = list(commands(main._parser()))
    assert len(parsers) >= 8
    assert not [action.dest for one in parsers for action in one._actions if action.type in (int, float)]


@pytest.mark.parametrize(
    ("flag", "lowest", "highest"),
    [
        ("--threads", "1", "256"),
        ("--decode-memory-mb", "256", "1048576"),
        ("--decode-timeout-s", "0.1", "86400"),
        ("--fixed-stride-split-duration", "0.1", "86400"),
        ("--transcode-encoder-threads", "1", "64"),
        ("--captioning-max-output-tokens", "-1", "1000000"),
    ],
)
def test_the_bounds_themselves_are_taken(flag: str, lowest: str, highest: str) -> None:
    for text in (lowest, highest):
        parse([*IN_OUT, f"{flag}={text}"])


def test_verify_refuses_a_number_beyond_its_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["verify", "--min-frames", "99999999999999", "somewhere"]) == 2
    message = capsys.readouterr().err
    assert "--min-frames is 99999999999999: it must be at least 1 and at most 10,000,000" in message


@pytest.mark.parametrize(("group", "known"), NUMBERS)
def test_numbers_say_their_bounds_in_help(group: type[Group], known: Flag) -> None:
    assert known.bounds
    assert known.bounds in known.help
