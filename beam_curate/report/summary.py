"""The summary of all videos of an input, whoever curated them: right on every runner and after every run.

It is added up video by video, and what it says of each one is written at once, so that memory does not grow with them.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from beam_curate.dataset.format import as_tokenized, repeated
from beam_curate.records import footage
from beam_curate.records.records import COUNTS, RecordContext
from beam_curate.store import layout
from beam_curate.store.files import json_bytes, spool
from beam_curate.store.outcomes import Outcome

# The reference's summary names totals total_num_clips_*, its records num_clips_*.
_TOTALS = {f"total_{name}": name for name in COUNTS}
_SUMS = ("total_clip_duration", "total_prompt_tokens", "total_output_tokens")
_ADDED_UP = (*COUNTS, *_SUMS, "num_clips_failed", "filtered_clip_duration")
_MOST_CAPTIONS = 200_000  # that are counted; one of a tenth of all windows is never among the rarer half


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """What is known of the run itself.

    Attributes:
        num_selected: Videos it worked on.
        seconds: How long it took.
        counts: What the process counted; see `beam_curate.counters`.
        options: All options.
    """

    num_selected: int
    seconds: float
    counts: dict[str, int]
    options: dict[str, Any]


def write_summary(
    context: RecordContext,
    outcomes: Iterable[Outcome],
    run: RunFacts,
    *,
    all_captions: bool = False,
    each_video: bool = True,
) -> dict[str, Any]:
    """Writes ``summary.json``, ``failures.jsonl`` and, by choice, ``v0/all_window_captions.json``.

    Args:
        context: Of the run.
        outcomes: Of all listed videos, in order; they are passed through once.
        run: What is known of the run.
        all_captions: Whether the file with all captions is written.
        each_video: Whether the summary has an entry for each video.

    Returns:
        The summary without the entries of videos. It includes earlier runs, but for the run time.
    """
    output, added = context.output, _Added()
    with contextlib.ExitStack() as stack:
        entries = stack.enter_context(spool())  # the totals stand before them, and are known after them
        summary = stack.enter_context(output.writing(layout.SUMMARY))
        failures = stack.enter_context(output.writing(layout.FAILURES))
        captions = stack.enter_context(output.writing(layout.ALL_CAPTIONS)) if all_captions else None
        before = b"{"
        for one in outcomes:
            added.add(one)
            if each_video:
                entries.write(b"," + _line(one, _video_summary(one)))
            failures.writelines((json.dumps(failure, sort_keys=True) + "\n").encode() for failure in one.failures)
            if captions and one.record is not None:
                captions.write(before + _line(one, _captions(one)))
                before = b","
        if captions:
            captions.write(b"\n}\n" if before == b"," else b"{}\n")
        totals = added.totals(context, run)
        summary.write(json_bytes(totals).removesuffix(b"\n}\n"))
        entries.seek(0)
        summary.writelines(entries)
        summary.write(b"\n}\n")
    return totals


def _line(one: Outcome, value: dict[str, Any]) -> bytes:
    """Returns the entry of a video in a JSON object: all on one line, which Python writes fast."""
    path, text = (json.dumps(part, sort_keys=True, ensure_ascii=False) for part in (one.video.relative_path, value))
    return f"\n    {path}: {text}".encode()


class _Added:
    """What the summary says of all videos, added up."""

    def __init__(self) -> None:
        self._states: collections.Counter[str] = collections.Counter()
        self._sums: collections.Counter[str] = collections.Counter()
        self._outcomes: collections.Counter[str] = collections.Counter()  # of captions
        self._filtered: collections.Counter[str] = collections.Counter()  # clips, by filter
        self._captions: collections.Counter[int] = collections.Counter()  # by hash
        self._longest_s = 0.0
        self._lost: footage.Lost = {}

    def add(self, one: Outcome) -> None:
        self._states[one.state] += 1
        for chunk in one.chunks:
            self._add_chunk(chunk)
        if one.state == "processed" and one.record:
            self._sums["total_video_duration"] += one.record["duration"]
            self._sums["total_video_bytes"] += one.video.size_bytes
            self._sums["without clips"] += not one.num_clips
            self._lost = footage.total([{"footage_lost": self._lost}, one.record], 0)
        if len(self._captions) > _MOST_CAPTIONS:
            self._captions = collections.Counter(dict(self._captions.most_common(_MOST_CAPTIONS // 2)))

    def _add_chunk(self, chunk: Mapping[str, Any]) -> None:
        for name in _ADDED_UP:
            if number := chunk.get(name):
                self._sums[name] += number
        self._sums["items"] += len(chunk.get("dataset_items", ()))
        self._sums["left out"] += len(chunk.get("windows_left_out", {}))
        self._longest_s = max(self._longest_s, chunk.get("max_clip_duration", 0.0))
        outcomes = chunk.get("caption_outcomes")
        for name, number in outcomes.items() if isinstance(outcomes, dict) else ():
            self._outcomes[name] += number if isinstance(number, int) else 0
        self._filtered.update(chunk.get("filtered_by", {}))
        for windows in chunk.get("all_windows", {}).values():
            self._captions.update(hash(text) for text in map(as_tokenized, windows.values()) if text)

    def totals(self, context: RecordContext, run: RunFacts) -> dict[str, Any]:
        """Returns the summary; the run time is this run's."""
        states, sums = self._states, self._sums
        tokens = sums["total_output_tokens"]
        return {
            "num_input_videos": states.total(),
            "num_input_videos_selected": run.num_selected,
            "num_processed_videos": states["processed"],
            "embedding_algorithm": "",
            "total_video_duration": sums["total_video_duration"],
            "max_clip_duration": self._longest_s,
            "pipeline_run_time": run.seconds / 60,
            "total_video_bytes": sums["total_video_bytes"],
            "num_remuxed_videos": 0,
            **{total: sums[name] for total, name in _TOTALS.items()},
            **{name: sums[name] for name in _SUMS},
            **({"output_tokens_per_s": tokens / run.seconds} if tokens and run.seconds else {}),
            "beam_curate": {
                **context.provenance,
                "num_failed_videos": states["failed"],
                "num_skipped_videos": states["skipped"],
                "num_pending_videos": states["pending"],
                "num_failed_clips": sums["num_clips_failed"],
                "clips_filtered_by": dict(sorted(self._filtered.items())),
                "filtered_clip_duration": sums["filtered_clip_duration"],
                "num_dataset_items": sums["items"],
                "caption_outcomes": dict(sorted(self._outcomes.items())),
                "num_windows_with_one_caption": repeated(self._captions),
                "num_windows_left_out": sums["left out"],
                "num_videos_without_clips": sums["without clips"],
                "footage_lost": footage.total([{"footage_lost": self._lost}], states["failed"]),
                "counts_of_this_run": run.counts,
                "options": run.options,
            },
        }


def _captions(one: Outcome) -> dict[str, Any]:
    return {clip: texts for chunk in one.chunks for clip, texts in chunk.get("all_windows", {}).items()}


def _video_summary(one: Outcome) -> dict[str, Any]:
    if one.record is None:
        summary: dict[str, Any] = {"source_video": one.video.uri, "processed": False, "state": one.state}
        if one.skipped:
            summary["reason"] = one.skipped
        return summary
    return {
        "source_video": one.video.uri,
        "video_uuid": one.record["video_uuid"],
        "num_clip_chunks": len(one.chunks),
        "num_total_clips": one.record["num_total_clips"],
        "clips": [clip for chunk in one.chunks for clip in chunk.get("clips", ())],
        "filtered_clips": [clip for chunk in one.chunks for clip in chunk.get("filtered_clips", ())],
        **{name: sum(chunk.get(name, 0) for chunk in one.chunks) for name in COUNTS},
        "state": one.state,
    }
