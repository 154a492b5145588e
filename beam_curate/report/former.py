"""The report of a run that had nothing to do, kept for the next one: where nothing has changed, nothing is read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from beam_curate import __version__
from beam_curate.elements import Video
from beam_curate.store import layout, readback
from beam_curate.store.base import Store
from beam_curate.store.recorded import Recorded


@dataclasses.dataclass(frozen=True)
class FormerReport:
    """A report.

    Attributes:
        text: As it was printed.
        status: The exit status.
    """

    text: str
    status: int


def state_of(videos: Iterable[Video], recorded: Recorded, flags: Mapping[str, Any]) -> str:
    """Returns a digest of all that a report of a run with nothing to do depends on.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     recorded = Recorded(LocalStore(Path(folder)), "4c1f")
    ...     state_of([], recorded, {}) == state_of([Video("/in/a.mp4", "a.mp4", 900, "17")], recorded, {})
    False

    Args:
        videos: All of the input.
        recorded: What the output holds.
        flags: The options of the run.
    """
    digest = hashlib.sha256(f"{__version__} {recorded.fingerprint} {recorded.state}".encode())
    digest.update(json.dumps(dict(flags), sort_keys=True, default=str).encode())
    for video in videos:
        digest.update(f"{video.uri}\n{video.size_bytes} {video.etag}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def read(output: Store, state: str) -> FormerReport | None:
    """Returns the report of a former run in the same state, if its summary is still there.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     output = LocalStore(Path(folder))
    ...     _ = output.write(layout.SUMMARY, b"{}")
    ...     write(output, "state", FormerReport("All is well.", 0))
    ...     read(output, "state"), read(output, "another")
    (FormerReport(text='All is well.', status=0), None)
    """
    found = readback.read(output, layout.FORMER_REPORT, readback.FORMER_REPORT)
    if not found or found["state"] != state or not output.exists(layout.SUMMARY):
        return None
    return FormerReport(found["text"], found["status"])


def write(output: Store, state: str, report: FormerReport) -> None:
    """Keeps a report."""
    output.write_json(layout.FORMER_REPORT, {"state": state, **dataclasses.asdict(report)})
