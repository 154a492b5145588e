"""One run: list, check, select, work, report."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

from rich.console import Console

from beam_curate import counters
from beam_curate.dataset import predict2
from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED
from beam_curate.plan.plan import Plan
from beam_curate.progress import terminal
from beam_curate.progress.display import live
from beam_curate.progress.stages import BYTES_TO_DO, VIDEOS_TO_DO
from beam_curate.records import missing
from beam_curate.report import former
from beam_curate.report.dry_run import print_dry_run
from beam_curate.report.former import FormerReport, Seen
from beam_curate.report.summary import RunFacts, write_summary
from beam_curate.report.table import Findings, print_report
from beam_curate.report.verdict import Asked, Judge
from beam_curate.sources.identity import check_sources
from beam_curate.sources.listing import check_found, list_videos
from beam_curate.sources.selection import Selection, enough, select
from beam_curate.stage import restart_stages
from beam_curate.store import disk_errors, layout, ledger
from beam_curate.store.base import LockState
from beam_curate.store.ledger import Ledger
from beam_curate.store.outcomes import Outcome
from beam_curate.store.recorded import Recorded
from beam_curate.video import decoder_pool
from runners import preflight
from runners.beam_import import import_beam
from runners.registry import make_runner

_NOT_ALONE = {
    LockState.SHARED: "another run is writing to this output folder; results stay correct, but work may be done twice",
    LockState.UNAVAILABLE: "the file system of the output folder has no locks, so other runs that write to it are not "
    "noticed, and temporary files of killed runs stay in .work/tmp",
}

_FEW = 100_000  # videos, of which single ones are reported in files that somebody reads


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
    output, sources = plan.output, plan.sources
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
        return _curate(console, plan, seen, entries, start)


def _curate(console: Console, plan: Plan, seen: Seen, entries: Ledger, start: float) -> int:
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
    with output.run_lock() as lock:
        if lock in _NOT_ALONE:
            console.print(f"warning: {_NOT_ALONE[lock]}")
        broken = _work(console, plan, chosen, entries)
        try:
            text, status = _report(plan, seen, chosen, entries, time.monotonic() - start, console.width)
            console.print(text, end="")
            if not chosen.videos:
                former.write(output, FormerReport(seen.state(plan.report.flags), text, status))
        except OSError as error:  # what aborted the work, such as a full disk, is the better message
            broken = broken or f"the summary cannot be written: {disk_errors.explained(error)}"
    if broken:
        console.print(f"error: {broken}")
        console.print("Finished work is kept. Fix the cause and run the same command again to resume.")
        return EXIT_FAILED
    return status


def _written(asked: bool | None, videos: int) -> bool:
    """Whether what speaks of single videos is written: if it was asked for, or nothing was, and they are few."""
    return videos <= _FEW if asked is None else asked


def _work(console: Console, plan: Plan, chosen: Selection, entries: Ledger) -> str | None:
    """Does the work; returns why not all of it is done, or None."""
    if not chosen.videos:
        console.print(former.NOTHING_TO_DO)
        return None
    for sentence in preflight.check_models(plan):
        console.print(f"warning: {sentence}")
    preflight.check_model_server(plan)
    preflight.check_encoder(plan.encoding, plan.output)
    preflight.check_threads(plan.runner)
    if warning := preflight.check_disk(plan.output, chosen.work):
        console.print(f"warning: {warning}")
    if plan.context.text_encoder == "t5_random":
        predict2.mark_random(plan.output, plan.context.validation_fraction)
        console.print("warning: random text embeddings (t5_random): this dataset is for trying out, not for training")
    plan.output.write_json(layout.FINGERPRINTS, plan.fingerprints)
    counters.add(VIDEOS_TO_DO, len(chosen.work))
    counters.add(BYTES_TO_DO, sum(video.size_bytes for video in chosen.videos))
    barriers = preflight.barriers(plan)
    # The folder is of this run alone: another may work on the same output.
    with plan.output.temporary_folder() as run, live(console, [planned.name for planned in plan.stages]):
        runner = make_runner(plan.runner)
        if not runner.workers_elsewhere:
            decoder_pool.start_ahead(plan.limits)
        import_beam(runner)  # takes a second or two: only when there is work
        from runners.launch import run_pipeline

        try:
            captions = _written(plan.report.all_captions, chosen.listed)
            run_pipeline(plan, run, chosen.videos, barriers, captions_in_ledger=captions)
            entries.collect(plan.output, ledger.of_run(plan.context.fingerprint, run))
            if found := missing.settle(plan.context, run, entries, chosen.videos):
                return missing.sentence(found)
        except Exception as error:  # noqa: BLE001 - whatever the runner raises, what is finished is reported
            if plan.runner.verbose:
                console.print_exception()
            # Runners put the worker's traceback into the message: its last line says what happened.
            why = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
            return f"the run was aborted: {why}"
    return None


def _report(plan: Plan, seen: Seen, chosen: Selection, entries: Ledger, seconds: float, width: int) -> tuple[str, int]:
    """Writes the summary; returns what is printed at the end, and the exit status."""
    output, videos, printed = plan.output, seen.listing.videos, io.StringIO()
    console = terminal.console(file=printed, width=width)
    facts = RunFacts(len(chosen.work), seconds, counters.counts(), dict(plan.report.flags))
    all_captions = _written(plan.report.all_captions, len(videos))
    findings, judge = Findings(), Judge({video.uri for video in chosen.work})

    def outcomes() -> Iterator[Outcome]:  # there may be too many to be held at once
        for one in entries.outcomes(seen.recorded, videos, chosen.videos, captions=all_captions):
            findings.add(one)
            judge.add(one)
            yield one

    each_video = _written(plan.report.each_video, len(videos))
    summary = write_summary(plan.context, outcomes(), facts, all_captions=all_captions, each_video=each_video)
    still_random = predict2.still_random(output)
    print_report(console, summary, findings)
    console.print(f"output: {output.location()}")
    if plan.context.text_encoder is not None:
        console.print(f"dataset: {output.location(layout.DATASET)}")
        if still := predict2.remove_empty(output, plan.context.validation_fraction):
            folders = " and ".join(output.location(layout.DATASET / part) for part in still)
            console.print(
                f"warning: {folders} still hold items of videos that were not done with this --validation-fraction: "
                "run again for all videos before training"
            )
    if still_random:
        console.print("warning: its text embeddings are random; do not train on them (--text-encoder t5_11b)")
    asked = Asked(bool(plan.stage("captions")), bool(plan.stage("windows")), plan.report.max_failure_ratio)
    if why := judge.verdict(asked):
        console.print(f"error: {why}")
    return printed.getvalue(), EXIT_FAILED if why else EXIT_DONE
