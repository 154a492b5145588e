"""Which of the listed videos a run works on: not those that are done, not duplicates, at most --limit."""

from __future__ import annotations

import collections
import dataclasses
import io
import itertools
import json
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Literal, cast

from beam_curate.buckets.base import scheme_of
from beam_curate.elements import Video
from beam_curate.store import layout, readback
from beam_curate.store.base import Store
from beam_curate.store.files import sha256_of, sha256_of_ends
from beam_curate.store.ledger import Ledger
from beam_curate.store.outcomes import outcome
from beam_curate.store.readback import Marker
from beam_curate.store.recorded import Recorded


@dataclasses.dataclass(frozen=True)
class Selection:
    """What a run works on.

    Attributes:
        listed: How many videos the input holds.
        done: How many of them need no work.
        videos: What is to be done, in order; a duplicate carries ``duplicate_of``.
        unreadable: Relative paths of videos with a done marker that, or a record of which, cannot be read back; they
            are not done.
    """

    listed: int
    done: int
    videos: tuple[Video, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def work(self) -> tuple[Video, ...]:
        """The videos to be curated, duplicates left out."""
        return tuple(video for video in self.videos if video.duplicate_of is None)


def select(
    videos: Iterable[Video],
    recorded: Recorded,
    fingerprint: str,
    ledger: Ledger,
    *,
    limit: int = 0,
    retry_failed: bool = False,
    repair: bool = False,
    keep_duplicates: bool = False,
) -> Selection:
    """Subtracts what is done, names duplicates, and takes the first ``limit`` of the rest (0 for all).

    With ``repair`` nothing counts as done: what is published is compared with what is stored.

    >>> import tempfile
    >>> from beam_curate.store.ledger import reading
    >>> from beam_curate.store.local import LocalStore
    >>> videos = [Video(f"/in/{name}", name, 0, "17") for name in ("a.mp4", "b.mp4")]
    >>> with tempfile.TemporaryDirectory() as folder, reading() as ledger:
    ...     [video.uri for video in select(videos, Recorded(LocalStore(Path(folder))), "4c1f", ledger, limit=1).work]
    ['/in/a.mp4']

    Args:
        videos: All of the input.
        recorded: What the output holds.
        fingerprint: Under which videos are done.
        ledger: With the entries of former runs; records that it does not know are read.
        limit: Most videos to take; 0 for all.
        retry_failed: Whether videos that failed permanently are taken.
        repair: Whether all videos are taken.
        keep_duplicates: Whether copies are taken as well.
    """
    listed = list(videos)
    with ThreadPoolExecutor() as pool:  # records may lie on a slow file system
        markers = pool.map(lambda video: _marker(recorded, fingerprint, ledger, video), listed)
        found = dict(zip(listed, markers, strict=True))
    is_done = {video.uri: not repair and _counts(marker, retry_failed) for video, marker in found.items()}
    unreadable = tuple(video.relative_path for video, marker in found.items() if marker is False)
    copies = _recorded_copies(listed, recorded)
    uris = {video.relative_path: video.uri for video in listed}
    for uri, relative_path in copies.items():
        # A copy is done as long as its original is done; the original may have been replaced.
        is_done[uri] = is_done[uri] and is_done.get(uris.get(relative_path, ""), True)
    original = {} if keep_duplicates else _originals(listed, is_done, copies)
    chosen: list[Video] = []
    taken = 0
    for video in listed:
        if is_done[video.uri]:
            continue
        if video.uri in original:
            chosen.append(dataclasses.replace(video, duplicate_of=original[video.uri]))
            continue
        if limit and taken == limit:
            break
        chosen.append(video)
        taken += 1
    return Selection(len(listed), sum(is_done.values()), tuple(chosen), unreadable)


def enough(recorded: Recorded, fingerprint: str, limit: int) -> Callable[[Video], bool] | None:
    """Returns what counts the videos that are to do, in the order of a listing, and says when there are enough.

    Of several with the same size and etag only one counts. A copy whose original was curated before, and follows where
    nothing was listed any more, is taken for an original.

    >>> import tempfile
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     is_enough = enough(Recorded(LocalStore(Path(folder))), "4c1f", limit=2)
    >>> [is_enough(Video(f"/in/{name}", name, size, "17")) for name, size in (("a", 1), ("b", 1), ("c", 3))]
    [False, False, True]

    Args:
        recorded: What the output holds.
        fingerprint: Under which videos are done.
        limit: How many are to be done; 0 for all.
    """
    if not limit:
        return None
    contents: set[tuple[int, str]] = set()

    def is_enough(video: Video) -> bool:
        if not recorded.is_marked(fingerprint, video):
            contents.add((video.size_bytes, video.etag))
        return len(contents) >= limit

    return is_enough


def _marker(recorded: Recorded, fingerprint: str, ledger: Ledger, video: Video) -> Marker | Literal[False] | None:
    """Returns the done marker of a video: None without one, False if it or the records cannot be read back."""
    if not recorded.is_marked(fingerprint, video):
        return None
    if (had_failures := ledger.had_failures(recorded, video)) is not None:
        return cast(Marker, {"failures": int(had_failures)})
    output = recorded.output
    marker = readback.read(output, layout.done(fingerprint, video), readback.MARKER)
    return marker if marker and outcome(output, video, recorded.rare).matches(marker) else False


def _counts(marker: Marker | Literal[False] | None, retry_failed: bool) -> bool:
    return marker is not None and marker is not False and not (retry_failed and marker["failures"])


def _recorded_copies(listed: list[Video], recorded: Recorded) -> dict[str, str]:
    """Maps the URI of each video that was skipped as a duplicate to the relative path of its original."""
    keys = ((video.uri, layout.skipped_video(video.relative_path)) for video in listed)
    records = ((uri, readback.read(recorded.output, key, readback.SKIP)) for uri, key in keys if key in recorded.rare)
    return {uri: record["duplicate_of"] for uri, record in records if record}


def _originals(listed: list[Video], is_done: Mapping[str, bool], copies: Container[str]) -> dict[str, str]:
    """Maps the URI of each duplicate to the relative path of its original, which is curated instead.

    The original is the first with the same content, but what was curated before stays the original, and what was
    skipped before stays a duplicate. Videos are told apart by as little as does it, and only where one of those that
    are still alike is to be done.
    """

    def rank(video: Video) -> tuple[bool, bool, str]:
        return video.uri in copies, not is_done[video.uri], video.relative_path

    def alike(groups: list[list[Video]], traits: Iterable[Hashable]) -> list[list[Video]]:
        divided = _divided(groups, iter(traits))
        return [group for group in divided if len(group) > 1 and not all(is_done[video.uri] for video in group)]

    groups = alike([listed], (video.size_bytes or None for video in listed))
    with ThreadPoolExecutor() as pool:
        for trait in (_ends, _content):
            groups = alike(groups, pool.map(trait, itertools.chain(*groups)))
    duplicates: dict[str, str] = {}
    for group in groups:
        original, *others = sorted(group, key=rank)
        duplicates |= {video.uri: original.relative_path for video in others}
    return duplicates


def _divided(groups: Iterable[list[Video]], traits: Iterator[Hashable]) -> Iterator[list[Video]]:
    """Divides each group into those with the same trait; a video whose trait is None is like no other."""
    for group in groups:
        same: dict[Hashable, list[Video]] = collections.defaultdict(list)
        for video in group:
            same[next(traits)].append(video)
        same.pop(None, None)
        yield from same.values()


def _ends(video: Video) -> str | None:
    """Returns what tells most files of equal size apart: the etag of an object, or a hash of a file's two ends."""
    if scheme_of(video.uri):
        return f"etag {video.etag}" if video.etag else None
    try:
        return sha256_of_ends(Path(video.uri))
    except OSError:
        return None  # reading it will fail again where it is recorded


def _content(video: Video) -> str | None:
    """Returns what no two contents share; an object is not read, since equal etags mean equal content."""
    if scheme_of(video.uri):
        return video.etag
    try:
        return sha256_of(Path(video.uri))
    except OSError:
        return None


def write_selection(output: Store, key: PurePosixPath, videos: Iterable[Video]) -> None:
    """Writes the videos of a run for the workers to read, one JSON object a line.

    >>> import tempfile
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     output = LocalStore(Path(folder))
    ...     write_selection(output, PurePosixPath("videos"), [Video("/in/a.mp4", "a.mp4", 900, "17")])
    ...     [video.uri for video in read_selection(output, PurePosixPath("videos"))]
    ['/in/a.mp4']
    """
    lines = (json.dumps(dataclasses.asdict(video)) + "\n" for video in videos)
    output.write(key, "".join(lines).encode())


def read_selection(output: Store, key: PurePosixPath) -> Iterator[Video]:
    """Yields what `write_selection` wrote."""
    for line in io.BytesIO(output.read(key)):
        yield Video(**json.loads(line))
