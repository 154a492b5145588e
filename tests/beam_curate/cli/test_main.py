"""`beam-curate` and `python -m beam_curate.run`, before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from beam_curate import __version__, run
from beam_curate.cli import demo, main
from beam_curate.cli.main import main as command

COMMANDS = (
    [],
    ["split"],
    ["demo"],
    ["verify"],
    ["models"],
    *(["models", part] for part in ("list", "download", "check")),
)


def outcome(program: Callable[[list[str]], int], *arguments: str) -> int:
    """The exit status, also where argparse leaves by itself."""
    try:
        return program([*arguments])
    except SystemExit as error:
        assert isinstance(error.code, int)
        return error.code


@pytest.mark.parametrize("words", [[], ["models"]])
def test_without_a_command_help_is_shown(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert outcome(command, *words) == 0
    alone = capsys.readouterr().out
    assert outcome(command, *words, "--help") == 0
    assert capsys.readouterr().out == alone
    assert alone.startswith(" ".join(["usage: beam-curate", *words]))


@pytest.mark.parametrize("program", [command, run.main, lambda arguments: command(["split", *arguments])])
def test_both_entry_points_tell_the_version(
    capsys: pytest.CaptureFixture[str], program: Callable[[list[str]], int]
) -> None:
    assert outcome(program, "--version") == 0
    assert capsys.readouterr().out == f"beam-curate {__version__}\n"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_help_has_its_own_name_and_one_form(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert outcome(command, *words, "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(" ".join(["usage: beam-curate", *words]) + " ")
    assert "\n  -h, --help\n        Show this help and exit.\n" in shown
    assert "default: none" not in shown.lower()
    assert max(map(len, shown.splitlines()[1:])) <= 100


def test_the_module_has_its_own_name_in_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(run.main, "--help") == 0
    assert capsys.readouterr().out.startswith("usage: python -m beam_curate.run ")


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [([], demo.DemoOptions()), (["demo", "--output-clip-path=here"], demo.DemoOptions("here"))],
)
def test_the_demo_is_a_command_and_what_nothing_at_all_means(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], asked: demo.DemoOptions
) -> None:
    given = []
    monkeypatch.setattr(demo, "_demo", lambda parsed: given.append(parsed.options) or 0)
    assert (command if arguments else run.main)(arguments) == 0
    assert given == [asked]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--runner=DirectRunner"],
        ["--output-clip-path=out"],
        ["--input-video-path", "", "--output-clip-path=out"],
        ["--dry-run"],
        ["--direct_num_workers=2"],
    ],
)
def test_a_flag_without_an_input_is_no_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run.main(arguments) == command(["split", *arguments]) == 2
    assert "--input-video-path" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_split_without_anything_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["split"]) == 2
    assert "no input: name your videos with --input-video-path" in capsys.readouterr().err


def test_every_mistake_of_a_command_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["verify", "d", "--mn-frames", "9", "--decode-memory-mb", "1", "--min-frames", "x"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "beam-curate: unknown flag --mn-frames; did you mean --min-frames?",
        "--min-frames is 'x': give a whole number",
        "--decode-memory-mb is 1: it must be at least 256 and at most 1,048,576 (MiB)",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clena", "out"], "invalid choice: 'clena'"),
        (["clean", "out", "more"], "'more' belongs to no flag"),
        (["verify"], "the following arguments are required: DATASET"),
        (["demo", "--limit=3"], "unknown flag --limit"),
    ],
)
def test_other_mistakes(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert command(arguments) == 2
    assert message in capsys.readouterr().err


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main._parser().print_help()
    shown = capsys.readouterr().out
    assert all(f"\n    {name}\n" in shown for name in ("split", "demo", "verify", "models", "clean"))
