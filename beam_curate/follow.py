"""How far a run is, as it can be told from elsewhere."""

from __future__ import annotations

from beam_curate.errors import UsageError
from beam_curate.report.standing import Standing, standing
from beam_curate.store import layout
from beam_curate.store.base import Store
from beam_curate.store.runs import Run, Runs


def status(output: Store) -> Standing | None:
    """Returns how far the last run of an output is; None where none is recorded.

    Raises:
        UsageError: It is no output.
        OSError: It cannot be read.
    """
    known = runs_of(output)
    run = known.latest
    return None if run is None else standing(output, known, run, job_state(run))


def runs_of(output: Store) -> Runs:
    """Returns the runs that an output knows.

    Raises:
        UsageError: It is no output.
        OSError: It cannot be read.
    """
    if layout.WORK not in output.list_folders(""):
        raise UsageError(f"{output.location()} is not an output folder of beam-curate")
    return Runs(output)


def job_state(run: Run) -> str | None:
    """Asks the cluster for the state of the job of a run; None where there is none, or it does not tell."""
    if run.job is None or run.ended is not None:
        return None
    from runners.registry import state_of  # it takes a while

    return state_of(run.job)
