"""The ledger: what it says of a video is what the records say, and where it does not know, they are asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pytest

from beam_curate.elements import ClipChunk, Failure, Video
from beam_curate.records.recorder import publish_chunk, record_video
from beam_curate.records.records import RecordContext
from beam_curate.sources.selection import select
from beam_curate.store import layout, ledger
from beam_curate.store.ledger import Entry, Ledger, LedgerWriter
from beam_curate.store.outcomes import outcome, rare_records
from beam_curate.store.recorded import Recorded
from tests.support.facts import make_chunk, make_clip, make_context, make_failure, make_video_element, make_window

FOLDER = ledger.of_run("A", PurePosixPath(".work/runs/run"))
VIDEO = make_video_element("deep/a\tvideo \u2028 ü.mp4")
COPY = make_video_element("copy.mp4", duplicate_of="deep/good.mp4")


@pytest.fixture
def context(tmp_path: Path) -> RecordContext:
    return make_context(tmp_path / "out")


@pytest.fixture
def entries() -> Iterator[Ledger]:
    with ledger.reading() as opened:
        yield opened


def new_writer(context: RecordContext, folder: PurePosixPath = FOLDER) -> LedgerWriter:
    return LedgerWriter(context.output, folder, lambda video: None)


def chunks(context: RecordContext, what: str) -> list[ClipChunk]:
    """The chunks of a video, in the order in which they arrive."""
    output = context.output
    if what == "nothing of it":
        return []
    if what == "no clips":
        return [make_chunk((), VIDEO)]
    failure = make_failure("again" in what, clip_id="c", uri=VIDEO.uri)
    left_out = make_window(output, "b1", 0, 40, left_out="fewer than 94 frames (--predict2-min-frames): 41")
    clips = [make_clip(output, "a", text="Ein\tHündchen.\n"), make_clip(output, "b", windows=(left_out,))]
    lost = make_clip(output, "c", None, failures=(failure,))
    return [make_chunk([lost], VIDEO, 1, 2, 3), make_chunk(clips, VIDEO, 0, 2, 3)]


@pytest.mark.parametrize(
    ("video", "what", "failures"),
    [
        (VIDEO, "clips and a failure", ()),
        (VIDEO, "clips and a failure that is tried again", ()),
        (VIDEO, "no clips", ()),
        (VIDEO, "nothing of it", (make_failure(uri=VIDEO.uri, stage="shots"),)),
        (VIDEO, "nothing of it", (make_failure(True, uri=VIDEO.uri, stage="shots"),)),
        (VIDEO, "nothing of it", ()),  # which is not settled
        (COPY, "nothing of it", ()),
    ],
)
@pytest.mark.parametrize("before", [False, True], ids=["at first", "after other clips of it"])
def test_an_entry_says_what_the_records_say(
    context: RecordContext, entries: Ledger, video: Video, what: str, failures: Sequence[Failure], before: bool
) -> None:
    if before:
        former = make_chunk([make_clip(context.output, "x")], video)
        record_video(context, video, [publish_chunk(context, former)], ())
    writer = new_writer(context)
    published = [publish_chunk(context, chunk) for chunk in chunks(context, what)]
    entry = record_video(context, video, published, failures)
    writer.add(entry)
    writer.flush()
    entries.collect(context.output, FOLDER)
    recorded = outcome(context.output, video, rare_records(context.output))
    assert entry.outcome in (None, recorded)
    assert list(entries.outcomes(Recorded(context.output), [video])) == [recorded]
    assert entries.has(video) and entries.unsettled(video) == entry.unsettled
    assert (entry.unsettled is not None) == (what == "nothing of it" and not failures and video is VIDEO)


def test_many_videos_of_many_workers_come_in_the_order_asked_for(context: RecordContext, entries: Ledger) -> None:
    videos = [make_video_element(f"{number}.mp4") for number in range(600)]
    writers = [new_writer(context) for _ in range(3)]
    for number, video in enumerate(videos):
        if number % 7:  # the others were recorded by nobody
            reasons = [make_failure(uri=video.uri, stage=f"{number}" * 6000)]
            entry = record_video(context, video, (), reasons)
            writers[number % 3].add(entry if number % 5 else Entry(video))  # the records know
    for writer in writers:
        writer.flush()
    assert len(context.output.list_files(FOLDER)) > len(writers)  # it was written before the end, too
    entries.collect(context.output, FOLDER)
    found = list(entries.outcomes(Recorded(context.output), videos))
    assert [one.video for one in found] == videos
    for number, one in enumerate(found):
        assert [failure["stage"] for failure in one.failures] == [f"{number}" * 6000] * bool(number % 7)
        assert entries.has(one.video) == bool(number % 7)


@pytest.mark.parametrize(
    ("reasons", "unsettled"), [((None, "lost"), None), (("lost", None), None), (("lost", "late"), "lost")]
)
def test_what_another_worker_did_again_is_read_from_its_records(
    context: RecordContext, entries: Ledger, reasons: tuple[str | None, ...], unsettled: str | None
) -> None:
    first = record_video(context, VIDEO, (), [make_failure(uri=VIDEO.uri, stage="shots")])
    for number, why in enumerate(reasons):
        writer = new_writer(context, FOLDER / str(number))
        writer.add(Entry(VIDEO, why, first.outcome))
        writer.flush()
        entries.collect(context.output, FOLDER / str(number))
    record_video(context, VIDEO, [publish_chunk(context, make_chunk((), VIDEO))], ())
    assert [one.state for one in entries.outcomes(Recorded(context.output), [VIDEO])] == ["processed"]
    assert entries.has(VIDEO) and entries.unsettled(VIDEO) == unsettled


def test_a_damaged_line_is_not_believed(context: RecordContext, entries: Ledger) -> None:
    writer = new_writer(context)
    writer.add(record_video(context, VIDEO, (), [make_failure(uri=VIDEO.uri, stage="shots")]))
    writer.flush()
    (part,) = context.output.list_files(FOLDER)
    context.output.write(part, context.output.read(part).replace(b'"retriable"', b'"retri"'))
    entries.collect(context.output, FOLDER)
    assert [one.state for one in entries.outcomes(Recorded(context.output), [VIDEO])] == ["failed"]


def record_all(context: RecordContext, videos: Sequence[Video], run: str) -> None:
    """A run that records videos and leaves its ledger."""
    writer = new_writer(context, ledger.of_run("A", PurePosixPath(run)))
    for video in videos:
        chunk = make_chunk([make_clip(context.output, video.video_id)], video)
        writer.add(record_video(context, video, [publish_chunk(context, chunk)], ()))
    writer.flush()


def test_what_former_runs_recorded_is_known_without_reading_records(
    context: RecordContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = [make_video_element(f"deep/{number}.mp4", size_bytes=number + 1) for number in range(6)]
    record_all(context, videos[:3], "one")
    record_all(context, videos[2:], "two")  # one of them again
    expected = [outcome(context.output, video, ()) for video in videos]
    recorded = Recorded(context.output)
    with ledger.reading() as entries:
        entries.load(context.output, "A")
        monkeypatch.setattr(type(context.output), "read", None)
        assert [entries.had_failures(recorded, video) for video in videos] == [False] * 6
        assert select(videos, recorded, "A", entries).videos == ()
        assert list(entries.outcomes(recorded, videos)) == expected


@pytest.mark.parametrize("damage", ["deleted", "shorter", "of the same size", "written again", "one record more"])
def test_records_that_changed_since_are_read(context: RecordContext, damage: str) -> None:
    record_all(context, [VIDEO], "one")
    key = layout.processed_chunk(VIDEO.relative_path, 0)
    data = context.output.read(key)
    if damage == "deleted":
        context.output.delete(key)
    elif damage == "one record more":
        context.output.write(layout.video_error(VIDEO.relative_path), b"{}")
    else:
        changed = {
            "shorter": data[:-9],
            "of the same size": data.replace(b'"clips"', b'"clipz"'),
            "written again": data,
        }
        context.output.write(key, changed[damage])
    recorded = Recorded(context.output)
    with ledger.reading() as entries:
        entries.load(context.output, "A")
        assert entries.had_failures(recorded, VIDEO) is None
        assert len(select([VIDEO], recorded, "A", entries).videos) == (
            damage not in ("written again", "one record more")
        )


def test_what_a_run_does_again_is_not_told_by_former_ones(context: RecordContext) -> None:
    record_all(context, [VIDEO], "one")
    recorded = Recorded(context.output)
    record_video(context, VIDEO, (), [make_failure(uri=VIDEO.uri, stage="shots")])
    with ledger.reading() as entries:
        entries.load(context.output, "A")
        assert [one.state for one in entries.outcomes(recorded, [VIDEO], again=[VIDEO])] == ["failed"]


def test_ledgers_that_are_damaged_are_not_believed(context: RecordContext) -> None:
    record_all(context, [VIDEO], "one")
    (part,) = context.output.list_files(layout.ledger("A"), recursive=True)
    for data in (b"", b"\xff\t\t\n", b"a\tb\tc\td\te\n", b'"x"\tnull\tmany\t0\t{}\n', context.output.read(part)[:-1]):
        context.output.write(part, data)
        recorded = Recorded(context.output)
        with ledger.reading() as entries:
            entries.load(context.output, "A")
            assert entries.had_failures(recorded, VIDEO) is None
            assert [one.state for one in entries.outcomes(recorded, [VIDEO])] == ["processed"]


def test_the_parts_of_a_run_are_joined(context: RecordContext, entries: Ledger) -> None:
    videos = [make_video_element(f"{number}.mp4") for number in range(5)]
    for video in videos:
        record_all(context, [video], "one")  # a part each
    folder = ledger.of_run("A", PurePosixPath("one"))
    assert len(context.output.list_files(folder)) == 5
    entries.collect(context.output, folder)
    assert len(context.output.list_files(folder)) == 1
    recorded = Recorded(context.output)
    with ledger.reading() as later:
        later.load(context.output, "A")
        assert [later.had_failures(recorded, video) for video in videos] == [False] * 5


def test_where_a_ledger_has_no_captions_records_are_asked_for_them(context: RecordContext, entries: Ledger) -> None:
    writer = LedgerWriter(context.output, FOLDER, lambda video: None, captions=False)
    chunk = make_chunk([make_clip(context.output, "a", text="Ein Hündchen.")], VIDEO)
    writer.add(record_video(context, VIDEO, [publish_chunk(context, chunk)], ()))
    writer.flush()
    entries.collect(context.output, FOLDER)
    recorded = Recorded(context.output)
    (with_captions,) = entries.outcomes(recorded, [VIDEO], captions=True)
    (without,) = entries.outcomes(recorded, [VIDEO])
    assert with_captions == outcome(context.output, VIDEO, ())
    assert [chunk["all_windows"] for chunk in without.chunks] == [{}]
    assert without.chunks[0] | {"all_windows": {}} == with_captions.chunks[0] | {"all_windows": {}}
