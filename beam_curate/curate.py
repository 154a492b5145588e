"""One run: list, check, select, work, report."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence

from rich.console import Console

from beam_curate import counters, stage
from beam_curate.dataset import predict2
from beam_curate.elements import Video
from beam_curate.errors import UsageError
from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED
from beam_curate.options.parse import Options, Parsed, flag_lines
from beam_curate.plan.plan import Plan, make_plan
from beam_curate.progress import terminal
from beam_curate.progress.display import live
from beam_curate.progress.stages import VIDEOS_TO_DO
from beam_curate.records import missing
from beam_curate.report.dry_run import print_dry_run
from beam_curate.report.summary import RunFacts, write_summary
from beam_curate.report.table import print_report
from beam_curate.report.verdict import Asked, verdict
from beam_curate.sources.identity import check_sources
from beam_curate.sources.listing import Listing, list_videos
from beam_curate.sources.selection import Selection, select, write_selection
from beam_curate.store import disk_errors, files
from beam_curate.store.layout import Layout
from beam_curate.store.outcomes import outcome
from beam_curate.store.run_lock import Alone, sole_run
from runners import preflight
from runners.settings import check_runner

_NOT_ALONE = {
    Alone.NO: "another run is writing to this output; the result is right, the work double",
    Alone.UNKNOWN: "the output's file system has no locks, so whether another run writes to it is not known, and "
    "temporary files of runs that were killed stay in .work/tmp",
}


def curate(parsed: Parsed) -> int:
    """Curates the videos that the options name.

    Returns:
        The exit status: 1 when the run broke off or did not do what was asked; see `beam_curate.report.verdict`.

    Raises:
        UsageError: A check before the first video failed.
    """
    start = time.monotonic()
    console = terminal.console()
    options = parsed.options
    counters.reset()
    stage.restart_stages()
    preflight.check_packages()
    check_runner(options.run, parsed.beam_args)
    layout = Layout(os.path.abspath(options.input.output_clip_path))
    listing = _list(options, layout)
    if listing.searched:
        preflight.check_folders(listing.root, layout.output)
    plan = make_plan(options, layout)
    chosen = select(
        listing.videos,
        layout,
        plan.fingerprints.done,
        limit=options.input.limit,
        retry_failed=options.run.retry_failed,
        repair=options.run.repair,
        keep_duplicates=options.input.keep_duplicates,
    )
    check_sources(chosen.videos, layout)
    for note in (*parsed.notes, *listing.notes):
        console.print(f"note: {note}")
    console.print(f"{chosen.listed} videos found, {chosen.done} done before, {len(chosen.work)} to do")
    if chosen.unreadable:
        names = terminal.shown(", ".join(chosen.unreadable[:5])) + (" ..." if len(chosen.unreadable) > 5 else "")
        console.print(f"note: records of {len(chosen.unreadable)} videos are missing or damaged; done again: {names}")
    if options.run.dry_run:
        print_dry_run(console, plan, chosen.work)
        return EXIT_DONE
    preflight.check_output(layout.output)
    with sole_run(layout) as alone:
        if alone in _NOT_ALONE:
            console.print(f"warning: {_NOT_ALONE[alone]}")
        broken = _work(console, plan, chosen, parsed.beam_args)
        try:
            status = _report(console, plan, listing.videos, chosen, time.monotonic() - start)
        except OSError as error:  # what broke the work off, a full disk for one, is the better message
            broken = broken or f"the summary cannot be written: {disk_errors.explained(error)}"
    if broken:
        console.print(f"error: {broken}")
        console.print("What is finished is kept; when the cause is mended, the same command goes on from there.")
        return EXIT_FAILED
    return status


def _list(options: Options, layout: Layout) -> Listing:
    listing = list_videos(
        options.input.input_video_path,
        options.input.input_video_list_json_path,
        frozenset(options.input.input_extensions),
        layout,
    )
    if not listing.videos:
        raise UsageError(
            f"no videos in {listing.root}; files that end in {', '.join(options.input.input_extensions)} count "
            "(--input-extensions)" + "".join(f"\n{note}" for note in listing.notes)
        )
    return listing


def _work(console: Console, plan: Plan, chosen: Selection, beam_args: Sequence[str]) -> str | None:
    """Does the work; returns why not all of it is done, or None."""
    if not chosen.videos:
        console.print("Nothing to do: nothing was computed and no model was loaded.")
        return None
    for sentence in preflight.check_models(plan.options):
        console.print(f"warning: {sentence}")
    preflight.check_endpoint(plan.options)
    preflight.check_encoder(plan.options, plan.layout)
    preflight.check_threads(plan.options)
    if warning := preflight.check_disk(plan.layout, chosen.work):
        console.print(f"warning: {warning}")
    if plan.context.text_encoder == "t5_random":
        predict2.mark_random(plan.layout, plan.context.validation_fraction)
        console.print("warning: random text embeddings (t5_random): this dataset is for trying out, not for training")
    files.write_json(plan.layout.fingerprints, list(dataclasses.asdict(plan.fingerprints).values()), plan.layout.tmp)
    counters.add(VIDEOS_TO_DO, len(chosen.work))
    with files.scratch(plan.layout) as scratch, live(console, plan.stages):
        selection = scratch / "selection"  # of this run alone: another may work on the same output
        write_selection(selection, chosen.videos, plan.layout.tmp)
        from runners.launch import run_pipeline  # Beam takes seconds to import: only when there is work

        try:
            run_pipeline(plan, selection, beam_args)
            if found := missing.settle(plan.context, missing.recorded(selection), chosen.videos):
                return missing.sentence(found)
        except Exception as error:  # noqa: BLE001 - whatever the runner raises, what is finished is reported
            if plan.options.run.verbose:
                console.print_exception()
            # Runners put the worker's traceback into the message: its last line says what happened.
            why = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
            return f"the run broke off: {why}"
    return None


def _report(console: Console, plan: Plan, videos: Sequence[Video], chosen: Selection, seconds: float) -> int:
    options, layout = plan.options, plan.layout
    outcomes = [outcome(layout, video) for video in videos]
    facts = RunFacts(len(chosen.work), seconds, counters.counts(), flag_lines(options))
    everything = options.dataset.write_all_caption_json
    summary = write_summary(plan.context, outcomes, facts, all_captions=everything)
    still_random = predict2.still_random(layout)
    print_report(console, summary, outcomes)
    console.print(f"output: {layout.output}")
    if plan.context.text_encoder is not None:
        console.print(f"dataset: {layout.dataset}")
        if still := predict2.remove_empty(layout, options.dataset.validation_fraction):
            folders = " and ".join(str(layout.dataset / part) for part in still)
            console.print(
                f"warning: {folders} still hold items of videos that were not done with this --validation-fraction: "
                "run again for all videos before training"
            )
    if still_random:
        console.print("warning: its text embeddings are random; do not train on them (--text-encoder t5_11b)")
    asked = Asked(plan.captioner is not None, plan.windows is not None, options.run.max_failure_ratio)
    if why := verdict(outcomes, {video.uri for video in chosen.work}, asked):
        console.print(f"error: {why}")
        return EXIT_FAILED
    return EXIT_DONE
