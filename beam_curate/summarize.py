"""The summary of a run whose driver did not write it."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from beam_curate.errors import UsageError
from beam_curate.exit_codes import EXIT_FAILED
from beam_curate.follow import job_state, runs_of
from beam_curate.progress.worker_counts import total
from beam_curate.records import missing
from beam_curate.report.report import context_of, report, written
from beam_curate.report.standing import driver_is_alive
from beam_curate.report.summary import RunFacts
from beam_curate.store import ledger, runs
from beam_curate.store.base import Store
from beam_curate.store.ledger import Ledger
from beam_curate.store.recorded import Recorded
from beam_curate.store.runs import Ended, Listed, Run, Runs


def summarize(output: Store, console: Console) -> int:
    """Writes the summary of the last run of an output, and prints its table.

    Videos that its job lost are recorded as failed, to be done again.

    Args:
        output: The output.
        console: Where to print.

    Returns:
        The exit status that the run would have had.

    Raises:
        UsageError: There is no run, or it is still at work.
        OSError: The output refuses it.
    """
    known = runs_of(output)
    run = known.latest
    if run is None:
        raise UsageError(f"no run is recorded in {output.location()}: nothing can be summed up; run the command again")
    if run.ended is None and driver_is_alive(output, run):
        raise UsageError(f"a run is working on {output.location()}, and writes the summary at its end")
    listed = runs.listed(output, run)
    if run.ended is None:
        with ledger.reading() as entries:
            entries.collect(output, ledger.of_run(run.fingerprint, run.folder))
            _check_ended(output, known, run, listed, entries)
            run = _settled(output, known, run, listed, entries)
    return _summarize(output, console, run, listed)


def _check_ended(output: Store, known: Runs, run: Run, listed: Listed, entries: Ledger) -> None:
    """Raises UsageError if the job may still be at work: where it is not known to have ended, its workers tell."""
    if all(entries.has(video) for video in listed.chosen):
        return
    state = job_state(run)
    if state == "running" or (state is None and known.may_go_on(run, time.time())):
        raise UsageError(
            f"the job of the last run may still be at work on {output.location()}: beam-curate status tells how far it "
            f"is. Where a cluster is not asked, a job is taken for ended when its workers were not heard for "
            f"{runs.SILENT_S / 60:.0f} minutes"
        )


def _settled(output: Store, known: Runs, run: Run, listed: Listed, entries: Ledger) -> Run:
    """Records what the job lost, and that the run has ended; returns the run."""
    found = missing.settle(context_of(output, run), run.folder, entries, listed.chosen)
    heard_s = known.heard_s(run)
    seconds = 0.0 if heard_s is None else max(0.0, heard_s - known.began_s(run))
    counts: dict[str, Any] = {**total(output, run.folder), **run.to_do}
    why = missing.sentence(found) if found else None
    return runs.end(output, run, Ended(seconds, counts, why))


def _summarize(output: Store, console: Console, run: Run, listed: Listed) -> int:
    """Writes the summary of a run that has ended; returns its exit status."""
    assert run.ended is not None
    facts = RunFacts(len(listed.work), run.ended.seconds, dict(run.ended.counts), dict(run.flags))
    all_captions = written(run.all_captions, len(listed.videos))
    recorded = Recorded(output)
    with ledger.reading() as entries:
        entries.load(output, run.fingerprint)
        outcomes = entries.outcomes(recorded, listed.videos, captions=all_captions)
        text, exit_status = report(output, run, listed, outcomes, facts, console.width)
    console.print(text, end="")
    if run.ended.aborted:
        console.print(f"error: {run.ended.aborted}")
        return EXIT_FAILED
    return exit_status
