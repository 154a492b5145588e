"""The report of a run: what is written at its end, and what is printed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

from beam_curate.dataset import predict2
from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED
from beam_curate.progress import terminal
from beam_curate.records.records import RecordContext
from beam_curate.report.summary import RunFacts, write_summary
from beam_curate.report.table import Findings, print_report
from beam_curate.report.verdict import Asked, Judge
from beam_curate.store import layout
from beam_curate.store.base import Store
from beam_curate.store.outcomes import Outcome
from beam_curate.store.runs import Listed, Run

_FEW = 100_000  # videos, of which single ones are reported in files that somebody reads


def written(asked: bool | None, videos: int) -> bool:
    """Whether what speaks of single videos is written: if it was asked for, or nothing was, and they are few.

    >>> written(None, 10), written(None, 1_000_000), written(True, 1_000_000)
    (True, False, True)
    """
    return videos <= _FEW if asked is None else asked


def context_of(output: Store, run: Run) -> RecordContext:
    """Returns what all records of a run have in common."""
    return RecordContext(output, run.fingerprint, run.text_encoder, run.validation_fraction)


def report(
    output: Store, run: Run, listed: Listed, outcomes: Iterable[Outcome], facts: RunFacts, width: int
) -> tuple[str, int]:
    """Writes the summary.

    Args:
        output: The output.
        run: What the run was asked.
        listed: Its videos.
        outcomes: Of all of its videos, in order.
        facts: What is known of the run itself.
        width: Of the terminal, in columns.

    Returns:
        What is printed at the end of the run, and its exit status.

    Raises:
        OSError: The output refuses it.
    """
    printed, number = io.StringIO(), len(listed.videos)
    console = terminal.console(file=printed, width=width)
    findings, judge = Findings(), Judge({video.uri for video in listed.work})

    def noted() -> Iterator[Outcome]:  # there may be too many to be held at once
        for one in outcomes:
            findings.add(one)
            judge.add(one)
            yield one

    summary = write_summary(
        context_of(output, run),
        noted(),
        facts,
        all_captions=written(run.all_captions, number),
        each_video=written(run.each_video, number),
    )
    still_random = predict2.still_random(output)
    print_report(console, summary, findings)
    console.print(f"output: {output.location()}")
    if run.text_encoder is not None:
        console.print(f"dataset: {output.location(layout.DATASET)}")
        if still := predict2.remove_empty(output, run.validation_fraction):
            folders = " and ".join(output.location(layout.DATASET / part) for part in still)
            console.print(
                f"warning: {folders} still hold items of videos that were not done with this --validation-fraction: "
                "run again for all videos before training"
            )
    if still_random:
        console.print("warning: its text embeddings are random; do not train on them (--text-encoder t5_11b)")
    asked = Asked("captions" in run.stages, "windows" in run.stages, run.max_failure_ratio)
    if why := judge.verdict(asked):
        console.print(f"error: {why}")
    return printed.getvalue(), EXIT_FAILED if why else EXIT_DONE
