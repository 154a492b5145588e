"""Text from file names and servers reaches a terminal as visible characters."""

from __future__ import annotations

import io
import os

import pytest

from beam_curate.progress import terminal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ünïcödé 日本 🎬 'a' \\", "plain ünïcödé 日本 🎬 'a' \\"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),  # a control sequence of one character
        ("a\nb\r\tc\x00\x7f\x08", "a\\nb\\r\\tc\\x00\\x7f\\x08"),
        ("\u202egnp.exe\u2066\u200f", "\\u202egnp.exe\\u2066\\u200f"),
        ("a\u2028b\u2029c\x85d", "a\\u2028b\\u2029c\\x85d"),
        (os.fsdecode(b"caf\xe9"), "caf\\udce9"),
        ("\U000e0041", "\\U000e0041"),  # an invisible letter
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_control_characters_become_escapes(text: str, expected: str) -> None:
    assert terminal.shown(text) == expected
    expected.encode()


def test_line_breaks_are_kept() -> None:
    assert terminal.lines("a\x1b\nb\r\n") == "a\\x1b\nb\\r\n"


def test_a_console_prints_texts_without_markup_and_safely() -> None:
    printed = io.StringIO()
    terminal.console(file=printed).print("[red]a\x1b[1m\nb")
    assert printed.getvalue() == "[red]a\\x1b[1m\nb\n"


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\rb", "a\x9b31mb", "a\u202eb", "a\udce9b", "a\x00b"])
def test_a_console_never_prints_control_characters(name: str) -> None:
    from rich.table import Table
    from rich.text import Text

    printed = io.StringIO()
    console = terminal.console(file=printed, width=120, force_terminal=True, color_system=None)
    table = Table(f"head {name}", title=name)
    table.add_row(name, Text(name))
    console.print(table)
    console.print(Text(name))
    console.print(name)
    try:
        raise ValueError(name)
    except ValueError:
        console.print_exception()
    text = printed.getvalue()
    assert not {"\x1b", "\r", "\x9b", "\u202e", "\udce9", "\x00"} & set(text)
    assert terminal.shown(name) in text or name == "a\rb"  # rich drops some of them itself
    text.encode()


def test_errors_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.complain("no\x1b\nyes")
    assert capsys.readouterr().err == "beam-curate: no\\x1b\nyes\n"
