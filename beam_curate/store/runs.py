"""What an output knows of runs: what each was asked, its videos, and whether its job may still be at work.

A run is a file at ``.work/runs/{name}.json``, a list of its videos beside it, and a folder of what it keeps until it
ends: the selection, marks, counters of its workers. On a cluster the job may go on when the process that began it is
gone. Its workers are heard by the times of their counters, which they write again and again; times are those of the
storage, so that clocks of computers may differ.
"""

from __future__ import annotations

import collections
import dataclasses
import gzip
import json
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import pydantic

from beam_curate.elements import Video
from beam_curate.errors import UsageError
from beam_curate.processes import holder
from beam_curate.store import layout, readback
from beam_curate.store.base import Store

HEARD_EVERY_S = 60.0
"""How often a worker is heard at least."""
SILENT_S = 5 * HEARD_EVERY_S
"""A job whose workers were not heard for this long is taken for ended."""
STARTS_S = 900.0
"""A job may take this long until the first of its workers is heard: a cluster may have to start computers."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A job that does not need the process that began it.

    Attributes:
        runner: Of which kind.
        name: What the cluster calls it.
        page: Where the cluster shows it; empty where that is not known.
    """

    runner: str
    name: str
    page: str = ""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        seconds: How long it took.
        counts: What it counted; see `beam_curate.counters`.
        aborted: Why not all of its work was done, or None.
    """

    seconds: float
    counts: Mapping[str, int]
    aborted: str | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run was asked, as far as it is needed to follow it and to sum it up.

    >>> run = Run(new_name(0), 0.0, "DirectRunner", ("shots", "clips"), "4c1f", None, 0.0, {"limit": 3})
    >>> run.name[:17], run.folder.parent == layout.RUNS
    ('19700101T000000Z-', True)

    Attributes:
        name: Sorts by when it began.
        began_s: When it began, in s since 1970, by the clock of the driver.
        runner: Where the pipeline runs.
        stages: Names of its stages, in order.
        fingerprint: Under which videos are done.
        text_encoder: Value of ``--text-encoder``, or None without a dataset.
        validation_fraction: Value of ``--validation-fraction``.
        flags: Every option by its flag.
        all_captions: Whether the file with all captions was asked for; None for inputs that are not too large.
        each_video: Whether an entry for each video was asked for in the summary; None as above.
        max_failure_ratio: Value of ``--max-failure-ratio``.
        num_listed: Videos of the input.
        num_done_before: How many of them needed no work.
        to_do: Counters with what is to be done.
        driver: The process that began it; see `beam_curate.processes.holder`.
        detached: Whether that process left the job to the cluster.
        job: Where it does not need that process.
        ended: How it ended; None while it is not known that it did.
    """

    name: str
    began_s: float
    runner: str
    stages: tuple[str, ...]
    fingerprint: str
    text_encoder: str | None
    validation_fraction: float
    flags: Mapping[str, Any]
    all_captions: bool | None = None
    each_video: bool | None = None
    max_failure_ratio: float | None = None
    num_listed: int = 0
    num_done_before: int = 0
    to_do: Mapping[str, int] = dataclasses.field(default_factory=dict)
    driver: Mapping[str, Any] = dataclasses.field(default_factory=holder.this_process)
    detached: bool = False
    job: Job | None = None
    ended: Ended | None = None

    @property
    def folder(self) -> PurePosixPath:
        """What the run keeps until it ends."""
        return layout.RUNS / self.name


_RUN = pydantic.TypeAdapter(Run)


