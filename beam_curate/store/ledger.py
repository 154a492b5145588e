"""The ledger: a line for each video that a run recorded, from which the driver adds up its report.

Workers write the lines in parts, a file each, since object stores cannot append. The driver copies them to a temporary
file on its own computer and remembers where each one begins, so that memory stays small however many there are, and
joins the parts of its run. Ledgers stay: a later run believes a line as long as the records that it stands for have
the tags that they had then (`beam_curate.store.recorded`). What has no such line is read from its records.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import IO

from beam_curate.elements import Video
from beam_curate.store import layout, readback
from beam_curate.store.base import Store, unique_name
from beam_curate.store.files import short_digest, spool
from beam_curate.store.outcomes import Outcome, outcome, rare_records
from beam_curate.store.recorded import Recorded

_PART_BYTES = 1 << 20  # some hundred videos
_JOINED_BYTES = 16 << 20
_FILES_AT_ONCE = 4
_AT_ONCE = 500  # videos that are held at once
_OF_OUTCOME = ("record", "chunks", "skipped", "failures")
_COLUMNS = 5
_WITHOUT = "without_captions"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of the ledger.

    Attributes:
        video: The video.
        unsettled: Why it is to be done again; None if it is settled.
        outcome: What its records say, where the writer knows it.
        seal: Changes with these records; see `beam_curate.store.recorded.seal`.
    """

    video: Video
    unsettled: str | None = None
    outcome: Outcome | None = None
    seal: int = 0


