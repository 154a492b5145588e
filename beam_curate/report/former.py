"""The report of a run that had nothing to do, kept for the next one: where nothing has changed, nothing is read.

It is looked for before anything heavy is imported.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from beam_curate import __version__
from beam_curate.sources.listing import Listing
from beam_curate.store import layout
from beam_curate.store.base import Store
from beam_curate.store.recorded import Recorded


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a run begins with.

    Attributes:
        listing: The input.
        recorded: What the output holds.
    """

    listing: Listing
    recorded: Recorded

    def state(self, flags: Mapping[str, Any]) -> str:
        """Returns a digest of all that the report of a run with nothing to do depends on.

        Args:
            flags: The options of the run.
        """
        digest = hashlib.sha256(f"{__version__} {self.recorded.state} {self.listing.notes}".encode())
        digest.update(json.dumps(dict(flags), sort_keys=True, default=str).encode())
        for video in self.listing.videos:
            digest.update(f"{video.uri}\n{video.size_bytes} {video.etag}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class FormerReport:
    """A report.

    Attributes:
        state: In which it was made; see `Seen.state`.
        text: As it was printed.
        status: The exit status.
    """

    state: str
    text: str
    status: int


NOTHING_TO_DO = "Nothing to do: nothing was computed and no model was loaded."


def heading(notes: Sequence[str], listing: Listing, done: int, to_do: int) -> str:
    r"""Returns what a run says before it works.

    >>> heading(["--limit 1"], Listing("/in", ()), 0, 0)
    'note: --limit 1\n0 videos found, 0 done before, 0 to do'

    Args:
        notes: On the options.
        listing: The input.
        done: How many videos are done.
        to_do: How many are not.
    """
    lines = [f"note: {note}" for note in (*notes, *listing.notes)]
    return "\n".join([*lines, f"{len(listing.videos)} videos found, {done} done before, {to_do} to do"])


def read(output: Store) -> FormerReport | None:
    """Returns the report of the last run with nothing to do, if its summary is still there.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     output = LocalStore(Path(folder))
    ...     _ = output.write(layout.SUMMARY, b"{}")
    ...     write(output, FormerReport("a state", "All is well.", 0))
    ...     read(output)
    FormerReport(state='a state', text='All is well.', status=0)

    Raises:
        OSError: The output refuses it.
    """
    try:
        report = FormerReport(**json.loads(output.read(layout.FORMER_REPORT)))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    is_sound = isinstance(report.text, str) and report.status in (0, 1) and output.exists(layout.SUMMARY)
    return report if is_sound else None


def write(output: Store, report: FormerReport) -> None:
    """Keeps a report."""
    output.write_json(layout.FORMER_REPORT, dataclasses.asdict(report))
