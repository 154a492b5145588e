"""Records that are read back are of their shape, or count as absent: the video is done again, and nothing breaks."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_curate.dataset import predict2
from beam_curate.elements import ClipChunk, Video
from beam_curate.errors import UsageError
from beam_curate.progress import worker_counts
from beam_curate.records.recorder import made_before, publish_chunk, record_video
from beam_curate.records.records import RecordContext
from beam_curate.report.summary import RunFacts, write_summary
from beam_curate.sources.selection import Selection
from beam_curate.store import journal, layout
from beam_curate.store.clean import clean
from beam_curate.store.outcomes import outcome, rare_records
from beam_curate.store.runs import Runs
from tests.support.facts import items, make_chunk, make_clip, make_context, make_failure, make_video_element, tree
from tests.support.output import Output
from tests.support.selection import selected

WHOLE, BROKEN, COPY = (make_video_element(f"{name}.mp4") for name in ("whole", "broken", "copy"))
HALF = make_video_element("half.mp4")
FAILED = make_failure(uri=BROKEN.uri)

# Whatever may lie where a record was.
TEXTS = {
    "nothing": b"",
    "zeros": bytes(200),
    "white space": b" \n",
    "half": b'{"failures": 1',
    "not UTF-8": b'{"failures": 0, "video": "\xff"}',
    "UTF-16": '{"failures": 0}'.encode("utf-16"),
    "list": b"[]",
    "list of one": b'[{"failures": 0}]',
    "text": b'"text"',
    "number": b"7",
    "huge number": b"9" * 5000,
    "negative": b"-1",
    "null": b"null",
    "true": b"true",
    "NaN": b"NaN",
    "no fields": b"{}",
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 50_000,
}
VALUES: dict[str, Any] = {
    "list": ["x"],
    "object": {"a": 1},
    "text": "text",
    "5": 5,
    "-1": -1,
    "10^30": 10**30,
    "2.5": 2.5,
    "NaN": float("nan"),
    "infinite": float("inf"),
    "null": None,
    "true": True,
    "way out": ["../../../x"],
    "deep": [[[[{"x": [None]}]]]],
}


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def context(tmp_path: Path) -> RecordContext:
    context = make_context(tmp_path / "out", text_encoder="t5_random")
    make_all(context)
    predict2.mark_random(context.output, 0.0)
    return context


def chunks(output: Output, video: Video) -> list[ClipChunk]:
    made = [make_clip(output, f"{video.relative_path[:-4]}{index}") for index in range(2)]
    if video == HALF:
        made[1] = make_clip(output, "half1", None, failures=(make_failure(uri=HALF.uri, clip_id="half1"),))
    return [make_chunk([clip], video, index, 2, 2) for index, clip in enumerate(made)]


def make_all(context: RecordContext) -> None:
    for video in (WHOLE, HALF):
        record_video(context, video, [publish_chunk(context, one) for one in chunks(context.output, video)], ())
    record_video(context, BROKEN, (), (FAILED,))
    skipped = Video(COPY.uri, COPY.relative_path, COPY.size_bytes, COPY.etag, WHOLE.relative_path)
    record_video(context, skipped, (), ())


def chosen(context: RecordContext) -> Selection:
    return selected([WHOLE, HALF, BROKEN, COPY], context.output, context.fingerprint, keep_duplicates=True)


def marker(output: Output, video: Video) -> Path:
    return output.done("A", video)


RECORDS: dict[str, tuple[Video, Callable[[Output], Path]]] = {
    "video": (WHOLE, lambda output: output.processed_video("whole.mp4")),
    "first chunk": (WHOLE, lambda output: output.processed_chunk("whole.mp4", 0)),
    "last chunk": (WHOLE, lambda output: output.processed_chunk("whole.mp4", 1)),
    "error of a video": (BROKEN, lambda output: output.video_error("broken.mp4")),
    "error of a chunk": (HALF, lambda output: output.video_error("half.mp4", 1)),
    "skip": (COPY, lambda output: output.skipped_video("copy.mp4")),
    "marker": (WHOLE, lambda output: marker(output, WHOLE)),
    "marker of a failure": (BROKEN, lambda output: marker(output, BROKEN)),
}


def everything_reads(context: RecordContext) -> None:
    """What each run does with the records, before the videos are done again."""
    videos = [WHOLE, HALF, BROKEN, COPY]
    outcomes = [outcome(context.output, video, rare_records(context.output)) for video in videos]
    write_summary(context, outcomes, RunFacts(4, 1.0, {}, {}), all_captions=True)
    predict2.still_random(context.output)
    for video in videos:
        made_before(context.output, video.relative_path)


def test_sound_records_are_believed(context: RecordContext) -> None:
    assert chosen(context).videos == () and chosen(context).unreadable == ()


@pytest.mark.parametrize("part", [7, pytest.param(1, marks=pytest.mark.soak)], ids=["some values", "all values"])
@pytest.mark.parametrize("record", RECORDS)
def test_a_record_that_is_no_record_has_its_video_done_again(context: RecordContext, record: str, part: int) -> None:
    output = context.output
    video, where = RECORDS[record]
    before = tree(output.root)
    original = json.loads(where(output).read_bytes())
    wrong = dict(TEXTS)
    for number, key in enumerate(sorted(KEYS & original.keys())):
        for name, value in list(VALUES.items())[number % part :: part]:
            if (key, name) not in FITTING:
                wrong[f"{key}: {name}"] = json.dumps(original | {key: value}).encode()
        without = copy.copy(original)
        del without[key]
        if key not in ("num_clips_passed", "footage_lost"):
            wrong[f"without {key}"] = json.dumps(without).encode()
    if record.startswith("marker"):
        wrong["of another file"] = json.dumps(original | {"video": "/elsewhere/a.mp4"}).encode()
        wrong["other count"] = json.dumps(original | {"failures": 9}).encode()
        del wrong["without video"]
    for what, text in wrong.items():
        where(output).write_bytes(text)
        selection = chosen(context)
        assert video in selection.videos, what
        assert set(selection.videos) <= {video, COPY}, what
        assert selection.unreadable == (video.relative_path,), what
        everything_reads(context)
        make_all(context)
        assert tree(output.root) | LEFT == before | LEFT, what
    where(output).unlink()
    assert chosen(context).videos[-1 if video == COPY else 0] == video
    make_all(context)
    assert chosen(context).videos == ()


KEYS = {
    "failures", "video", "num_clip_chunks", "num_total_clips", "num_clips_passed", "duration", "video_uuid",
    "size_bytes", "etag", "notes", "text_encoder", "clips", "failed_clips", "dataset_items", "all_windows",
    "footage_lost", "windows_left_out", "total_clip_duration", "total_output_tokens", "reason", "duplicate_of",
}  # fmt: skip
TEXTUAL = ("video", "video_uuid", "etag", "text_encoder", "reason", "duplicate_of")
COUNTED = ("num_total_clips", "num_clips_passed", "size_bytes", "total_output_tokens")
FITTING = (
    {(key, "text") for key in TEXTUAL}
    | {(key, "5") for key in (*COUNTED, "duration", "total_clip_duration")}
    | {(key, "2.5") for key in ("duration", "total_clip_duration")}
    | {(key, "list") for key in ("notes", "clips", "failed_clips", "dataset_items")}
    | {("notes", "way out"), ("text_encoder", "null")}
)
LEFT = {"summary.json": "", "failures.jsonl": "", "v0/all_window_captions.json": ""}


def test_a_name_in_a_record_never_leads_out_of_the_output(context: RecordContext, tmp_path: Path) -> None:
    output = context.output
    outside = tmp_path / "mine.mp4"
    outside.write_text("mine")
    path = output.processed_chunk("whole.mp4", 0)
    record = json.loads(path.read_text())
    for name in ("../../mine", str(tmp_path / "mine"), "train/../../../mine", "../mine", "x/../../../mine"):
        for key in ("clips", "failed_clips", "dataset_items"):
            path.write_text(json.dumps(record | {key: [name]}))
            journal.write(output, "whole.mp4", {"num_clip_chunks": 1, "clips": [], "dataset_items": [], key: [name]})
            record_video(context, WHOLE, (), (make_failure(uri=WHOLE.uri),))
            make_all(context)
            assert outside.read_text() == "mine"
    assert items(output)


def test_journals_of_any_content_are_read(context: RecordContext) -> None:
    output = context.output
    entry = {"num_clip_chunks": 2, "clips": ["x"], "dataset_items": ["x_0_95"], "text_encoder": None}
    journal.write(output, "whole.mp4", entry)
    (path,) = output.published.rglob("*.json")
    contents = [*TEXTS.values()]
    contents += [json.dumps(entry | {key: value}).encode() for key in entry for value in VALUES.values()]
    for number, content in enumerate(contents):
        path.with_name(f"{number}.json").write_bytes(content)
    read = journal.read(output, journal.keys(output, "whole.mp4"))
    assert entry in read
    assert "../../../x" not in made_before(output, "whole.mp4").clips
    everything_reads(context)


@pytest.mark.parametrize("what", TEXTS)
def test_counts_and_fingerprints_of_any_content_are_read(context: RecordContext, what: str) -> None:
    output = context.output
    counts = output.runs / "run" / "counts" / "w.json"
    counts.parent.mkdir(parents=True, exist_ok=True)
    counts.write_bytes(TEXTS[what])
    with worker_counts.collected(output, layout.RUNS / "run"):
        pass
    counts.parents[1].with_suffix(".json").write_bytes(TEXTS[what])
    counts.parents[1].with_suffix(".videos.gz").write_bytes(TEXTS[what])
    assert Runs(output).latest is None
    output.fingerprints.write_bytes(TEXTS[what])
    with pytest.raises(UsageError):
        clean(output)
    assert marker(output, WHOLE).exists()
