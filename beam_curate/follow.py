"""How far a run is, as it can be told from elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator

from beam_curate.errors import UsageError
from beam_curate.report.standing import Standing, driver_is_alive, standing
from beam_curate.store import layout, runs
from beam_curate.store.base import Store
from beam_curate.store.runs import Ended, Run, Runs

_CANCELLED_S = 30.0  # tasks of a job end one by one
_POLL_S = 0.5


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


def end_lost(output: Store) -> Iterator[str]:
    """Cancels the jobs of runs whose drivers are known to be gone and did not leave them to the cluster.

    Two jobs at once would do the work twice.

    Yields:
        What was done, a sentence for each job.

    Raises:
        OSError: The output cannot be read.
    """
    known = Runs(output)
    for run in known.open_ones(time.time()):
        if run.detached or run.job is None or driver_is_alive(output, run) is not False or job_state(run) != "running":
            continue
        from runners.registry import cancel

        name = f"the job {run.job.name} of a run whose driver is gone"
        if not cancel(run.job):
            yield f"warning: {name} is still at work and could not be cancelled: cancel it on {run.job.page}"
            continue
        deadline = time.monotonic() + _CANCELLED_S
        while job_state(run) == "running" and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        runs.end(output, run, Ended(0.0, {}, "its driver was lost"))
        yield f"note: {name} was still at work and was cancelled; what it finished is kept"


def job_state(run: Run) -> str | None:
    """Asks the cluster for the state of the job of a run; None where there is none, or it does not tell."""
    if run.job is None or run.ended is not None:
        return None
    from runners.registry import state_of  # it takes a while

    return state_of(run.job)
