"""Finding the source videos: a folder, a glob or a list; in one fixed order, each file once."""

from __future__ import annotations

import dataclasses
import glob
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from beam_curate.elements import Video
from beam_curate.errors import SourceChangedError, UsageError

_GLOB_CHARACTERS = "*?["


@dataclasses.dataclass(frozen=True)
class Listing:
    """The source videos.

    Attributes:
        root: The folder that relative paths start from.
        videos: Ordered by relative path.
        notes: What was left out, and why.
    """

    root: str
    videos: tuple[Video, ...]
    notes: tuple[str, ...] = ()


def list_videos(input_path: str | None, list_path: str | None, extensions: frozenset[str]) -> Listing:
    """Lists the videos of a run.

    Args:
        input_path: A folder (searched through), a file or a glob; None when there is only a list.
        list_path: A JSON array of full paths, each below ``input_path`` when that is given.
        extensions: Lower-case, with the dot.

    Raises:
        UsageError: The path or the list does not exist or is not what it should be.
    """
    if list_path is not None:
        root, paths = _from_list(list_path, input_path)
    else:
        assert input_path is not None
        root, paths = _from_path(input_path)
    videos, notes = [], []
    for path in paths:
        if Path(path).suffix.lower() not in extensions:
            if list_path is not None:
                notes.append(f"{path}: left out, its extension is not in --input-extensions")
            continue
        relative = os.path.relpath(path, root)
        try:
            relative.encode()
            facts = os.stat(path)
        except UnicodeEncodeError:
            notes.append(f"{path!r}: left out, its name is not UTF-8; rename it")
            continue
        except OSError as error:
            notes.append(f"{path}: left out, {error.strerror}")
            continue
        if not stat.S_ISREG(facts.st_mode):
            notes.append(f"{path}: left out, it is not a regular file")
            continue
        videos.append(Video(path, Path(relative).as_posix(), facts.st_size, str(facts.st_mtime_ns)))
    videos.sort(key=lambda video: video.relative_path)
    return Listing(root, tuple(videos), tuple(notes))


def check_unchanged(video: Video) -> None:
    """Checks that a source file is the one that was listed.

    Raises:
        SourceChangedError: Its size or modification time is another.
        OSError: It is gone.
    """
    facts = os.stat(video.uri)
    if (facts.st_size, str(facts.st_mtime_ns)) != (video.size_bytes, video.etag):
        raise SourceChangedError("the file changed after it was listed; run again when it is complete")


def _from_path(input_path: str) -> tuple[str, Iterator[str]]:
    path = os.path.abspath(input_path)
    if os.path.isdir(path):
        return path, _walk(path)
    if os.path.isfile(path):
        return os.path.dirname(path), iter([path])
    if any(character in input_path for character in _GLOB_CHARACTERS):
        plain = path[: min(path.find(c) for c in _GLOB_CHARACTERS if c in path)]
        return os.path.dirname(plain), _matching(path)
    raise UsageError(f"--input-video-path {input_path}: no such file or folder")


def _matching(pattern: str) -> Iterator[str]:
    for path in set(glob.iglob(pattern, recursive=True)):
        if os.path.isdir(path):
            continue
        yield path


def _walk(root: str) -> Iterator[str]:
    """Yields every file below a folder; follows links to folders, but never in a circle; skips hidden names."""
    seen: set[tuple[int, int]] = set()
    pending = [root]
    while pending:
        folder = pending.pop()
        facts = os.stat(folder)
        if (facts.st_dev, facts.st_ino) in seen:
            continue
        seen.add((facts.st_dev, facts.st_ino))
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    pending.append(entry.path)
                else:
                    yield entry.path


def _from_list(list_path: str, input_path: str | None) -> tuple[str, Iterator[str]]:
    try:
        paths = json.loads(Path(list_path).read_bytes())
    except OSError as error:
        raise UsageError(f"--input-video-list-json-path {list_path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--input-video-list-json-path {list_path}: not valid JSON: {error}") from error
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise UsageError(f"--input-video-list-json-path {list_path}: not an array of paths")
    paths = sorted({os.path.abspath(path) for path in paths})
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
