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
def layout(tmp_path: Path) -> Output:
    layout = Output(tmp_path / "out")
    write(layout.fingerprints, json.dumps([KEPT]))
    for name in (KEPT, FORMER):
        write(layout.results("clips", name) / "ab" / "r.json")
        write(layout.stage_files("clips", name) / "f.mp4")
        write(layout.done_folder(name) / "a.mp4@1-2")
    return layout


def test_results_of_former_options_are_removed_and_the_rest_stays(layout: Output) -> None:
    os.link(layout.stage_files("clips", FORMER) / "f.mp4", layout.root / "published.mp4")
    others = [write(layout.published / "a.jsonl"), write(layout.work / "backup" / "mine" / "notes.txt")]
    left = write(layout.tmp / "1-a" / "half.mp4")
    done = clean(layout)
    assert (done.files, done.size_bytes, done.notes) == (3, 2, [])
    assert not left.exists()
    assert all(path.exists() for path in others)
    for folder in (layout.results("clips", KEPT), layout.stage_files("clips", KEPT), layout.done_folder(KEPT)):
        assert folder.is_dir()
    for folder in (layout.results("clips", FORMER), layout.stage_files("clips", FORMER), layout.done_folder(FORMER)):
        assert not folder.exists()
    assert (layout.root / "published.mp4").read_text() == "x"


@pytest.mark.parametrize(
    "place",
    ["{work}", "{work}/clips", "{work}/files", "{work}/files/clips", "{work}/done", "{work}/tmp", "{work}/published"]
    + [f"{{work}}/{stage}/{FORMER}" for stage in ("clips", "files/clips", "done")]
    + [f"{{work}}/{stage}/{FORMER}/deeper" for stage in ("clips", "files/clips", "done")],
)
def test_what_a_link_leads_to_stays(layout: Output, tmp_path: Path, place: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    names = ("a.txt", f"{FORMER}/b.txt", f"clips/{FORMER}/c.txt", f"files/clips/{FORMER}/d.txt", "tmp/e.txt")
    precious = [write(elsewhere / name) for name in names]
    link = Path(place.format(work=layout.work))
    if link == layout.work:
        write(elsewhere / "fingerprints.json", json.dumps([KEPT]))
    if link.exists():
        link.rename(tmp_path / "aside")
    link.symlink_to(elsewhere)
    if link == layout.work:
        with pytest.raises(UsageError, match="is a link"):
            clean(layout)
    else:
        clean(layout)
    assert all(path.read_text() == "x" for path in precious)


def test_a_file_that_is_a_link_is_removed_and_not_what_it_leads_to(layout: Output, tmp_path: Path) -> None:
    precious = write(tmp_path / "precious", "x" * 1000)
    (layout.results("clips", FORMER) / "link.json").symlink_to(precious)
    (layout.results("clips", FORMER) / "gone.json").symlink_to(tmp_path / "gone")
    assert clean(layout).size_bytes == 3
    assert precious.exists()


@pytest.mark.parametrize("content", ['"0123456789abcdef"', "[]", "{}", "[1]", "null", "[", '{"a": 1}', "7"])
def test_without_fingerprints_nothing_tells_what_to_keep(layout: Output, content: str) -> None:
    layout.fingerprints.write_text(content)
    with pytest.raises(UsageError, match="unknown which results to keep"):
        clean(layout)
    assert layout.done_folder(FORMER).is_dir()


def test_not_while_a_run_is_working(layout: Output) -> None:
    with layout.run_lock(), pytest.raises(UsageError, match="wait until it ends"):
        clean(layout)
    assert layout.done_folder(FORMER).is_dir()


def test_without_locks_temporary_files_stay(layout: Output) -> None:
    (layout.work / "lock").mkdir()
    left = write(layout.tmp / "1-a" / "half.mp4")
    done = clean(layout)
    assert done.files == 3
    assert left.exists()
    assert "no locks" in done.notes[0]
