"""Every number that a command takes has bounds, which its refusal and its help name."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import pytest

from beam_curate.cli import main
from beam_curate.errors import UsageError
from beam_curate.options.flags import Flag, flags_of
from beam_curate.options.parse import GROUPS, parse

NUMBERS = [known for group in GROUPS.values() for known in flags_of(group) if known.kind in (int, float)]
OTHERS = [main.MIN_FRAMES]
IN_OUT = ["--input-video-path=in", "--output-clip-path=out"]
NO_LOWER = {"captioning_max_output_tokens"}  # below 0 is no limit


def refusal(known: Flag, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        if known in OTHERS:
            known.checked(text)
        else:
            parse([*IN_OUT, f"{known.option}={text}"])
    return str(caught.value)


@pytest.mark.parametrize("known", [*NUMBERS, *OTHERS], ids=lambda known: known.name)
def test_a_number_beyond_its_bounds_is_refused_by_flag_and_bound(known: Flag) -> None:
    upper = known.maximum if known.maximum is not None else known.below
    assert upper is not None, "no upper bound"
    for number in (str(upper + 1), "999999999999999"):
        message = refusal(known, number)
        assert f"{known.option} is {number}" in message
        assert f"{'at most' if known.maximum is not None else 'below'} {upper:,}" in message
    lower = known.minimum if known.minimum is not None else known.above
    if known.name in NO_LOWER:
        assert lower is None
    else:
        assert lower is not None, "no lower bound"
        assert f"{lower:,}" in refusal(known, str(lower - 1))


@pytest.mark.parametrize("known", [*NUMBERS, *OTHERS], ids=lambda known: known.name)
def test_what_is_no_number_of_use_is_refused_in_a_short_line(known: Flag) -> None:
    for text in ("nan", "inf", "-inf", "1e999", "9" * 5000, "9" * 4000, "ten", ""):
        with pytest.raises(UsageError) as caught:
            known.checked(text)
        assert str(caught.value).startswith(f"{known.option} is ")
        assert len(str(caught.value)) < 200


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from commands(command)


def test_no_command_takes_a_number_that_these_tests_miss() -> None:
    parsers = list(commands(main._parser()))
    assert len(parsers) >= 8
    checked = [action.dest for one in parsers for action in one._actions if action.type == main.MIN_FRAMES.checked]
    assert checked == ["min_frames"]
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


def test_numbers_say_their_bounds_in_help() -> None:
    for known in NUMBERS:
        assert known.bounds in known.help
        assert math.isfinite(known.maximum if known.maximum is not None else known.below or math.inf)
