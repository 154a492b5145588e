"""Finding the source videos in a bucket: below a prefix, by a pattern, or from a list."""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from beam_curate.buckets.base import Bucket, ObjectFacts, scheme_of
from beam_curate.buckets.open import open_bucket
from beam_curate.elements import Video
from beam_curate.store import layout

_AT_ONCE = 16  # prefixes that are listed, or objects that are asked for
_WILDCARD = re.compile(r"[*?\[]")
_MADE = (layout.CLIPS.name, layout.DATASET.name)  # the folders of an output that hold videos
_ALL = ["**", "*"]
_AWKWARD = {"": "%", ".": "%2E", "..": "%2E%2E"}  # folders of keys that no path has, by what stands for them

Note = Callable[[str], None]
Enough = Callable[[Video], bool]


def below(
    url: str, extensions: frozenset[str], profile: str, note: Note, enough: Enough | None = None
) -> tuple[str, list[Video]]:
    """Lists the videos below a prefix, those that match a pattern, or the one that has this key.

    Hidden names, empty objects and what this program made are left out.

    Args:
        url: Such as ``s3://footage/day1``, ``s3://footage/day1/a.mp4`` or ``s3://footage/*/front.mp4``.
        extensions: Lower-case, with the dot.
        profile: Of the user's AWS files.
        note: Is called with what was left out, and why.
        enough: Is called with each video, in the order of keys, and says whether the rest need not be listed.

    Returns:
        What relative paths start from, as a URL, and the videos in no order.

    Raises:
        OSError: The bucket is not there, cannot be listed or does not answer; the message says what to do.
    """
    bucket, key = open_bucket(url, profile)
    bucket.check()
    folder = f"{key.rstrip('/')}/" if key else ""
    one = bucket.head(key) if key and not key.endswith("/") else None
    if one is not None:
        return f"{bucket.url}/{_parent(key)}".rstrip("/"), [_video(bucket, _parent(key), one)]
    wildcard = _WILDCARD.search(key)
    pattern = _ALL
    if wildcard and next(bucket.list(folder), None) is None:
        folder = _parent(key[: wildcard.start()])
        pattern = key[len(folder) :].split("/")
    videos: list[Video] = []
    outputs: set[str] = set()
    for found in _objects(bucket, folder) if enough is None else bucket.list(folder):
        name = found if isinstance(found, str) else found.key
        parts = name[len(folder) :].split("/")
        if layout.WORK.name in parts:
            outputs.add(name[: name.index(f"{layout.WORK}/", len(folder))])
        elif isinstance(found, ObjectFacts) and _is_video(found, parts, extensions) and _matches(parts, pattern):
            videos.append(_video(bucket, folder, found))
            if enough and enough(videos[-1]):
                note(f"{videos[-1].uri}: nothing after it was listed, since there are --limit videos to do")
                break
    return f"{bucket.url}/{folder}".rstrip("/"), _not_made(videos, [f"{bucket.url}/{one}" for one in outputs], note)


def listed(
    urls: Sequence[str], root: str | None, extensions: frozenset[str], profile: str, note: Note
) -> tuple[str, list[Video]]:
    """Looks up the videos of a list, which are in one bucket; what is not there is noted.

    Args:
        urls: Of the videos.
        root: What relative paths start from, as a URL; by default the longest prefix that they have in common.
        extensions: Lower-case, with the dot.
        profile: Of the user's AWS files.
        note: Is called with what was left out, and why.

    Returns:
        As `below`.

    Raises:
        OSError: The bucket is not there, cannot be read or does not answer; the message says what to do.
        ValueError: One of them does not lie below the root, or they are in several buckets.
    """
    if not root and len(places := sorted({_place(url) for url in urls})) > 1:
        raise ValueError(f"it names videos in {' and in '.join(places)}; make a list for each")
    start = f"{root.rstrip('/')}/" if root else _parent(os.path.commonprefix(urls))  # noqa: RUF071 - of characters, then cut at a slash
    for url in urls:
        if not url.startswith(start):
            raise ValueError(f"{url} does not lie below {start}")
    bucket, folder = open_bucket(start, profile)
    bucket.check()
    videos = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for url, facts in zip(urls, pool.map(lambda url: bucket.head(open_bucket(url)[1]), urls), strict=True):
            if facts is None:
                note(f"{url}: left out, there is no such object")
            elif PurePosixPath(url).suffix.lower() not in extensions:
                note(f"{url}: left out, its extension is not in --input-extensions")
            else:
                videos.append(_video(bucket, folder, facts))
    return start.rstrip("/"), videos


def _objects(bucket: Bucket, prefix: str) -> Iterator[ObjectFacts | str]:
    """Yields what is below a prefix; the prefixes within are listed side by side, and yielded where they are hidden."""
    prefixes = [prefix]
    while 0 < len(prefixes) < _AT_ONCE:
        found = itertools.chain.from_iterable(bucket.list(one, folders=True) for one in prefixes)
        prefixes = []
        for one in found:
            if isinstance(one, str) and not _is_hidden(one[len(prefix) :].split("/")[-2]):
                prefixes.append(one)
            else:
                yield one
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(prefixes), _AT_ONCE):
            some = prefixes[start : start + _AT_ONCE]
            yield from itertools.chain.from_iterable(pool.map(lambda one: list(bucket.list(one)), some))


def _is_video(facts: ObjectFacts, parts: Sequence[str], extensions: frozenset[str]) -> bool:
    suffix = PurePosixPath(parts[-1]).suffix.lower()
    return suffix in extensions and facts.size_bytes > 0 and not any(map(_is_hidden, parts))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") and name not in _AWKWARD


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the segments of a key match those of a pattern, where ``**`` stands for any number of segments."""
    if pattern == _ALL:
        return True
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[start:], pattern[1:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _video(bucket: Bucket, folder: str, facts: ObjectFacts) -> Video:
    return Video(f"{bucket.url}/{facts.key}", _relative(facts.key[len(folder) :]), facts.size_bytes, facts.etag)


def _relative(key: str) -> str:
    """Returns a path that has none of the folders that paths drop or resolve; another one for every key.

    >>> _relative("day 1/a.mp4"), _relative("day1//../a.mp4"), _relative("day1/%/a.mp4")
    ('day 1/a.mp4', 'day1/%/%2E%2E/a.mp4', 'day1/%25/a.mp4')
    """
    *folders, name = key.split("/")
    safe = (_AWKWARD.get(one) or (f"%25{one[1:]}" if one.startswith("%") else one) for one in folders)
    return "/".join([*safe, name])


def _not_made(videos: list[Video], outputs: Sequence[str], note: Note) -> list[Video]:
    """Leaves out the clips of outputs of this program, which are told by their folder ``.work``."""
    kept = videos
    for folder in sorted(f"{output}{made}/" for output in outputs for made in _MADE):
        others = [video for video in kept if not video.uri.startswith(folder)]
        if len(others) < len(kept):
            note(
                f"{folder}: left out, beam-curate made the {len(kept) - len(others)} videos in it; to curate them "
                "again, copy them to another folder"
            )
        kept = others
    return kept


def _place(url: str) -> str:
    """Returns where a listed video is, for people."""
    return open_bucket(url)[0].url if scheme_of(url) else "folders of this computer"


def _parent(key: str) -> str:
    """Returns a key or URL up to and with its last ``/``."""
    return key[: key.rfind("/") + 1]
