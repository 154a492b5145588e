"""A config file means what its reader would expect, or is refused by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from beam_curate.errors import UsageError
from beam_curate.options.parse import flag_lines, parse

ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def written(tmp_path: Path, text: str, name: str = "run.yaml") -> str:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return str(path)


def refusal(path: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(["--input-video-path=in", "--output-clip-path=out", "--config", path])
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("limit: 010", "limit", 10),
        ("limit: 08", "limit", 8),
        ("limit: +7", "limit", 7),
        ("limit: '7'", "limit", 7),
        ("decode_timeout_s: 1e2", "decode_timeout_s", 100.0),
        ("decode-timeout-s: .5", "decode_timeout_s", 0.5),
        ("captioning_prompt_text: no", "captioning_prompt_text", "no"),
        ("captioning_prompt_text: 1:30", "captioning_prompt_text", "1:30"),
        ("captioning_prompt_text: 2020-01-01", "captioning_prompt_text", "2020-01-01"),
        ("captioning_prompt_text: 0x1F", "captioning_prompt_text", "0x1F"),
        ("captioning_prompt_text: |\n  two\n  lines", "captioning_prompt_text", "two\nlines"),
        ("captioning_prompt_text: 'true'", "captioning_prompt_text", "true"),
        ("generate_captions: FALSE", "generate_captions", False),
        ("\ufefflimit: 3", "limit", 3),
        ("%YAML 1.2\n---\nlimit: 3\n...", "limit", 3),
        ("limit: &seven 7", "limit", 7),
    ],
)
def test_values_mean_what_they_look_like(tmp_path: Path, text: str, name: str, value: object) -> None:
    assert flag_lines(parse(["--config", written(tmp_path, text)], for_run=False).options)[name] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limit: 1\nverbose: true\nlimit: 2", ", line 3: limit is there twice: leave one out"),
        ("args:\n  limit: 1\n  limit: 1", ", line 3: limit is there twice"),
        ("limit: 1\n'limit': 2", ", line 2: limit is there twice"),
        ("clip_re_chunk_size: 1\nclip-re-chunk-size: 2", "clip_re_chunk_size and clip-re-chunk-size are the same flag"),
        ("verbose: true\nno_verbose: true", "verbose and no_verbose are the same flag: leave one out"),
        ("limit: 1:30", "--limit is '1:30': give a whole number"),
        ("limit: 0x10", "--limit is '0x10': give a whole number"),
        ("limit: 0o10", "--limit is '0o10': give a whole number"),
        ("limit: .inf", "--limit is '.inf': give a whole number"),
        ("decode_timeout_s: .nan", "--decode-timeout-s is '.nan': give a number"),
        ("decode_timeout_s: nan", "--decode-timeout-s is nan: give a finite number"),
        ("decode_timeout_s: 1:30", "--decode-timeout-s is '1:30': give a number"),
        ("verbose: yes", "verbose is 'yes': give true or false"),
        ("verbose: on", "verbose is 'on': give true or false"),
        (ALIASES, ", line 2: aliases such as *a are not taken"),
        ("a: &a {limit: 1}\nargs:\n  <<: *a", ", line 3: aliases such as *a"),
        ("<<: {limit: 1}", "unknown key <<"),
        ("limit: 1\nthreads: !!int '2'", ", line 2: tags such as tag:yaml.org,2002:int are not taken"),
        ("!!python/object/apply:os.system ['true']", ", line 1: tags such as tag:yaml.org,2002:python/object"),
        ("workspace: !env HOME", ", line 1: tags such as !env"),
        ("limit: !  3", ", line 1: tags such as !"),
        ("? [limit]\n: 1", "run.yaml is neither YAML nor JSON"),
        ("limit: 1\n---\nlimit: 2", "line 2"),
        ("limit: 1\n\tverbose: true", "line 2"),
        ("[" * 50_000, "run.yaml is nested too deeply"),
        ("a" * (2 << 20), "has more than 1,048,576 bytes"),
        ("workspace: '" + "a" * 5000 + "': x", "run.yaml is neither YAML nor JSON"),
        ("b" * 900 + ": x", "unknown key bbb"),
        ("verbose: '" + "c" * 900 + "'", "verbose is 'ccc"),
        ("workspace: caf\udce9", "run.yaml is neither YAML nor JSON"),
    ],
)
def test_what_is_unclear_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    printed = refusal(path)
    assert message in printed
    assert len(printed) < len(path) + 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"limit": 1, "limit": 2}', ": limit is there twice: leave one out"),
        ('{"args": {"limit": 1, "limit": 2}}', ": limit is there twice: leave one out"),
        ('{"limit": 010}', "line 1 column 12"),
        ('{"limit": NaN}', "--limit is 'NaN': give a whole number"),
        ('{"decode_timeout_s": 1e999}', "--decode-timeout-s is 1e999: give a finite number"),
        ('{"limit": ' + "9" * 5000 + "}", "--limit is '999"),
        ("[" * 50_000, "run.json is nested too deeply"),
    ],
)
def test_the_same_in_json(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text, "run.json")
    printed = refusal(path)
    assert message in printed
    assert len(printed) < len(path) + 400


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    assert "--config /dev/zero has more than 1,048,576 bytes" in refusal("/dev/zero")
