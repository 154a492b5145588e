"""Finding the source videos: a folder, a glob or a list; in one fixed order, each file once."""

from __future__ import annotations

import collections
import dataclasses
import glob
import json
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from beam_curate.buckets.base import DEFAULT_PROFILE, scheme_of
from beam_curate.buckets.open import read_place
from beam_curate.elements import Video
from beam_curate.errors import DiskError, SourceChangedError, UsageError
from beam_curate.progress.terminal import shown
from beam_curate.sources import bucket_listing
from beam_curate.sources.outputs import Outputs

_GLOB_CHARACTERS = "*?["


@dataclasses.dataclass(frozen=True)
class Listing:
    """The source videos.

    Attributes:
        root: The folder that relative paths start from.
        videos: Ordered by relative path.
        notes: What was left out, and why.
        searched: Whether all of ``root`` was searched, so that nothing may be written below it.
    """

    root: str
    videos: tuple[Video, ...]
    notes: tuple[str, ...] = ()
    searched: bool = True


def list_videos(
    input_path: str | None,
    list_path: str | None,
    extensions: frozenset[str],
    output: str | None = None,
    profile: str = DEFAULT_PROFILE,
    enough: Callable[[Video], bool] | None = None,
) -> Listing:
    """Lists the videos of a run, without clips that this program made.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("b.MP4", "a.mov", "notes.txt"):
    ...         Path(folder, name).touch()
    ...     [video.relative_path for video in list_videos(folder, None, frozenset({".mov", ".mp4"})).videos]
    ['a.mov', 'b.MP4']

    Args:
        input_path: A folder (searched through), a file or a glob, or such a URL; None when there is only a list.
        list_path: A JSON array of full paths or of URLs, each below ``input_path`` when that is given.
        extensions: Lower-case, with the dot.
        output: The output folder of this run, whose files count as made by this program even while it is not there yet.
        profile: Of the user's AWS files, for what is on S3.
        enough: Says of a video in a bucket whether what follows it need not be listed; see `selection.enough`.

    Raises:
        UsageError: The path or the list does not exist or is not what it should be.
    """
    listed = None if list_path is None else _read_list(list_path, profile)
    if any(scheme_of(path) for path in [*(listed or ()), *([input_path] if input_path else ())]):
        return _in_bucket(input_path, list_path, listed, extensions, profile, enough)
    videos: list[Video] = []
    notes: list[str] = []
    if list_path is not None and listed is not None:
        root, paths = _from_list(list_path, listed, input_path)
    else:
        assert input_path is not None
        root, paths = _from_path(input_path, notes)
    outputs, below = Outputs(output), f"{root.rstrip('/')}/"
    for path in paths:
        if Path(path).suffix.lower() not in extensions:
            if list_path is not None:
                notes.append(f"{shown(path)}: left out, its extension is not in --input-extensions")
            continue
        try:
            facts = _regular_file(path)
        except _LeftOutError as reason:
            notes.append(f"{shown(path)}: left out, {reason}")
            continue
        if outputs.holds(path):
            continue
        relative = path[len(below) :] if path.startswith(below) else os.path.relpath(path, root)
        videos.append(Video(path, relative, facts.st_size, str(facts.st_mtime_ns)))
    notes += outputs.notes()
    videos.sort(key=lambda video: video.relative_path)
    searched = list_path is None and (os.path.isdir(input_path or "") or "**" in (input_path or ""))
    return Listing(root, tuple(videos), tuple(notes), searched)


def check_unchanged(video: Video) -> None:
    """Checks that a source file is the one that was listed.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     check_unchanged(Video(file.name, "a.mp4", 900, "17"))
    Traceback (most recent call last):
        ...
    beam_curate.errors.SourceChangedError: the file changed after it was listed; run again when it is complete

    Raises:
        SourceChangedError: Its size or modification time is another.
        DiskError: It is gone, or cannot be reached.
    """
    try:
        facts = os.stat(video.uri)
    except FileNotFoundError as error:
        raise DiskError(f"the file is no longer there: {error.strerror}") from error
    except OSError as error:
        raise DiskError(f"user {os.geteuid()} cannot reach the file: {error.strerror}") from error
    if (facts.st_size, str(facts.st_mtime_ns)) != (video.size_bytes, video.etag):
        raise SourceChangedError("the file changed after it was listed; run again when it is complete")


