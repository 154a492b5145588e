"""The ledger of a run: a line for each video that it recorded, from which the driver adds up its report.

Workers write the lines in parts, a file each, since object stores cannot append. The driver copies them to a temporary
file on its own computer and remembers where each one begins, so that memory stays small however many there are. What
has no line, such as a video of an earlier run, is read from its records.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import IO

from beam_curate.elements import Video
from beam_curate.store import layout, readback
from beam_curate.store.base import Store, unique_name
from beam_curate.store.files import short_digest, spool
from beam_curate.store.outcomes import Outcome, outcome, rare_records

_PART_BYTES = 1 << 20  # some hundred videos
_AT_ONCE = 500  # videos that are held at once
_OF_OUTCOME = ("record", "chunks", "skipped", "failures")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of the ledger.

    Attributes:
        video: The video.
        unsettled: Why it is to be done again; None if it is settled.
        outcome: What its records say, where the writer knows it.
    """

    video: Video
    unsettled: str | None = None
    outcome: Outcome | None = None


class LedgerWriter:
    """Collects the entries of one worker and writes them in parts.

    Args:
        output: The output.
        run: The temporary folder of the run.
        written: Is called with each video whose entry has been written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.store.local import LocalStore
        >>> video, run = Video("/in/a.mp4", "a.mp4", 900, "17"), PurePosixPath("run")
        >>> with tempfile.TemporaryDirectory() as folder, reading() as ledger:
        ...     writer = LedgerWriter(LocalStore(Path(folder)), run, lambda video: print(video.uri))
        ...     writer.add(Entry(video))
        ...     writer.flush()
        ...     ledger.collect(LocalStore(Path(folder)), run)
        ...     ledger.has(video)
        /in/a.mp4
        True
    """

    def __init__(self, output: Store, run: PurePosixPath, written: Callable[[Video], None]) -> None:
        self._output = output
        self._folder = layout.ledger(run)
        self._written = written
        self._lines: list[tuple[Video, bytes]] = []
        self._size_bytes = 0

    def add(self, entry: Entry) -> None:
        """Adds an entry; what was collected is written when it has become large.

        Raises:
            OSError: It cannot be written; see `flush`.
        """
        outcome = entry.outcome and {name: getattr(entry.outcome, name) for name in _OF_OUTCOME}
        values = (entry.video.uri, entry.unsettled, outcome)
        line = ("\t".join(json.dumps(value) for value in values) + "\n").encode()  # JSON has no tabs within
        self._lines.append((entry.video, line))
        self._size_bytes += len(line)
        if self._size_bytes >= _PART_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what was collected.

        Raises:
            OSError: It cannot be written. It is dropped: the driver takes these videos for lost, and does them again.
        """
        lines, self._lines, self._size_bytes = self._lines, [], 0
        if lines:
            self._output.write(self._folder / unique_name(), b"".join(line for _, line in lines))
        for video, _ in lines:
            self._written(video)


class Ledger:
    """All entries of a run, on the driver; see `reading`."""

    def __init__(self, lines: IO[bytes]) -> None:
        self._spool = lines
        self._unsettled: dict[bytes, str | None] = {}  # by digest of the URI
        self._outcomes: dict[bytes, int] = {}  # where they begin in the spool

    def collect(self, output: Store, run: PurePosixPath) -> None:
        """Reads what workers wrote.

        Raises:
            OSError: It cannot be read, or not be copied to this computer's temporary folder.
        """
        self._spool.seek(0, os.SEEK_END)
        for part in output.list_files(layout.ledger(run)):
            for line in output.read(part).splitlines(keepends=True):
                self._add(*line.split(b"\t"))

    def _add(self, uri: bytes, unsettled: bytes, outcome: bytes) -> None:
        key, why = short_digest(json.loads(uri)), json.loads(unsettled)
        if key in self._unsettled:  # its worker was lost and another did it again: the records tell which came last
            self._outcomes.pop(key, None)
            self._unsettled[key] = why and self._unsettled[key]
            return
        self._unsettled[key] = why
        self._outcomes[key] = self._spool.tell()
        self._spool.write(outcome)

    def has(self, video: Video) -> bool:
        """Whether a video was recorded in this run."""
        return short_digest(video.uri) in self._unsettled

    def unsettled(self, video: Video) -> str | None:
        """Returns why a video that was recorded is to be done again; None if it is settled, or was not recorded."""
        return self._unsettled.get(short_digest(video.uri))

    def outcomes(self, output: Store, videos: Sequence[Video]) -> Iterator[Outcome]:
        """Yields the outcome of each video, in order; what has no entry is read from its records."""
        rare = rare_records(output)
        with ThreadPoolExecutor() as pool:  # records may lie on a slow file system
            for start in range(0, len(videos), _AT_ONCE):
                some = videos[start : start + _AT_ONCE]
                entered = [self._outcome(video) for video in some]
                others = (video for video, one in zip(some, entered, strict=True) if one is None)
                read = pool.map(lambda video: outcome(output, video, rare), others)
                yield from (one or next(read) for one in entered)

    def _outcome(self, video: Video) -> Outcome | None:
        where = self._outcomes.get(short_digest(video.uri))
        if where is None:
            return None
        self._spool.seek(where)
        found = readback.checked(self._spool.readline(), readback.OUTCOME)
        if found is None:
            return None
        return Outcome(video, found["record"], found["chunks"], found["skipped"], found["failures"])


@contextlib.contextmanager
def reading() -> Iterator[Ledger]:
    """Gives an empty ledger, whose temporary file is gone at the end of the block.

    Example:
        >>> with reading() as ledger:
        ...     ledger.has(Video("/in/a.mp4", "a.mp4", 900, "17"))
        False
    """
    with spool() as lines:
        yield Ledger(lines)
