"""Finding source videos: every video once, in one order, and nothing else; what is left out is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from beam_curate.errors import DiskError, SourceChangedError, UsageError
from beam_curate.sources.listing import check_unchanged, list_videos
from beam_curate.store.layout import DATASET
from tests.support.output import Output

EXTENSIONS = frozenset({".mp4", ".mov"})
ODD_NAMES = [
    "with space.mp4",
    "quote'and\"quote.mp4",
    "hash#percent%20.mp4",
    "ünïcödé 日本 🎬.mp4",
    "line\nbreak.mp4",
    "inner.mp4.part.mov",
    "[1] brackets *?.mp4",
    "-dash.mp4",
    "semi;colon&and$dollar.mp4",
    "back\\slash.mp4",
]


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def found(input_path: Path | str | None, list_path: Path | None = None) -> list[str]:
    listing = list_videos(input_path and str(input_path), list_path and str(list_path), EXTENSIONS)
    return [video.relative_path for video in listing.videos]


def test_a_folder_is_searched_through_in_the_order_of_paths(tmp_path: Path) -> None:
    make(tmp_path, "b.mp4", "a/z.mov", "a.mp4", "a/b/c.mp4", "B.mp4", "notes.txt", "a/.DS_Store", "mp4", "clip.mp4.txt")
    assert found(tmp_path) == ["B.mp4", "a.mp4", "a/b/c.mp4", "a/z.mov", "b.mp4"]
    listing = list_videos(str(tmp_path), None, EXTENSIONS)
    assert listing.root == str(tmp_path)
    assert not listing.notes
    first = listing.videos[0]
    facts = (tmp_path / "B.mp4").stat()
    assert (first.uri, first.size_bytes, first.etag) == (str(tmp_path / "B.mp4"), 5, str(facts.st_mtime_ns))
    assert first.duplicate_of is None


def test_extensions_in_any_case(tmp_path: Path) -> None:
    make(tmp_path, "a.MP4", "b.Mov", "c.mP4", "d.avi")
    assert found(tmp_path) == ["a.MP4", "b.Mov", "c.mP4"]


def test_odd_names_are_only_names(tmp_path: Path) -> None:
    make(tmp_path, *ODD_NAMES)
    assert found(tmp_path) == sorted(ODD_NAMES)
    for name in ODD_NAMES:
        assert found(tmp_path / name) == [name]


def test_hidden_files_and_folders_are_left_alone(tmp_path: Path) -> None:
    make(tmp_path, ".hidden.mp4", "._a.mp4", ".folder/b.mp4", "a.mp4", "seen/.c.mp4", "seen/d.mp4")
    assert found(tmp_path) == ["a.mp4", "seen/d.mp4"]


def test_links_are_followed_and_never_in_a_circle(tmp_path: Path) -> None:
    source = make(tmp_path / "in", "deep/a.mp4")
    elsewhere = make(tmp_path / "elsewhere", "b.mp4")
    (source / "deep" / "up").symlink_to(source)
    (source / "outside").symlink_to(elsewhere)
    (source / "file.mp4").symlink_to(elsewhere / "b.mp4")
    assert found(source) == ["deep/a.mp4", "file.mp4", "outside/b.mp4"]


@pytest.mark.parametrize("link", ["a link", "z link"])
def test_a_link_to_a_folder_beside_it_does_not_rename_its_videos(tmp_path: Path, link: str) -> None:
    make(tmp_path, "m/a.mp4")
    (tmp_path / link).symlink_to(tmp_path / "m")
    assert found(tmp_path) == ["m/a.mp4"]


def test_what_cannot_be_read_is_left_out_with_a_note(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "is_folder.mp4/b.mp4")
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "gone.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    (tmp_path / "loop without suffix").symlink_to(tmp_path / "loop without suffix")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "gone")
    listing = list_videos(str(tmp_path), None, EXTENSIONS)
    assert [video.relative_path for video in listing.videos] == ["a.mp4", "is_folder.mp4/b.mp4"]
    notes = "\n".join(sorted(listing.notes))
    assert "dangling.mp4: left out, No such file" in notes
    assert "loop.mp4: left out, Too many levels of symbolic links" in notes
    assert "pipe.mp4: left out, it is not a regular file" in notes
    assert len(listing.notes) == 3


@pytest.mark.parametrize("place", ["name", "folder above"])
def test_a_name_that_is_not_utf8_is_left_out_with_a_note(tmp_path: Path, place: str) -> None:
    odd = os.fsdecode(b"caf\xe9")
    folder = make(tmp_path / odd if place == "folder above" else tmp_path)
    (folder / (f"{odd}.mp4" if place == "name" else "a.mp4")).parent.mkdir(exist_ok=True)
    (folder / (f"{odd}.mp4" if place == "name" else "a.mp4")).write_bytes(b"x")
    listing = list_videos(str(folder), None, EXTENSIONS)
    assert not listing.videos
    (note,) = listing.notes
    assert "not UTF-8; rename it" in note
    note.encode()


_AS_NOBODY = """
import os, sys
sys.path[:0] = sys.argv[2:]
from beam_curate.sources.listing import list_videos
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
listing = list_videos(sys.argv[1], None, frozenset({".mp4"}))
print([video.relative_path for video in listing.videos], listing.notes)
"""


def test_a_folder_that_may_not_be_entered_is_left_out_with_a_note() -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        make(folder, "a.mp4", "lost+found/b.mp4")
        (folder / "lost+found").chmod(0)
        folder.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(folder), *sys.path], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("['a.mp4'] ")
        assert "lost+found: left out, Permission denied" in done.stdout
    finally:
        (folder / "lost+found").chmod(0o700)
        shutil.rmtree(folder)


GLOBS = [
    ("*/front.mp4", ["a/front.mp4", "b/front.mp4"], ""),
    ("a/*.mp4", ["front.mp4", "rear.mp4"], "a"),
    ("a/f*", ["front.mp4"], "a"),
    ("?/rear.mp4", ["a/rear.mp4"], ""),
    ("[ab]/front.*", ["a/front.mp4", "b/front.mp4"], ""),
    ("**/*.mp4", ["a/front.mp4", "a/rear.mp4", "b/front.mp4", "top.mp4"], ""),
    ("*", ["top.mp4"], ""),
    ("nothing*.mp4", [], ""),
]


@pytest.mark.parametrize(("pattern", "expected", "root"), GLOBS, ids=[case[0] for case in GLOBS])
@pytest.mark.parametrize("relative", [False, True])
def test_globs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, expected: list[str], root: str, relative: bool
) -> None:
    folder = make(tmp_path / "[1] footage", "a/front.mp4", "a/rear.mp4", "a/front.txt", "b/front.mp4", "top.mp4")
    if relative:
        monkeypatch.chdir(folder)
        where = ""
    else:
        folder = folder.rename(tmp_path / "footage")
        where = f"{folder}/"
    listing = list_videos(where + pattern, None, EXTENSIONS)
    assert [video.relative_path for video in listing.videos] == expected
    assert listing.root == str(folder / root).rstrip("/")


def test_a_glob_finds_each_file_once_though_links_go_in_circles(tmp_path: Path) -> None:
    make(tmp_path, "a/b.mp4")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert found(f"{tmp_path}/**/*.mp4") == ["a/b.mp4"]


def test_a_folder_whose_name_looks_like_a_glob_is_a_folder(tmp_path: Path) -> None:
    assert found(make(tmp_path / "[2024] *", "a.mp4")) == ["a.mp4"]


def test_a_single_file(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4", "c.txt")
    assert found(tmp_path / "b.mp4") == ["b.mp4"]
    assert found(tmp_path / "c.txt") == []


def write_list(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "list.json"
    path.write_text(json.dumps(content))
    return path


def test_a_list_takes_just_what_it_names(tmp_path: Path) -> None:
    source = make(tmp_path / "in", "x/b.mp4", "x/a.mp4", "x/y/.hidden.mp4", "not listed.mp4", "x/z.txt")
    names = ["x/b.mp4", "x/y/.hidden.mp4", "x/a.mp4", "x/b.mp4", "x/./b.mp4", "x/z.txt", "x/gone.mp4"]
    path = write_list(tmp_path, [f"{source}/{name}" for name in names])
    assert found(source, path) == ["x/a.mp4", "x/b.mp4", "x/y/.hidden.mp4"]
    assert found(None, path) == ["a.mp4", "b.mp4", "y/.hidden.mp4"]
    listing = list_videos(None, str(path), EXTENSIONS)
    assert listing.root == str(source / "x")
    assert listing.notes == (
        f"{source}/x/gone.mp4: left out, No such file or directory",
        f"{source}/x/z.txt: left out, its extension is not in --input-extensions",
    )


@pytest.mark.parametrize("name", ["a\0b.mp4", "a\ud800.mp4", ""], ids=["nul", "surrogate", "empty"])
def test_a_listed_path_that_cannot_be_one_is_left_out_with_a_note(tmp_path: Path, name: str) -> None:
    listing = list_videos(None, str(write_list(tmp_path, [name])), EXTENSIONS)
    assert not listing.videos
    assert len(listing.notes) == 1
    listing.notes[0].encode()


def test_an_empty_list(tmp_path: Path) -> None:
    assert found(None, write_list(tmp_path, [])) == []
    assert found(tmp_path, write_list(tmp_path, [])) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"[1", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b'{"a": 1}', "not an array of paths"),
        (b"[1, 2]", "not an array of paths"),
        (b'"a.mp4"', "not an array of paths"),
        (b'["/elsewhere/a.mp4"]', "does not lie below --input-video-path"),
    ],
)
def test_mistakes_in_a_list_name_the_flag_and_the_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "list.json"
    if content is not None:
        path.write_bytes(content)
    (tmp_path / "in").mkdir()
    with pytest.raises(UsageError, match=message) as caught:
        list_videos(str(tmp_path / "in"), str(path), EXTENSIONS)
    assert f"--input-video-list-json-path {path}" in str(caught.value)


def test_a_path_beside_the_folder_does_not_lie_below_it(tmp_path: Path) -> None:
    make(tmp_path, "in/a.mp4", "in2/b.mp4")
    with pytest.raises(UsageError, match="does not lie below"):
        list_videos(str(tmp_path / "in"), str(write_list(tmp_path, [f"{tmp_path}/in2/b.mp4"])), EXTENSIONS)


def test_no_such_input(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--input-video-path .*gone: no such file or folder"):
        list_videos(str(tmp_path / "gone"), None, EXTENSIONS)


def test_a_file_that_changed_after_it_was_listed(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    (video,) = list_videos(str(tmp_path), None, EXTENSIONS).videos
    check_unchanged(video)
    os.utime(video.uri, ns=(1, 1))
    with pytest.raises(SourceChangedError) as caught:
        check_unchanged(video)
    assert caught.value.retriable
    os.utime(video.uri, ns=(1, int(video.etag)))
    check_unchanged(video)
    Path(video.uri).unlink()
    with pytest.raises(DiskError, match="No such file"):
        check_unchanged(video)
    Path(video.uri).symlink_to(video.uri)  # where another error than a missing file is the reason
    with pytest.raises(DiskError, match="cannot reach the file: Too many levels"):
        check_unchanged(video)


def output_at(folder: Path, *, run: bool = True) -> Output:
    """An output folder with a clip, a dataset item and a stored file."""
    output = Output(folder)
    make(folder, "clips/own.mp4", f"{DATASET}/videos/own.mp4", f"{DATASET}/train/videos/own.mp4", ".work/files/a/b.mp4")
    if run:
        output.fingerprints.write_text("[]")
    return output


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("W/*/*.mp4", ["cam1/a.mp4"]),
        ("W/**/*.mp4", ["cam1/a.mp4"]),
        ("W/cl*/*.mp4", []),
        ("W/*/*/*.mp4", []),
        ("W/.work/files/*/*.mp4", []),
        ("link/*/*.mp4", ["cam1/a.mp4"]),
        ("W", ["cam1/a.mp4"]),
        ("W/clips", []),
        ("W/clips/own.mp4", []),
        ("link/clips/own.mp4", []),
        ("to_clips", []),
        ("to_clip.mp4", []),
        ("beside", ["b.mp4"]),
    ],
)
@pytest.mark.parametrize("whose", ["own", "of another run", "both"])
def test_clips_that_this_program_made_are_left_out(
    tmp_path: Path, pattern: str, expected: list[str], whose: str
) -> None:
    output_at(tmp_path / "W", run=whose != "own")
    make(tmp_path, "W/cam1/a.mp4", "beside/b.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "W")
    (tmp_path / "to_clips").symlink_to(tmp_path / "W" / "clips")
    (tmp_path / "to_clip.mp4").symlink_to(tmp_path / "W" / "clips" / "own.mp4")
    (tmp_path / "beside" / "c.mp4").symlink_to(tmp_path / "W" / "clips" / "own.mp4")
    (tmp_path / "beside" / "made").symlink_to(tmp_path / "W" / DATASET)
    own = Output(tmp_path / "link") if whose != "of another run" else Output(tmp_path / "elsewhere")
    listing = list_videos(str(tmp_path / pattern), None, EXTENSIONS, own.location())
    assert [video.relative_path for video in listing.videos] == expected
    assert all("beam-curate made the " in note for note in listing.notes)
    assert listing.notes


def test_listed_clips_of_this_program_are_left_out_with_one_note_a_folder(tmp_path: Path) -> None:
    output_at(tmp_path / "out")
    make(tmp_path, "in/a.mp4", "out/clips/two.mp4")
    names = ["in/a.mp4", "out/clips/own.mp4", "out/clips/two.mp4", f"out/{DATASET}/videos/own.mp4"]
    listing = list_videos(None, str(write_list(tmp_path, [str(tmp_path / name) for name in names])), EXTENSIONS)
    assert [video.relative_path for video in listing.videos] == ["in/a.mp4"]
    assert [note.split(": ")[0] for note in listing.notes] == [
        str(tmp_path / "out" / "clips"),
        str(tmp_path / "out" / DATASET),
    ]
    assert "the 2 files in it" in listing.notes[0]


def test_a_folder_that_is_only_named_like_one_of_ours_is_footage(tmp_path: Path) -> None:
    make(tmp_path, "in/clips/a.mp4", f"in/{DATASET}/b.mp4", "in/.work/notes.txt")
    assert found(tmp_path / "in") == ["clips/a.mp4", f"{DATASET}/b.mp4"]


def test_names_in_notes_can_be_printed(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    for name in ("\x1b[31mred\x1b]0;title\x07.mp4", "line\nbreak.mp4", "\u202egnp.mp4"):
        (tmp_path / name).symlink_to(tmp_path / "gone")
    notes = list_videos(str(tmp_path), None, EXTENSIONS).notes
    assert len(notes) == 3
    assert all(note.isprintable() for note in notes)
