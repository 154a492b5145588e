"""A key stays hidden in whatever form a server says it."""

from __future__ import annotations

import base64
import html
import json
import textwrap
import urllib.parse

import pytest

from beam_curate.engines.secrets import masked

KEY = "sk-this-is-a-secret-0123456789"


def encoded(before: str = "", after: str = "") -> str:
    return base64.b64encode(f"{before}{KEY}{after}".encode()).decode()


@pytest.mark.parametrize(
    "echo",
    [
        KEY,
        KEY[:10] + " " + KEY[10:],
        " ".join(KEY),
        "\n".join(textwrap.wrap(KEY, 5)),
        json.dumps("\n".join(textwrap.wrap(KEY, 5))),
        json.dumps(json.dumps("\t".join(KEY))),
        repr("\r\n".join(textwrap.wrap(KEY, 3))),
        "\u200b".join(KEY),
        "-".join(KEY),
        "<wbr>" + KEY.replace("-", "<b>-</b>"),
        KEY.upper(),
        urllib.parse.quote(KEY.replace("-", " - ")),
        "".join(f"%{ord(letter):02X}" for letter in KEY),
        "".join(f"%25{ord(letter):02x}" for letter in KEY),
        "".join(f"\\u{ord(letter):04x}" for letter in KEY),
        "".join(f"\\\\x{ord(letter):02x}" for letter in KEY),
        "".join(f"&#{ord(letter)};" for letter in KEY),
        html.escape(f"'{KEY}'"),
        KEY.encode().hex(),
        KEY.encode().hex(" "),
        encoded(),
        encoded("Bearer "),
        encoded("u:"),
        encoded("me:", "\n"),
        base64.urlsafe_b64encode(KEY.encode()).decode(),
        KEY[4:12],  # eight characters of it
        f"{KEY[:9]}...{KEY[-9:]}",
        KEY * 3,
    ],
)
def test_no_eight_characters_of_the_key_are_said(echo: str) -> None:
    said = masked(f"Incorrect API key provided: {echo} (request 7)", KEY)
    assert said.startswith("Incorrect API key provided: ")
    assert said.endswith(" (request 7)")
    assert "***" in said
    left = urllib.parse.unquote(said).replace("\\n", "").replace("\\t", "").lower()
    seen = "".join(letter for letter in left if letter.isalnum())
    plain = "".join(letter for letter in KEY if letter.isalnum())
    for start in range(len(plain) - 7):
        assert plain[start : start + 8] not in seen
    assert KEY[:8] not in said and KEY[-8:] not in said


@pytest.mark.parametrize(
    "text",
    ["", "the picture is too large", "sk-***6789", "it is secret", "HTTP 400: \\n \\u00e9 %C3%A9 &#233;", "0123456"],
)
def test_what_is_not_the_key_is_said(text: str) -> None:
    assert masked(text, KEY) == text
    assert masked(text, None) == text
    assert masked(text, "") == text


def test_a_short_key_is_hidden_as_a_whole() -> None:
    assert (
        masked("the key E M PTY or EMPTY is wrong, EMPT is not", "EMPTY") == "the key *** or *** is wrong, EMPT is not"
    )


def test_a_long_text_is_bounded() -> None:
    assert len(masked(f"{KEY} " * 1_000_000, KEY)) <= 20_000
