"""Cleaning removes results of former options, and nothing else, whatever lies or is linked in `.work`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from beam_curate.errors import UsageError
from beam_curate.store.clean import clean
from tests.support.output import Output

KEPT, FORMER = "0123456789abcdef", "f" * 16


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def output(tmp_path: Path) -> Output:
    output = Output(tmp_path / "out")
    write(output.fingerprints, json.dumps([KEPT]))
    for name in (KEPT, FORMER):
        write(output.results("clips", name) / "ab" / "r.json")
        write(output.stage_files("clips", name) / "f.mp4")
        write(output.done_folder(name) / "a.mp4@1-2")
    return output


def test_results_of_former_options_are_removed_and_the_rest_stays(output: Output) -> None:
    os.link(output.stage_files("clips", FORMER) / "f.mp4", output.root / "published.mp4")
    others = [write(output.published / "a.jsonl"), write(output.work / "backup" / "mine" / "notes.txt")]
    left = write(output.tmp / "1-a" / "half.mp4")
    done = clean(output)
    assert (done.files, done.size_bytes, done.notes) == (3, 2, [])
    assert not left.exists()
    assert all(path.exists() for path in others)
    for folder in (output.results("clips", KEPT), output.stage_files("clips", KEPT), output.done_folder(KEPT)):
        assert folder.is_dir()
    for folder in (output.results("clips", FORMER), output.stage_files("clips", FORMER), output.done_folder(FORMER)):
        assert not folder.exists()
    assert (output.root / "published.mp4").read_text() == "x"


@pytest.mark.parametrize(
    "place",
    ["{work}", "{work}/clips", "{work}/files", "{work}/files/clips", "{work}/done", "{work}/tmp", "{work}/published"]
    + [f"{{work}}/{stage}/{FORMER}" for stage in ("clips", "files/clips", "done")]
    + [f"{{work}}/{stage}/{FORMER}/deeper" for stage in ("clips", "files/clips", "done")],
)
def test_what_a_link_leads_to_stays(output: Output, tmp_path: Path, place: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    names = ("a.txt", f"{FORMER}/b.txt", f"clips/{FORMER}/c.txt", f"files/clips/{FORMER}/d.txt", "tmp/e.txt")
    precious = [write(elsewhere / name) for name in names]
    link = Path(place.format(work=output.work))
    if link == output.work:
        write(elsewhere / "fingerprints.json", json.dumps([KEPT]))
    if link.exists():
        link.rename(tmp_path / "aside")
    link.symlink_to(elsewhere)
    if link == output.work:
        with pytest.raises(UsageError, match="is a link"):
            clean(output)
    else:
        clean(output)
    assert all(path.read_text() == "x" for path in precious)


def test_a_file_that_is_a_link_is_removed_and_not_what_it_leads_to(output: Output, tmp_path: Path) -> None:
    precious = write(tmp_path / "precious", "x" * 1000)
    (output.results("clips", FORMER) / "link.json").symlink_to(precious)
    (output.results("clips", FORMER) / "gone.json").symlink_to(tmp_path / "gone")
    assert clean(output).size_bytes == 3
    assert precious.exists()


@pytest.mark.parametrize("content", ['"0123456789abcdef"', "[]", "{}", "[1]", "null", "[", '{"a": 1}', "7"])
def test_without_fingerprints_nothing_tells_what_to_keep(output: Output, content: str) -> None:
    output.fingerprints.write_text(content)
    with pytest.raises(UsageError, match="unknown which results to keep"):
        clean(output)
    assert output.done_folder(FORMER).is_dir()


@pytest.mark.parametrize("place", ["{work}/clips", "{work}/files", "{work}/files/clips", "{work}/done"])
@pytest.mark.parametrize("target", ["there", "gone"])
def test_what_is_kept_because_it_is_a_link_is_said(output: Output, tmp_path: Path, place: str, target: str) -> None:
    link = Path(place.format(work=output.work))
    link.rename(tmp_path / "there")
    link.symlink_to(tmp_path / target)
    assert clean(output).notes == [f"{link} is a link: it and its target are kept"]


def test_what_cannot_be_deleted_is_an_error(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(PermissionError):
        clean(output)


def test_leftovers_are_counted(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    assert clean(output).leftovers == 0
    monkeypatch.setattr(Output, "remove_leftovers", lambda output: 2, raising=False)
    assert clean(output).leftovers == 2


def test_not_while_a_run_is_working(output: Output) -> None:
    with output.run_lock(), pytest.raises(UsageError, match="wait until it ends"):
        clean(output)
    assert output.done_folder(FORMER).is_dir()


def test_without_locks_temporary_files_stay(output: Output) -> None:
    (output.work / "lock").mkdir()
    left = write(output.tmp / "1-a" / "half.mp4")
    done = clean(output)
    assert done.files == 3
    assert left.exists()
    assert "no locks" in done.notes[0]