def check_found(listing: Listing, extensions: Collection[str]) -> None:
    """Checks that there is a video.

    >>> check_found(Listing("/in", ()), [".mp4"])
    Traceback (most recent call last):
        ...
    beam_curate.errors.UsageError: no videos in /in; files that end in .mp4 count (--input-extensions)

    Raises:
        UsageError: There is none; with what was left out.
    """
    if not listing.videos:
        raise UsageError(
            f"no videos in {listing.root}; files that end in {', '.join(extensions)} count (--input-extensions)"
            + "".join(f"\n{note}" for note in listing.notes)
        )


class _LeftOutError(Exception):
    """Why a file is not a source."""


def _regular_file(path: str) -> os.stat_result:
    """Returns the facts of a file that can be a source.

    Raises:
        _LeftOutError: It cannot be one.
    """
    try:
        path.encode()
        facts = os.stat(path)
    except UnicodeEncodeError as error:
        raise _LeftOutError("its path is not UTF-8; rename it") from error
    except OSError as error:
        raise _LeftOutError(error.strerror) from error
    except ValueError as error:
        raise _LeftOutError("a path cannot contain a NUL byte") from error
    if not stat.S_ISREG(facts.st_mode):
        raise _LeftOutError("it is not a regular file")
    return facts


def _from_path(input_path: str, notes: list[str]) -> tuple[str, Iterator[str]]:
    path = os.path.abspath(input_path)
    if os.path.isdir(path):
        return path, _walk(path, notes)
    if os.path.isfile(path):
        return os.path.dirname(path), iter([path])
    plain = re.split(f"[{re.escape(_GLOB_CHARACTERS)}]", input_path, maxsplit=1)[0]
    if plain != input_path:
        return os.path.abspath(os.path.dirname(plain)), _matching(input_path)
    raise UsageError(f"--input-video-path {input_path}: no such file or folder")


def _matching(pattern: str) -> Iterator[str]:
    """Yields every matching file; one that is reached through several links is yielded once, by its shortest path."""
    seen: set[tuple[str, str]] = set()
    paths = {os.path.abspath(path) for path in glob.iglob(pattern, recursive=True)}
    for path in sorted(paths, key=lambda path: (path.count("/"), path)):
        folder, name = os.path.split(path)
        place = (os.path.realpath(folder), name)
        if place not in seen and not os.path.isdir(path):
            seen.add(place)
            yield path


def _walk(root: str, notes: list[str]) -> Iterator[str]:
    """Yields every file below a folder; follows links to folders without looping; skips hidden names.

    A folder that cannot be read is noted. Links come last, so that a link to a folder that is below the root
    anyway does not rename its files.
    """
    seen: set[tuple[int, int]] = set()
    pending = collections.deque([root])
    while pending:
        folder = pending.pop()
        try:
            facts = os.stat(folder)
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            notes.append(f"{shown(folder)}: left out, {error.strerror}")
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not os.path.isdir(entry.path):
                yield entry.path
            elif entry.is_symlink():
                pending.appendleft(entry.path)
            else:
                pending.append(entry.path)


def _in_bucket(
    input_path: str | None,
    list_path: str | None,
    listed: list[str] | None,
    extensions: frozenset[str],
    profile: str,
    enough: Callable[[Video], bool] | None,
) -> Listing:
    """Lists videos of a bucket."""
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(shown(text))

    flag = f"--input-video-path {input_path}" if listed is None else f"--input-video-list-json-path {list_path}"
    try:
        if listed is None:
            assert input_path is not None
            root, videos = bucket_listing.below(input_path, extensions, profile, note, enough)
        else:
            root, videos = bucket_listing.listed(sorted(set(listed)), input_path, extensions, profile, note)
    except (OSError, ValueError) as error:
        raise UsageError(f"{flag}: {error}") from error
    videos.sort(key=lambda video: video.relative_path)
    return Listing(root, tuple(videos), tuple(notes), searched=listed is None)


def _read_list(list_path: str, profile: str) -> list[str]:
    try:
        paths = json.loads(read_place(list_path, profile))
    except OSError as error:
        raise UsageError(f"--input-video-list-json-path {list_path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"--input-video-list-json-path {list_path}: not valid JSON: {error}") from error
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise UsageError(f"--input-video-list-json-path {list_path}: not an array of paths")
    return paths


def _from_list(list_path: str, listed: list[str], input_path: str | None) -> tuple[str, Iterator[str]]:
    paths = sorted({os.path.abspath(path) for path in listed})
    if input_path is None:
        root = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else os.getcwd()
        return root, iter(paths)
    root = os.path.abspath(input_path)
    for path in paths:
        if not path.startswith(root.rstrip("/") + "/"):
            raise UsageError(
                f"--input-video-list-json-path {list_path}: {path} does not lie below --input-video-path {root}"
            )
    return root, iter(paths)
