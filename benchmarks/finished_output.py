"""Outputs that look as if many videos had been curated into them: what the program keeps of each, without clips."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from common import ROOT  # noqa: F401 - first of all, since it makes the tree importable

from beam_curate.elements import Caption, Clip, ClipFile, StoredFile, Video, Window
from beam_curate.options.parse import parse
from beam_curate.plan.plan import Plan, make_plan
from beam_curate.records import records
from beam_curate.store import layout, ledger
from beam_curate.store.ledger import Entry, LedgerWriter
from beam_curate.store.outcomes import Outcome
from beam_curate.store.recorded import seal
from tests.support.facts import make_chunk, make_span

CLIPS = 20
CAPTION = "A car follows a white van along a wet street between parked cars, past a crossing with a red light. " * 7


def finish(plan: Plan, videos: Iterable[Video]) -> None:
    """Writes records, done markers and a ledger, as if a run of a plan had curated videos of 20 clips."""
    output, context = plan.output, plan.context
    folder = ledger.of_run(context.fingerprint, PurePosixPath("benchmark"))
    writer = LedgerWriter(output, folder, lambda video: None)

    def finished(video: Video) -> Entry:
        chunk = dataclasses.replace(make_chunk([_clip() for _ in range(CLIPS)], video))
        of_video, of_chunk = records.video_record(context, [chunk]), records.chunk_record(context, chunk)
        path = video.relative_path
        written = {layout.processed_chunk(path, 0): of_chunk, layout.processed_video(path): of_video}
        tags = {key: output.write_json(key, record) for key, record in written.items()}
        output.write_json(layout.done(context.fingerprint, video), {"failures": 0, "video": video.uri})
        return Entry(video, None, Outcome(video, of_video, [of_chunk], None, []), seal(tags))

    with ThreadPoolExecutor(16) as pool:
        for entry in pool.map(finished, videos):
            writer.add(entry)
    writer.flush()


def plan_of(*arguments: str) -> Plan:
    """Returns the plan of a command line."""
    return make_plan(parse(arguments))


def _clip() -> Clip:
    clip_id = str(uuid.uuid4())
    media = ClipFile(StoredFile(f"{clip_id}.mp4", 4_000_000, "0" * 64), 1280, 720, 24, 1, 96, 4.0, "h264")
    return Clip(make_span(clip_id), media, (Window(0, 95, Caption("describe", CAPTION, "success")),))
