"""The report at the end of a run: what was made, what failed and why, and what to do."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from beam_curate.progress.terminal import shown
from beam_curate.records import footage
from beam_curate.store.outcomes import Outcome

_MOST_FAILURES = 20
_MOST_NAMES = 5  # that failed alike
_MOST_NOTES = 100
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


@dataclasses.dataclass
class _Alike:
    """Failures of the same kind."""

    names: list[str] = dataclasses.field(default_factory=list)
    number: int = 0


class Findings:
    """What the report says beside the summary, collected video by video; of many alike, only the first are kept."""

    def __init__(self) -> None:
        self._alike: dict[tuple[Any, ...], _Alike] = {}  # by stage, message, type and whether it is retriable
        self._failures: collections.Counter[bool] = collections.Counter()  # by whether they are retriable
        self._left_out: collections.Counter[str] = collections.Counter()  # windows, by reason
        self._without_clips: list[str] = []
        self._num_without_clips = 0
        self._notes: list[str] = []
        self._num_notes = 0

    def add(self, one: Outcome) -> None:
        """Adds a video."""
        path = shown(one.video.relative_path)
        for failure in one.failures:
            self._add_failure(path, failure)
        for chunk in one.chunks:
            self._left_out.update(reason.split(":")[0] for reason in chunk.get("windows_left_out", {}).values())
        if one.state == "processed" and not one.num_clips:
            self._num_without_clips += 1
            if len(self._without_clips) < _MOST_FAILURES:
                causes = "; ".join(footage.in_words(footage.of_record(one.record)))
                self._without_clips.append(f"{path}: {causes or 'it has no footage'}")
        notes = (one.record or {}).get("notes", ())
        self._num_notes += len(notes)
        self._notes += [shown(f"{path}: {note}") for note in notes[: _MOST_NOTES - len(self._notes)]]

    def _add_failure(self, path: str, failure: Mapping[str, Any]) -> None:
        self._failures[failure["retriable"]] += 1
        kind = tuple(failure[name] for name in ("stage", "message", "error_type", "retriable"))
        if kind not in self._alike and len(self._alike) == _MOST_FAILURES:
            return
        alike = self._alike.setdefault(kind, _Alike())  # a mistake in the set-up fails everything alike
        alike.number += 1
        if len(alike.names) < _MOST_NAMES:
            alike.names.append(path + (f", clip {failure['clip_id']}" if failure["clip_id"] else ""))

    def print_failures(self, console: Console) -> None:
        """Prints what failed and why, and what to do."""
        if not self._failures:
            return
        console.print(f"What failed ({self._failures.total()}):")
        for (stage, message, error_type, retriable), alike in self._alike.items():
            more = f" and {alike.number - len(alike.names)} more" if alike.number > len(alike.names) else ""
            again = "will be tried again" if retriable else "permanent"
            console.print(shown(f"  {'; '.join(alike.names)}{more}: {stage}: {message} ({error_type}, {again})"))
        if left := self._failures.total() - sum(alike.number for alike in self._alike.values()):
            console.print(f"  and {left} more in failures.jsonl")
        if self._failures[True]:
            console.print("Run the same command again to retry: only what is missing is done.")
        if self._failures[False]:
            console.print("Permanent failures are not tried again without --retry-failed.")

    def print_left_out(self, console: Console) -> None:
        """Prints why windows are not in the dataset."""
        for reason, count in sorted(self._left_out.items()):
            console.print(f"left out of the dataset: {count} x {reason}")

    def print_without_clips(self, console: Console) -> None:
        """Prints which videos have no clip, and why."""
        for line in self._without_clips:
            console.print(f"no clip: {line}")
        if more := self._num_without_clips - len(self._without_clips):
            console.print(f"and {more} more videos without a clip: see processed_videos/")

    def print_notes(self, console: Console) -> None:
        """Prints the notes on videos."""
        for note in self._notes:
            console.print(f"note: {note}")
        if more := self._num_notes - len(self._notes):
            console.print(f"and {more} more notes: see processed_videos/")


def print_report(console: Console, summary: dict[str, Any], findings: Findings) -> None:
    """Prints what was made, what failed and why, and what to do."""
    ours = summary["beam_curate"]
    kept_s = summary["total_clip_duration"] - ours["filtered_clip_duration"]
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in (
        ("videos", f"{summary['num_input_videos']} found, {summary['num_processed_videos']} processed"),
        ("", f"{ours['num_failed_videos']} failed, {ours['num_skipped_videos']} skipped as duplicates"),
        ("", f"{ours['num_pending_videos']} still to do"),
        ("clips", f"{summary['total_num_clips_passed']} ({kept_s:.0f} s)"),
        *(("", f"{number} rejected by {name}") for name, number in ours["clips_filtered_by"].items()),
        ("", f"{ours['num_failed_clips']} failed"),
        ("captioned", f"{summary['total_num_clips_with_caption']} clips"),
        *(("", f"{number} windows {words}") for words, number in _caption_outcomes(ours["caption_outcomes"])),
        ("dataset", f"{ours['num_dataset_items']} items, {ours['num_windows_left_out']} windows left out"),
    ):
        if not value.startswith("0 ") or name:
            table.add_row(name, value)
    console.print(table)
    findings.print_failures(console)
    findings.print_left_out(console)
    for line in footage.in_words(ours["footage_lost"]):
        console.print(f"footage without a clip: {line}")
    findings.print_without_clips(console)
    if number := ours["num_windows_with_one_caption"]:
        console.print(f"note: {number} windows have the same caption; check that the captioner describes what it sees")
    findings.print_notes(console)


def _caption_outcomes(outcomes: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yields the number of windows of each outcome but plain success, and its description."""
    for name, number in sorted(outcomes.items()):
        if name != "success":
            yield _CAPTION_OUTCOMES.get(name, f"without a caption ({name})"), number
