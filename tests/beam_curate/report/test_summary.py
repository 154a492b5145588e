"""The summary: true counts of all videos of the input, under the reference's names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from beam_curate.elements import Caption, Video, Window
from beam_curate.records.recorder import publish_chunk, record_video
from beam_curate.records.records import RecordContext
from beam_curate.report.summary import RunFacts, write_summary
from beam_curate.report.table import Findings, print_report
from beam_curate.store.outcomes import Outcome, outcome, rare_records
from tests.support.facts import make_chunk, make_clip, make_context, make_failure, make_video_element, make_window

# What cosmos-curate 1.4 writes and its viewers and benchmarks read.
COUNTS = {
    *("num_clips_filtered_by_motion", "num_clips_filtered_by_aesthetic", "num_clips_filtered_by_qwen_classifier"),
    *("num_clips_filtered_by_qwen_semantic", "num_clips_filtered_by_artificial_text", "num_clips_passed"),
    *("num_clips_transcoded", "num_clips_with_embeddings", "num_clips_with_caption", "num_clips_with_webp"),
}
SUMMARY_KEYS = {f"total_{name}" for name in COUNTS} | {
    *("num_input_videos", "num_input_videos_selected", "num_processed_videos", "embedding_algorithm"),
    *("total_video_duration", "total_clip_duration", "max_clip_duration", "pipeline_run_time", "total_video_bytes"),
    *("num_remuxed_videos", "total_prompt_tokens", "total_output_tokens"),
}
VIDEO_KEYS = COUNTS | {"source_video", "video_uuid", "num_clip_chunks", "num_total_clips", "clips", "filtered_clips"}
META_KEYS = {
    *("span_uuid", "source_video", "duration_span", "width_source", "height_source", "framerate_source"),
    *("clip_location", "width", "height", "framerate", "num_frames", "video_codec", "num_bytes", "errors", "windows"),
    *("filtered_windows", "valid", "has_caption", "total_prompt_tokens", "total_output_tokens"),
}
WINDOW_KEYS = {"start_frame", "end_frame", "describe_caption", "describe_prompt_tokens", "describe_output_tokens"}
PROCESSED_VIDEO_KEYS = {
    *("video", "height", "width", "framerate", "num_frames", "duration", "video_codec", "pixel_format"),
    *("audio_format", "num_total_clips", "num_clip_chunks", "video_uuid"),
}
CHUNK_KEYS = COUNTS | {
    *("video", "clip_chunk_index", "total_clip_duration", "max_clip_duration", "total_prompt_tokens"),
    *("total_output_tokens", "clips", "filtered_clips", "all_windows", "all_windows_enhanced_caption"),
}
ERROR_KEYS = {"video", "clip_chunk_index", "errors"}

GOOD = make_video_element("deep/good.mp4", size_bytes=100)
EMPTY = make_video_element("empty.mp4", size_bytes=20)
UNREADABLE = make_video_element("unreadable.mp4", size_bytes=3000)
PASSING = make_video_element("passing.mp4", size_bytes=3000)
COPY = make_video_element("copy.mp4", size_bytes=100, duplicate_of="deep/good.mp4")
WAITING = make_video_element("waiting.mp4", size_bytes=4000)
VIDEOS = [GOOD, EMPTY, UNREADABLE, PASSING, COPY, WAITING]
RUN = RunFacts(num_selected=5, seconds=90.0, counts={"clips cut": 3}, options={"limit": 0})


@pytest.fixture
def context(tmp_path: Path) -> RecordContext:
    """An output with a video of every fate."""
    context = make_context(tmp_path / "out")
    output = context.output
    failure = make_failure(clip_id="c", uri=GOOD.uri)
    short = make_window(output, "b1", 0, 40, left_out="fewer than 94 frames (--predict2-min-frames): 41")
    spoken = make_clip(output, "b", windows=(short,))
    chunks = [
        make_chunk([make_clip(output, "a", text="Ein Hündchen."), spoken], GOOD, 0, 2, 3),
        make_chunk([make_clip(output, "c", None, failures=(failure,))], GOOD, 1, 2, 3),
    ]
    record_video(context, GOOD, [publish_chunk(context, chunk) for chunk in chunks], [])
    record_video(context, EMPTY, [publish_chunk(context, make_chunk((), EMPTY))], [])
    record_video(context, UNREADABLE, [], [make_failure(uri=UNREADABLE.uri, stage="shots")])
    record_video(context, PASSING, [], [make_failure(True, uri=PASSING.uri, stage="shots")])
    record_video(context, COPY, [], [])
    return context


def outcomes(context: RecordContext, videos: list[Video] = VIDEOS) -> list[Outcome]:
    return [outcome(context.output, video, rare_records(context.output)) for video in videos]


def summary(context: RecordContext, run: RunFacts = RUN, videos: list[Video] = VIDEOS) -> dict[str, Any]:
    totals = write_summary(context, outcomes(context, videos), run, all_captions=True)
    made: dict[str, Any] = json.loads(context.output.summary.read_text())
    assert {name: made[name] for name in totals} == totals
    assert list(made) == [*sorted(totals), *(video.relative_path for video in videos)]
    return made


def report(made: dict[str, Any], found: list[Outcome], width: int = 200) -> str:
    """What the terminal says at the end of a run."""
    findings = Findings()
    for one in found:
        findings.add(one)
    console = Console(record=True, width=width)
    print_report(console, made, findings)
    return console.export_text()


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_every_video_ends_in_one_state(context: RecordContext) -> None:
    assert [one.state for one in outcomes(context)] == [
        *("processed", "processed", "failed", "failed", "skipped", "pending")
    ]


def test_the_counts_are_true(context: RecordContext) -> None:
    made = summary(context)
    expected = {
        "num_input_videos": 6,
        "num_input_videos_selected": 5,
        "num_processed_videos": 2,
        "embedding_algorithm": "",
        "total_video_duration": 40.0,
        "total_clip_duration": 8.0,
        "max_clip_duration": 4.0,
        "pipeline_run_time": 1.5,  # minutes
        "total_video_bytes": 120,
        "num_remuxed_videos": 0,
        "total_prompt_tokens": 0,
        "total_output_tokens": 0,
        "total_num_clips_passed": 2,
        "total_num_clips_transcoded": 2,
        "total_num_clips_with_caption": 2,
        "total_num_clips_with_embeddings": 0,
        "total_num_clips_with_webp": 0,
    }
    assert {key: made[key] for key in expected} == expected
    ours = made["beam_curate"]
    assert {key: value for key, value in ours.items() if key.startswith("num_")} == {
        "num_failed_videos": 2,
        "num_skipped_videos": 1,
        "num_pending_videos": 1,
        "num_failed_clips": 1,
        "num_dataset_items": 1,
        "num_windows_left_out": 1,
        "num_windows_with_one_caption": 0,
        "num_videos_without_clips": 1,
    }
    assert ours["counts_of_this_run"] == {"clips cut": 3}
    assert ours["fingerprint"] == "A"
    assert "output_tokens_per_s" not in made


def test_every_video_has_its_entry(context: RecordContext) -> None:
    made = summary(context)
    good = made["deep/good.mp4"]
    assert good["clips"] == ["a", "b"]
    assert (good["num_clip_chunks"], good["num_total_clips"], good["num_clips_passed"]) == (2, 3, 2)
    assert good["video_uuid"] == GOOD.video_id
    assert (made["empty.mp4"]["num_clip_chunks"], made["empty.mp4"]["num_total_clips"]) == (1, 0)
    for video, state in ((UNREADABLE, "failed"), (PASSING, "failed"), (COPY, "skipped"), (WAITING, "pending")):
        entry = made[video.relative_path]
        assert (entry["processed"], entry["state"], entry["source_video"]) == (False, state, video.uri)
    assert made["copy.mp4"]["reason"] == "same content as deep/good.mp4"


def test_the_keys_of_the_reference_are_there(context: RecordContext) -> None:
    output, made = context.output, summary(context)
    window = read(output.clip_meta("a"))["windows"][0]
    for keys, record in (
        (SUMMARY_KEYS, made),
        (VIDEO_KEYS, made["deep/good.mp4"]),
        (META_KEYS, read(output.clip_meta("a"))),
        (WINDOW_KEYS, window),
        (PROCESSED_VIDEO_KEYS, read(output.processed_video("deep/good.mp4"))),
        (CHUNK_KEYS, read(output.processed_chunk("deep/good.mp4", 0))),
        (ERROR_KEYS, read(output.video_error("deep/good.mp4", 1))),
    ):
        assert not keys - set(record)


def test_all_captions_in_one_file(context: RecordContext) -> None:
    summary(context)
    assert read(context.output.all_captions) == {
        "deep/good.mp4": {"a": {"0_95": "Ein Hündchen."}, "b": {"0_40": "A ball."}},
        "empty.mp4": {},
    }


def test_the_captions_file_is_by_choice(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    write_summary(context, [], RUN)
    assert not context.output.all_captions.exists()


def test_entries_of_videos_are_by_choice(context: RecordContext) -> None:
    totals = write_summary(context, outcomes(context), RUN, each_video=False)
    assert read(context.output.summary) == totals
    assert totals["num_input_videos"] == len(VIDEOS)


def test_every_failure_is_a_line(context: RecordContext) -> None:
    summary(context)
    lines = [json.loads(line) for line in context.output.failures.read_text().splitlines()]
    assert [(line["uri"], line["clip_id"], line["retriable"]) for line in lines] == [
        (GOOD.uri, "c", False),
        (UNREADABLE.uri, None, False),
        (PASSING.uri, None, True),
    ]


def test_tokens_are_counted_and_their_rate_is_of_this_run(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    window = make_window(context.output, "a")
    caption = Caption("describe", "A ball.", "truncated", prompt_tokens=1000, output_tokens=45)
    clip = make_clip(context.output, "a", windows=(type(window)(0, 95, caption, window.embedding),) * 2)
    record_video(context, GOOD, [publish_chunk(context, make_chunk([clip], GOOD))], [])
    made = summary(context, videos=[GOOD])
    assert (made["total_prompt_tokens"], made["total_output_tokens"]) == (2000, 90)
    assert made["output_tokens_per_s"] == 1.0
    assert read(context.output.clip_meta("a"))["total_output_tokens"] == 90


def test_the_summary_speaks_of_all_runs_but_the_time(context: RecordContext) -> None:
    first = summary(context)
    second = summary(context, RunFacts(0, 6.0, {}, {}))
    for made in (first, second):
        for key in ("pipeline_run_time", "num_input_videos_selected"):
            made.pop(key)
        made["beam_curate"].pop("counts_of_this_run")
        made["beam_curate"].pop("options")
    assert first == second


def test_no_videos_at_all(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    made = summary(context, videos=[])
    assert made["num_input_videos"] == made["max_clip_duration"] == 0
    assert context.output.failures.read_text() == ""
    assert read(context.output.all_captions) == {}


def test_what_became_of_captions_is_counted_and_told(tmp_path: Path) -> None:
    context = make_context(tmp_path / "out")
    captions = [
        Caption("qwen", "A car.", "success"),
        Caption("qwen", "A car", "truncated"),
        Caption("qwen", "", "blocked"),
        *[Caption("qwen", "", "error", failure_reason="degenerate")] * 2,
        Caption("qwen", "", "error", failure_reason="cut_off"),
        Caption("qwen", "", "error", failure_reason="something new"),
    ]
    windows = tuple(Window(100 * number, 100 * number + 99, caption) for number, caption in enumerate(captions))
    chunk = make_chunk([make_clip(context.output, "a", windows=windows)], GOOD)
    record_video(context, GOOD, [publish_chunk(context, chunk)], [])
    made = summary(context, videos=[GOOD])
    assert made["beam_curate"]["caption_outcomes"] == {
        "blocked": 1, "cut_off": 1, "degenerate": 2, "something new": 1, "success": 1, "truncated": 1,
    }  # fmt: skip
    said = " ".join(report(made, outcomes(context, [GOOD])).split())
    for words in ("1 windows with a truncated caption", "2 windows without a caption: it only repeated itself",
                  "1 windows without a caption: blocked", "1 windows without a caption (something new)"):  # fmt: skip
        assert words in said
    meta = read(context.output.clip_meta("a"))
    assert meta["windows"][3]["caption_failure_reason"] == "degenerate"


@pytest.mark.parametrize("damaged", [None, [], "x", {"success": "many"}, {"success": None}])
def test_a_count_of_captions_that_cannot_be_is_none(context: RecordContext, damaged: object) -> None:
    found = outcomes(context)
    for one in found:
        for chunk in one.chunks:
            chunk["caption_outcomes"] = damaged
    made = write_summary(context, found, RUN)
    assert sum(made["beam_curate"]["caption_outcomes"].values()) == 0


def test_a_failure_that_is_the_same_for_all_is_told_once(tmp_path: Path) -> None:
    context = make_context(tmp_path / "out")
    failures = [make_failure(True, clip_id=f"c{number}", uri=GOOD.uri) for number in range(50)]
    clips = [make_clip(context.output, f"c{number}", None, failures=(one,)) for number, one in enumerate(failures)]
    record_video(context, GOOD, [publish_chunk(context, make_chunk(clips, GOOD))], [])
    said = report(summary(context, videos=[GOOD]), outcomes(context, [GOOD]), width=400)
    assert said.count(failures[0].message) == 1
    assert "deep/good.mp4, clip c0; " in said and "clip c4 and 45 more: " in said
    assert "What failed (50)" in said


@pytest.mark.parametrize(
    ("captions", "told"),
    [
        (["A road.", "A road.", " A  road. "], 3),
        (["A road.", "A road.", "A field."], 0),
        (["", "", ""], 0),
    ],
)
def test_one_caption_for_many_windows_is_counted_and_told(tmp_path: Path, captions: list[str], told: int) -> None:
    context = make_context(tmp_path)
    for number, text in enumerate(captions):  # of several videos
        clip = make_clip(context.output, f"c{number}", text=text)
        chunk = make_chunk([clip], make_video_element(f"{number}.mp4"))
        publish_chunk(context, chunk)
        record_video(context, chunk.video, [chunk], [])
    found = outcomes(context, [make_video_element(f"{number}.mp4") for number in range(len(captions))])
    summary = write_summary(context, found, RUN)
    assert read(context.output.summary)["beam_curate"]["num_windows_with_one_caption"] == told
    assert (f"note: {told} windows have the same caption" in report(summary, found)) == bool(told)
