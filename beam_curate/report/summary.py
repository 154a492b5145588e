"""The summary of all videos of an input, read back from their records: right on every runner and after every run."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from beam_curate.dataset.format import as_tokenized, repeated
from beam_curate.records import footage
from beam_curate.records.records import COUNTS, RecordContext
from beam_curate.store import layout
from beam_curate.store.outcomes import Outcome

# The reference's summary names totals total_num_clips_*, its records num_clips_*.
_TOTALS = {f"total_{name}": name for name in COUNTS}
_SUMS = ("total_clip_duration", "total_prompt_tokens", "total_output_tokens")


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
    context: RecordContext, outcomes: Sequence[Outcome], run: RunFacts, *, all_captions: bool
) -> dict[str, Any]:
    """Writes ``summary.json``, ``failures.jsonl`` and, by choice, ``v0/all_window_captions.json``."""
    output = context.output
    summary = summarize(context, outcomes, run)
    output.write_json(layout.SUMMARY, summary)
    lines = [json.dumps(failure, sort_keys=True) + "\n" for one in outcomes for failure in one.failures]
    output.write(layout.FAILURES, "".join(lines).encode())
    if all_captions:
        captions = {
            one.video.relative_path: {
                clip: texts for chunk in one.chunks for clip, texts in chunk.get("all_windows", {}).items()
            }
            for one in outcomes
            if one.record is not None
        }
        output.write_json(layout.ALL_CAPTIONS, captions)
    return summary


def summarize(context: RecordContext, outcomes: Sequence[Outcome], run: RunFacts) -> dict[str, Any]:
    """Returns the summary of all listed videos, including those of earlier runs; the run time is this run's."""
    chunks = [chunk for one in outcomes for chunk in one.chunks]
    processed = [one for one in outcomes if one.state == "processed"]
    states = collections.Counter(one.state for one in outcomes)
    tokens = sum(chunk.get("total_output_tokens", 0) for chunk in chunks)
    summary: dict[str, Any] = {
        "num_input_videos": len(outcomes),
        "num_input_videos_selected": run.num_selected,
        "num_processed_videos": len(processed),
        "embedding_algorithm": "",
        "total_video_duration": sum(one.record["duration"] for one in processed if one.record),
        "max_clip_duration": max((chunk.get("max_clip_duration", 0.0) for chunk in chunks), default=0.0),
        "pipeline_run_time": run.seconds / 60,
        "total_video_bytes": sum(one.video.size_bytes for one in processed),
        "num_remuxed_videos": 0,
        **{total: sum(chunk.get(name, 0) for chunk in chunks) for total, name in _TOTALS.items()},
        **{name: sum(chunk.get(name, 0) for chunk in chunks) for name in _SUMS},
    }
    if tokens and run.seconds:
        summary["output_tokens_per_s"] = tokens / run.seconds
    summary["beam_curate"] = {
        **context.provenance,
        "num_failed_videos": states["failed"],
        "num_skipped_videos": states["skipped"],
        "num_pending_videos": states["pending"],
        "num_failed_clips": sum(chunk.get("num_clips_failed", 0) for chunk in chunks),
        "num_dataset_items": sum(len(chunk.get("dataset_items", ())) for chunk in chunks),
        "caption_outcomes": _caption_outcomes(chunks),
        "num_windows_with_one_caption": _one_caption(chunks),
        "num_windows_left_out": sum(len(chunk.get("windows_left_out", {})) for chunk in chunks),
        "num_videos_without_clips": sum(not one.num_clips for one in processed),
        "footage_lost": footage.total([one.record or {} for one in processed], states["failed"]),
        "counts_of_this_run": run.counts,
        "options": run.options,
    }
    for one in outcomes:
        summary[one.video.relative_path] = _video_summary(one)
    return summary


def _caption_outcomes(chunks: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Returns the number of windows by the outcome of their caption."""
    found: collections.Counter[str] = collections.Counter()
    for chunk in chunks:
        outcomes = chunk.get("caption_outcomes")
        for name, number in outcomes.items() if isinstance(outcomes, dict) else ():
            found[name] += number if isinstance(number, int) else 0
    return dict(sorted(found.items()))


def _one_caption(chunks: Sequence[Mapping[str, Any]]) -> int:
    """Returns how many windows share the most frequent caption; 0 unless they are many."""
    captions = (
        as_tokenized(caption)
        for chunk in chunks
        for windows in chunk.get("all_windows", {}).values()
        for caption in windows.values()
    )
    return repeated(collections.Counter(caption for caption in captions if caption))


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
        "filtered_clips": [],
        **{name: sum(chunk.get(name, 0) for chunk in one.chunks) for name in COUNTS},
        "state": one.state,
    }