def new_name(began_s: float) -> str:
    """Returns a name that no other run has; names sort by when runs began."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(began_s))}-{uuid.uuid4().hex[:8]}"


@dataclasses.dataclass(frozen=True)
class Listed:
    """The videos of a run.

    Attributes:
        videos: Of its input, in order.
        chosen: Those that it works on, in order; a duplicate carries ``duplicate_of``.
    """

    videos: tuple[Video, ...]
    chosen: tuple[Video, ...]

    @property
    def work(self) -> tuple[Video, ...]:
        """The videos to be curated, duplicates left out."""
        return tuple(video for video in self.chosen if video.duplicate_of is None)


def begin(output: Store, run: Run, videos: Iterable[Video], chosen: Collection[Video]) -> None:
    """Records a run that begins.

    Args:
        output: Where.
        run: What it was asked.
        videos: Of its input, in order.
        chosen: Those that it works on.
    """
    by_uri = {video.uri: video for video in chosen}
    lines = (_line(by_uri.get(video.uri, video), video.uri in by_uri) for video in videos)
    output.write(_videos(run), gzip.compress("".join(lines).encode(), compresslevel=1, mtime=0))
    output.write_json(_record(run), dataclasses.asdict(run))


def end(output: Store, run: Run, ended: Ended) -> Run:
    """Records how a run ended, and deletes what it kept until then; returns the run as recorded."""
    run = dataclasses.replace(run, ended=ended)
    output.write_json(_record(run), dataclasses.asdict(run))
    output.delete_folder(run.folder)
    return run


def end_left(output: Store) -> None:
    """Records that the last run has ended, where it did not do so itself.

    For a run that is alone on an output and has found nothing to do.
    """
    run = Runs(output).latest
    if run is not None and run.ended is None:
        end(output, run, Ended(0.0, {}))


def listed(output: Store, run: Run) -> Listed:
    """Returns the videos of a run.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> run = Run(new_name(0), 0.0, "DirectRunner", ("shots", "clips"), "4c1f", None, 0.0, {})
    >>> videos = [Video(f"/in/{name}", name, 900, "17") for name in ("a.mp4", "b.mp4")]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     begin(LocalStore(Path(folder)), run, videos, videos[:1])
    ...     [video.relative_path for video in listed(LocalStore(Path(folder)), run).chosen]
    ['a.mp4']

    Raises:
        UsageError: They cannot be read back.
    """
    videos: list[Video] = []
    chosen: list[Video] = []
    try:
        lines = gzip.decompress(output.read(_videos(run))).splitlines()
        if run.num_listed and not lines:
            raise ValueError("it is empty")
        for line in lines:
            *of_listing, duplicate_of, is_chosen = json.loads(line)
            videos.append(Video(*of_listing))
            if is_chosen:
                chosen.append(dataclasses.replace(videos[-1], duplicate_of=duplicate_of))
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise UsageError(
            f"{output.location(_videos(run))}, the list of the videos of the last run, cannot be read ({error}); run "
            "the command of that run again"
        ) from error
    return Listed(tuple(videos), tuple(chosen))


class Runs:
    """The runs that an output knows, as they were listed at one time.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> run = Run(new_name(0), 0.0, "DirectRunner", ("shots", "clips"), "4c1f", None, 0.0, {})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     begin(LocalStore(Path(folder)), run, [], [])
    ...     runs = Runs(LocalStore(Path(folder)))
    >>> runs.latest == run, runs.going_on(time.time)
    (True, False)

    Args:
        output: The output.

    Attributes:
        latest: The one that began last, or None.

    Raises:
        OSError: They cannot be listed or read.
    """

    def __init__(self, output: Store) -> None:
        self._output = output
        self._keys: dict[str, list[str]] = collections.defaultdict(list)  # of records, by run
        self._folders: set[str] = set()  # runs that have one
        self._began_s: dict[str, float] = {}
        self._heard_s: dict[str, float] = {}
        for key, modified_s in output.list_modified(layout.RUNS):
            self._note(key, modified_s)
        read = (readback.read(output, layout.RUNS / f"{name}.json", _RUN) for name in sorted(self._keys))
        self._runs = [run for run in read if run is not None]
        self.latest = self._runs[-1] if self._runs else None

    def _note(self, key: str, modified_s: float) -> None:
        first, *rest = PurePosixPath(key).relative_to(layout.RUNS).parts
        name, dot, _ = first.partition(".")
        if dot:
            self._keys[name].append(key)
            self._began_s[name] = min(modified_s, self._began_s.get(name, modified_s))
            return
        self._folders.add(name)
        if PurePosixPath(key).parent == layout.worker_counts(layout.RUNS / name) and rest:
            self._heard_s[name] = max(modified_s, self._heard_s.get(name, modified_s))

    def began_s(self, run: Run) -> float:
        """Returns when a run began, by the clock of the storage, in s."""
        return self._began_s[run.name]

    def heard_s(self, run: Run) -> float | None:
        """Returns when a process that works for a run was heard last, by the clock of the storage, in s."""
        return self._heard_s.get(run.name)

    def may_go_on(self, run: Run, now_s: float) -> bool:
        """Whether the job of a run may be at work, with or without its driver, as far as its workers tell.

        Args:
            run: Which one.
            now_s: The time by the clock of the storage.
        """
        if run.ended is not None or run.job is None:
            return False
        heard_s = self.heard_s(run)
        if heard_s is None:
            return now_s - self.began_s(run) < STARTS_S
        return now_s - heard_s < SILENT_S

    def open_ones(self, now_s: float) -> list[Run]:
        """Returns the runs whose jobs may be at work; see `may_go_on`."""
        return [run for run in self._runs if self.may_go_on(run, now_s)]

    def going_on(self, now_s: Callable[[], float]) -> bool:
        """Whether a job may be at work. The time is only asked for where it matters."""
        return any(run.job and not run.ended for run in self._runs) and bool(self.open_ones(now_s()))

    def clear(self) -> None:
        """Deletes what runs left that are over, but not what is known of the last one."""
        latest = self.latest
        for name in self._folders:
            if latest is None or name != latest.name or latest.ended is not None or latest.job is None:
                self._output.delete_folder(layout.RUNS / name)
        for name, keys in self._keys.items():
            if latest is None or name != latest.name:
                for key in keys:
                    self._output.delete(key)


def _line(video: Video, is_chosen: bool) -> str:
    return json.dumps([*dataclasses.astuple(video), is_chosen]) + "\n"


def _record(run: Run) -> PurePosixPath:
    return layout.RUNS / f"{run.name}.json"


def _videos(run: Run) -> PurePosixPath:
    return layout.RUNS / f"{run.name}.videos.gz"


def all_counts(output: Store, run: PurePosixPath) -> Iterator[Mapping[str, int]]:
    """Yields what each process that works for a run has counted.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     list(all_counts(LocalStore(Path(folder)), layout.RUNS / "run"))
    []

    Args:
        output: The output.
        run: The folder of the run.
    """
    for key in output.list_files(layout.worker_counts(run)):
        counts: dict[str, int] | None = readback.read(output, key, readback.COUNTS)
        yield counts or {}
