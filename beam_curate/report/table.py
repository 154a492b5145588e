"""The report at the end of a run: what was made, what failed and why, and what to do."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from beam_curate.progress.terminal import shown
from beam_curate.records import footage
from beam_curate.store.outcomes import Outcome

_MOST_FAILURES = 20
_MOST_NAMES = 5  # that failed alike
_CAPTION_OUTCOMES = {
    "truncated": "with a truncated caption (--captioning-max-output-tokens)",
    "blocked": "without a caption: blocked by a content filter",
    "empty": "without a caption: the answer is empty",
    "cut_off": "without a caption: cut off while reasoning (--captioning-max-output-tokens)",
    "degenerate": "without a caption: it only repeated itself",
    "markup": "without a caption: it contains chat-template tokens",
    "declined": "without a caption: the model declined",
    "reasoning": "without a caption: unmarked reasoning instead",
    "echoed": "without a caption: it only repeated the prompt",
    "undecodable": "without a caption: it contains bytes that are not text",
    "not_finite": "without a caption: the model computed NaN",
    "too_long": "without a caption: prompt and frames exceed the model's context",
    "refused": "without a caption: refused by the server",
    "exception": "without a caption: no answer",
}


def print_report(console: Console, summary: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
    """Prints what was made, what failed and why, and what to do."""
    ours = summary["beam_curate"]
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in (
        ("videos", f"{summary['num_input_videos']} found, {summary['num_processed_videos']} processed"),
        ("", f"{ours['num_failed_videos']} failed, {ours['num_skipped_videos']} skipped as duplicates"),
        ("", f"{ours['num_pending_videos']} still to do"),
        ("clips", f"{summary['total_num_clips_passed']} ({summary['total_clip_duration']:.0f} s)"),
        ("", f"{ours['num_failed_clips']} failed"),
        ("captioned", f"{summary['total_num_clips_with_caption']} clips"),
        *(("", f"{number} windows {words}") for words, number in _caption_outcomes(ours["caption_outcomes"])),
        ("dataset", f"{ours['num_dataset_items']} items, {ours['num_windows_left_out']} windows left out"),
    ):
        if not value.startswith("0 ") or name:
            table.add_row(name, value)
    console.print(table)
    failures = [(one, failure) for one in outcomes for failure in one.failures]
    if failures:
        _print_failures(console, failures)
    reasons = collections.Counter(
        reason.split(":")[0]
        for one in outcomes
        for chunk in one.chunks
        for reason in chunk.get("windows_left_out", {}).values()
    )
    for reason, count in sorted(reasons.items()):
        console.print(f"left out of the dataset: {count} x {reason}")
    for line in footage.in_words(ours["footage_lost"]):
        console.print(f"footage without a clip: {line}")
    empty = [one for one in outcomes if one.state == "processed" and not one.num_clips]
    for one in empty[:_MOST_FAILURES]:
        causes = "; ".join(footage.in_words(footage.of_record(one.record)))
        console.print(f"no clip: {shown(one.video.relative_path)}: {causes or 'it has no footage'}")
    if len(empty) > _MOST_FAILURES:
        console.print(f"and {len(empty) - _MOST_FAILURES} more videos without a clip: see processed_videos/")
    if number := ours["num_windows_with_one_caption"]:
        console.print(f"note: {number} windows have the same caption; check that the captioner describes what it sees")
    for one in outcomes:
        for note in (one.record or {}).get("notes", ()):
            console.print(shown(f"note: {one.video.relative_path}: {note}"))


def _caption_outcomes(outcomes: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yields the number of windows of each outcome but plain success, and its description."""
    for name, number in sorted(outcomes.items()):
        if name != "success":
            yield _CAPTION_OUTCOMES.get(name, f"without a caption ({name})"), number


def _print_failures(console: Console, failures: list[tuple[Outcome, Mapping[str, Any]]]) -> None:
    console.print(f"What failed ({len(failures)}):")
    alike: dict[tuple[Any, ...], list[tuple[Outcome, Mapping[str, Any]]]] = {}
    for one, failure in failures:  # a mistake in the set-up fails everything alike and is printed once
        kind = tuple(failure[name] for name in ("stage", "message", "error_type", "retriable"))
        alike.setdefault(kind, []).append((one, failure))
    for (stage, message, error_type, retriable), found in list(alike.items())[:_MOST_FAILURES]:
        names = [
            shown(one.video.relative_path) + (f", clip {failure['clip_id']}" if failure["clip_id"] else "")
            for one, failure in found[:_MOST_NAMES]
        ]
        more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
        again = "will be tried again" if retriable else "permanent"
        console.print(shown(f"  {'; '.join(names)}{more}: {stage}: {message} ({error_type}, {again})"))
    left = sum(len(found) for found in list(alike.values())[_MOST_FAILURES:])
    if left:
        console.print(f"  and {left} more in failures.jsonl")
    if any(failure["retriable"] for _, failure in failures):
        console.print("Run the same command again to retry: only what is missing is done.")
    if any(not failure["retriable"] for _, failure in failures):
        console.print("Permanent failures are not tried again without --retry-failed.")
