"""One run: list, check, select, work, report."""

from __future__ import annotations

import contextlib
import shlex
import time

from rich.console import Console

from beam_curate import counters
from beam_curate.dataset import predict2
from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED
from beam_curate.follow import end_lost
from beam_curate.plan.plan import Plan
from beam_curate.progress import terminal
from beam_curate.progress.display import live
from beam_curate.progress.stages import BYTES_TO_DO, VIDEOS_TO_DO
from beam_curate.records import missing
from beam_curate.report import former
from beam_curate.report.dry_run import print_dry_run
from beam_curate.report.former import FormerReport, Seen
from beam_curate.report.report import report, written
from beam_curate.report.summary import RunFacts
from beam_curate.sources.identity import check_sources
from beam_curate.sources.listing import check_found, list_videos
from beam_curate.sources.selection import Selection, enough, select
from beam_curate.stage import restart_stages
from beam_curate.store import disk_errors, layout, ledger, runs
from beam_curate.store.base import LockState
from beam_curate.store.ledger import Ledger
from beam_curate.store.recorded import Recorded
from beam_curate.store.runs import Ended, Listed, Run
from beam_curate.video import decoder_pool
from runners import preflight
from runners.base import Runner
from runners.beam_import import import_beam
from runners.registry import make_runner

_NOT_ALONE = {
    LockState.SHARED: "another run is writing to this output folder, or a job that it began; results stay correct, but "
    "work may be done twice (beam-curate status tells more)",
    LockState.UNAVAILABLE: "the file system of the output folder has no locks, so other runs that write to it are not "
    "noticed, and temporary files of killed runs stay in .work/tmp",
}


def curate(plan: Plan, seen: Seen | None = None) -> int:
    """Curates the videos of a plan.

    Args:
        plan: What is done.
        seen: Input and output, where they were listed already.

    Returns:
        The exit status: 1 when the run was aborted or did not do what was asked; see `beam_curate.report.verdict`.

    Raises:
        UsageError: A check before the first video failed.
    """
    start = time.monotonic()
    console = terminal.console()
    counters.reset()
    restart_stages()
    preflight.check_packages()
    preflight.check_runner(plan)
    runner = make_runner(plan.runner)
    output, sources = plan.output, plan.sources
    if plan.runner.detach:
        runner.check_detached(output)
    preflight.check_reachable(output)
    if seen is None:
        recorded, extensions = Recorded(output), frozenset(sources.extensions)
        is_enough = enough(recorded, plan.context.fingerprint, sources.limit)
        place, profile = output.location(), sources.reader.profile
        listing = list_videos(sources.path, sources.list_path, extensions, place, profile, is_enough)
        seen = Seen(listing, recorded)
    check_found(seen.listing, sources.extensions)
    preflight.check_sources(plan, seen.listing.videos)
    if seen.listing.searched:
        preflight.check_folders(seen.listing.root, output.location())
    with ledger.reading() as entries:
        entries.load(output, plan.context.fingerprint)
        return _curate(console, plan, runner, seen, entries, start)


def _curate(console: Console, plan: Plan, runner: Runner, seen: Seen, entries: Ledger, start: float) -> int:
    """Selects, works and reports; returns the exit status."""
    output, sources, recorded = plan.output, plan.sources, seen.recorded
    chosen = select(
        seen.listing.videos,
        recorded,
        plan.context.fingerprint,
        entries,
        limit=sources.limit,
        retry_failed=sources.retry_failed,
        repair=sources.repair,
        keep_duplicates=sources.keep_duplicates,
    )
    check_sources(chosen.videos, recorded, sources.reader)
    console.print(former.heading(plan.report.notes, seen.listing, chosen.done, len(chosen.work)))
    if chosen.unreadable:
        names = terminal.shown(", ".join(chosen.unreadable[:5])) + (" ..." if len(chosen.unreadable) > 5 else "")
        console.print(f"note: records of {len(chosen.unreadable)} videos are missing or damaged; done again: {names}")
    if plan.report.dry_run:
        print_dry_run(console, plan, chosen.work, preflight.barriers(plan))
        return EXIT_DONE
    if warning := preflight.check_output(output):
        console.print(f"warning: {warning}")
    for sentence in end_lost(output) if chosen.videos else ():
        console.print(sentence)
    run, listed = _run_of(plan, runner, chosen), Listed(seen.listing.videos, chosen.videos)
    with output.run_lock() as lock:
        if lock in _NOT_ALONE:
            console.print(f"warning: {_NOT_ALONE[lock]}")
        broken = None
        if chosen.videos:
            broken = _work(console, plan, runner, run, listed, entries, start)
            if broken is None and run.detached:
                console.print(_left(run, output.location()))
                return EXIT_DONE
        else:
            console.print(former.NOTHING_TO_DO)
            if lock is LockState.EXCLUSIVE:
                runs.end_left(output)
        try:
            facts = RunFacts(len(chosen.work), time.monotonic() - start, counters.counts(), dict(run.flags))
            all_captions = written(run.all_captions, chosen.listed)
            outcomes = entries.outcomes(recorded, listed.videos, chosen.videos, captions=all_captions)
            text, status = report(output, run, listed, outcomes, facts, console.width)
            console.print(text, end="")
            if not chosen.videos:
                former.write(output, FormerReport(seen.state(run.flags), text, status))
        except OSError as error:  # what aborted the work, such as a full disk, is the better message
            broken = broken or f"the summary cannot be written: {disk_errors.explained(error)}"
    if broken:
        console.print(f"error: {broken}")
        console.print("Finished work is kept. Fix the cause and run the same command again to resume.")
        return EXIT_FAILED
    return status