class LedgerWriter:
    """Collects the entries of one worker and writes them in parts.

    Args:
        output: The output.
        folder: Of the ledger of the run; see `of_run`.
        written: Is called with each video whose entry has been written.
        captions: Whether entries hold the captions, which are most of them.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.store.local import LocalStore
        >>> video, folder = Video("/in/a.mp4", "a.mp4", 900, "17"), of_run("4c1f", PurePosixPath(".work/runs/run"))
        >>> with tempfile.TemporaryDirectory() as root, reading() as ledger:
        ...     writer = LedgerWriter(LocalStore(Path(root)), folder, lambda video: print(video.uri))
        ...     writer.add(Entry(video))
        ...     writer.flush()
        ...     ledger.collect(LocalStore(Path(root)), folder)
        ...     ledger.has(video)
        /in/a.mp4
        True
    """

    def __init__(
        self, output: Store, folder: PurePosixPath, written: Callable[[Video], None], *, captions: bool = True
    ) -> None:
        self._output = output
        self._folder = folder
        self._written = written
        self._captions = captions
        self._lines: list[tuple[Video, bytes]] = []
        self._size_bytes = 0

    def add(self, entry: Entry) -> None:
        """Adds an entry; what was collected is written when it has become large.

        Raises:
            OSError: It cannot be written; see `flush`.
        """
        outcome = entry.outcome and {name: getattr(entry.outcome, name) for name in _OF_OUTCOME}
        if outcome and not self._captions:
            outcome |= {_WITHOUT: True, "chunks": [{**chunk, "all_windows": {}} for chunk in outcome["chunks"]]}
        num_failures = len(entry.outcome.failures) if entry.outcome else 0
        values = (entry.video.uri, entry.unsettled, entry.seal, num_failures, outcome)
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
    """The entries of a run and of those before it, on the driver; see `reading`."""

    def __init__(self, lines: IO[bytes]) -> None:
        self._spool = lines
        self._unsettled: dict[bytes, str | None] = {}  # of this run, by digest of the URI
        self._outcomes: dict[bytes, int] = {}  # of this run: where they begin in the spool
        self._former: dict[bytes, int] = {}  # by digest of URI and seal: twice where they begin, and 1 with failures

    def load(self, output: Store, fingerprint: str) -> None:
        """Reads the ledgers of former runs under a fingerprint.

        Raises:
            OSError: They cannot be read, or not be copied to this computer's temporary folder.
        """
        self._spool.seek(0, os.SEEK_END)
        for data in _contents(output, output.list_files(layout.ledger(fingerprint), recursive=True)):
            for uri, unsettled, seal, num_failures, said in _lines(data):
                if unsettled == b"null" and said != b"null\n":
                    with contextlib.suppress(ValueError):  # it is damaged
                        sealed = _sealed(json.loads(uri), int(seal))
                        self._former[sealed] = 2 * self._spool.tell() + (num_failures != b"0")
                        self._spool.write(said)

    def collect(self, output: Store, folder: PurePosixPath) -> None:
        """Reads what workers wrote in this run, and joins it to few files.

        Raises:
            OSError: It cannot be read or written, or not be copied to this computer's temporary folder.
        """
        self._spool.seek(0, os.SEEK_END)
        parts = output.list_files(folder)
        joined: list[bytes] = []
        for data in _contents(output, parts):
            for uri, unsettled, _, _, said in _lines(data):
                self._add(json.loads(uri), json.loads(unsettled), said)
            joined.append(data)
            if sum(map(len, joined)) > _JOINED_BYTES:
                output.write(folder / unique_name(), b"".join(joined))
                joined = []
        if len(parts) > 1:
            output.write(folder / unique_name(), b"".join(joined))
            for part in parts:
                output.delete(part)

    def _add(self, uri: str, why: str | None, said: bytes) -> None:
        key = short_digest(uri)
        if key in self._unsettled:  # its worker was lost and another did it again: the records tell which came last
            self._outcomes.pop(key, None)
            self._unsettled[key] = why and self._unsettled[key]
            return
        self._unsettled[key] = why
        self._outcomes[key] = self._spool.tell()
        self._spool.write(said)

    def has(self, video: Video) -> bool:
        """Whether a video was recorded in this run."""
        return short_digest(video.uri) in self._unsettled

    def unsettled(self, video: Video) -> str | None:
        """Returns why a video that was recorded is to be done again; None if it is settled, or was not recorded."""
        return self._unsettled.get(short_digest(video.uri))

    def had_failures(self, recorded: Recorded, video: Video) -> bool | None:
        """Whether the records of a video, by a former run, hold failures; None where no ledger knows."""
        begin = self._begin_of_former(recorded, video)
        return None if begin is None else bool(begin % 2)

    def _begin_of_former(self, recorded: Recorded, video: Video) -> int | None:
        """Returns what `_former` has of a video, if its records are still those that a former run wrote."""
        return self._former.get(_sealed(video.uri, recorded.seal(video)))

    def outcomes(
        self, recorded: Recorded, videos: Sequence[Video], again: Iterable[Video] = (), *, captions: bool = False
    ) -> Iterator[Outcome]:
        """Yields the outcome of each video, in order; what has no entry is read from its records.

        Args:
            recorded: What was recorded before the run.
            videos: All of the input.
            again: What the run worked on, so that former runs know it no more.
            captions: Whether the captions are needed, which entries may be without.
        """
        output, done_again = recorded.output, {short_digest(video.uri) for video in again}
        rare = rare_records(output)
        with ThreadPoolExecutor() as pool:  # records may lie on a slow file system
            for start in range(0, len(videos), _AT_ONCE):
                some = videos[start : start + _AT_ONCE]
                entered = [self._outcome(recorded, video, done_again, captions) for video in some]
                others = (video for video, one in zip(some, entered, strict=True) if one is None)
                read = pool.map(lambda video: outcome(output, video, rare), others)
                yield from (one or next(read) for one in entered)

    def _outcome(self, recorded: Recorded, video: Video, done_again: set[bytes], captions: bool) -> Outcome | None:
        key = short_digest(video.uri)
        where = self._outcomes.get(key)
        if where is None and key not in done_again:
            begin = self._begin_of_former(recorded, video)
            where = None if begin is None else begin // 2
        if where is None:
            return None
        self._spool.seek(where)
        found = readback.checked(self._spool.readline(), readback.OUTCOME)
        if found is None or (captions and found.get(_WITHOUT)):
            return None
        return Outcome(video, found["record"], found["chunks"], found["skipped"], found["failures"])


def of_run(fingerprint: str, run: PurePosixPath) -> PurePosixPath:
    """Returns the folder of the ledger of a run.

    Example:
        >>> str(of_run("4c1f", PurePosixPath(".work/runs/run")))
        '.work/ledger/4c1f/run'

    Args:
        fingerprint: Under which videos are done.
        run: The folder of the run.
    """
    return layout.ledger(fingerprint) / run.name


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


def _contents(output: Store, keys: Sequence[PurePosixPath]) -> Iterator[bytes]:
    """Yields the contents of keys, which are read some at a time."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(keys), _FILES_AT_ONCE):
            yield from pool.map(output.read, keys[start : start + _FILES_AT_ONCE])


def _lines(data: bytes) -> Iterator[list[bytes]]:
    """Yields the columns of each line that is whole."""
    lines = (line.split(b"\t") for line in data.splitlines(keepends=True) if line.endswith(b"\n"))
    return (columns for columns in lines if len(columns) == _COLUMNS)


def _sealed(uri: str, seal: int) -> bytes:
    return short_digest(f"{seal} {uri}")