def _run_of(plan: Plan, runner: Runner, chosen: Selection) -> Run:
    """Returns what is recorded of the run."""
    began_s = time.time()
    return Run(
        runs.new_name(began_s),
        began_s,
        plan.runner.name,
        tuple(planned.name for planned in plan.stages),
        plan.context.fingerprint,
        plan.context.text_encoder,
        plan.context.validation_fraction,
        plan.report.flags,
        plan.report.all_captions,
        plan.report.each_video,
        plan.report.max_failure_ratio,
        chosen.listed,
        chosen.done,
        {VIDEOS_TO_DO: len(chosen.work), BYTES_TO_DO: sum(video.size_bytes for video in chosen.videos)},
        detached=plan.runner.detach,
        job=runner.job,
    )


def _left(run: Run, place: str) -> str:
    """Returns what to do with a job that was left to a cluster."""
    assert run.job is not None
    where = f" on {run.job.page}" if run.job.page else ""
    place = shlex.quote(place)
    return (
        f"The job {run.job.name} goes on{where} without this program. How far it is: beam-curate status {place}\n"
        f"When it has ended, this writes the summary and prints the table: beam-curate summarize {place}"
    )


def _work(
    console: Console, plan: Plan, runner: Runner, run: Run, listed: Listed, entries: Ledger, start: float
) -> str | None:
    """Does the work, or leaves it to the cluster; returns why not all of it is done, or None."""
    output = plan.output
    for sentence in preflight.check_models(plan):
        console.print(f"warning: {sentence}")
    preflight.check_model_server(plan)
    if not (plan.encoding.on_gpu and runner.workers_elsewhere):  # those have the GPU, and tell of it
        preflight.check_encoder(plan.encoding, output)
    preflight.check_threads(plan.runner)
    if warning := preflight.check_disk(output, listed.work):
        console.print(f"warning: {warning}")
    if plan.context.text_encoder == "t5_random":
        predict2.mark_random(output, plan.context.validation_fraction)
        console.print("warning: random text embeddings (t5_random): this dataset is for trying out, not for training")
    output.write_json(layout.FINGERPRINTS, plan.fingerprints)
    for name, amount in run.to_do.items():
        counters.add(name, amount)
    runs.begin(output, run, listed.videos, listed.chosen)
    goes_on = False
    broken: str | None = "it was interrupted"
    try:
        with contextlib.nullcontext() if run.detached else live(console, run.stages):
            broken = _run_pipeline(console, plan, runner, run, listed, entries)
        goes_on = _goes_on(runner, run) if broken else run.detached  # its job server may be gone, and the job not
        if broken and goes_on:
            broken += f"; its job goes on (beam-curate status {shlex.quote(output.location())})"
    finally:
        if not goes_on:
            with contextlib.suppress(OSError):  # a full disk, perhaps, of which the report will speak
                runs.end(output, run, Ended(time.monotonic() - start, counters.counts(), broken))
    return broken


def _goes_on(runner: Runner, run: Run) -> bool:
    """Whether the job of a run is still at work on a cluster."""
    return run.job is not None and runner.state_of(run.job) == "running"


def _run_pipeline(
    console: Console, plan: Plan, runner: Runner, run: Run, listed: Listed, entries: Ledger
) -> str | None:
    """Runs the pipeline; returns why not all of its work is done, or None."""
    if not runner.workers_elsewhere:
        decoder_pool.start_ahead(plan.limits)
    barriers = preflight.barriers(plan)
    import_beam(runner)  # takes a second or two: only when there is work
    from runners.launch import run_pipeline

    try:
        captions = written(run.all_captions, len(listed.videos))
        run_pipeline(
            plan,
            runner,
            run.folder,
            listed.chosen,
            barriers,
            captions_in_ledger=captions,
            detach=run.detached,
        )
        if run.detached:
            return None
        entries.collect(plan.output, ledger.of_run(run.fingerprint, run.folder))
        if found := missing.settle(plan.context, run.folder, entries, listed.chosen):
            return missing.sentence(found)
    except Exception as error:  # noqa: BLE001 - whatever the runner raises, what is finished is reported
        if plan.runner.verbose:
            console.print_exception()
        # Runners put the worker's traceback into the message: its last line says what happened.
        why = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
        return f"the run was aborted: {why}"
    return None
