"""Elements made by hand: what stages would have made of a video, without running them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from beam_curate.elements import (
    Caption,
    Clip,
    ClipChunk,
    ClipFile,
    Failure,
    Span,
    StoredFile,
    TextEmbedding,
    Video,
    VideoInfo,
    Window,
)
from beam_curate.records.records import RecordContext
from beam_curate.store.stage_files import StageFiles
from tests.support.output import Output

RATE = 24


def make_context(output: Path, fingerprint: str = "A", text_encoder: str = "t5_11b", **fields: Any) -> RecordContext:
    """The context of a run with a dataset."""
    fields = {"validation_fraction": 0.0, **fields}
    return RecordContext(Output(output), fingerprint, text_encoder, **fields)


def make_video_element(relative_path: str = "a.mp4", etag: str = "1", **fields: Any) -> Video:
    """A video; the file itself does not exist."""
    return Video(
        **{"uri": f"/in/{relative_path}", "relative_path": relative_path, "size_bytes": 9, "etag": etag} | fields
    )


def make_info(num_frames: int = 480) -> VideoInfo:
    return VideoInfo(
        width=320,
        height=180,
        frame_rate_num=RATE,
        frame_rate_den=1,
        time_base_num=1,
        time_base_den=RATE,
        num_frames=num_frames,
        duration_s=num_frames / RATE,
        has_timestamps=True,
        constant_frame_rate=True,
        video_codec="h264",
        pixel_format="yuv420p",
        audio_codec=None,
        container="mp4",
        bit_rate_kbps=100,
    )


def make_span(clip_id: str, start: int = 0, end: int = 96) -> Span:
    return Span(clip_id, start, end, start, end, start / RATE, end / RATE)


def store(output: Output, name: str, content: str) -> StoredFile:
    """A file in the result store, named by its hash as the program names it."""
    with output.scratch() as scratch:
        path = scratch / name
        path.write_bytes(content.encode())
        return StageFiles(output, "test", "x").keep(path, Path(name).stem)


def make_window(
    output: Output,
    stem: str,
    start: int = 0,
    end: int = 95,
    text: str = "A ball.",
    video: str | None = None,
    **fields: Any,
) -> Window:
    """A captioned and encoded window, with its own video where one is given."""
    embedding = store(output, f"{stem}.pickle", f"states of {text}")
    return Window(
        start,
        end,
        Caption("describe", text, "success"),
        TextEmbedding(embedding, 3, False),
        store(output, f"{stem}.mp4", video) if video else None,
        **fields,
    )


def make_clip(
    output: Output,
    clip_id: str,
    media: str | None = "pictures",
    text: str = "A ball.",
    windows: tuple[Window, ...] | None = None,
    failures: tuple[Failure, ...] = (),
) -> Clip:
    """A clip of 96 frames with one window; with ``media=None`` one that could not be cut."""
    span = make_span(clip_id)
    if media is None:
        return Clip(span, failures=failures)
    made = ClipFile(store(output, f"{clip_id}.mp4", media), 320, 180, RATE, 1, 96, 4.0, "h264")
    if windows is None:
        windows = (make_window(output, clip_id, text=text),)
    return Clip(span, made, windows, failures)


def make_chunk(
    clips: tuple[Clip, ...] | list[Clip],
    video: Video | None = None,
    index: int = 0,
    num_chunks: int = 1,
    total: int | None = None,
) -> ClipChunk:
    return ClipChunk(
        video or make_video_element(),
        make_info(),
        index,
        num_chunks,
        len(clips) if total is None else total,
        tuple(clips),
    )


def make_failure(
    retriable: bool = False, clip_id: str | None = None, stage: str = "clips", uri: str = "/in/a.mp4"
) -> Failure:
    return Failure(stage, uri, clip_id, "SomeError", "it broke", retriable)


def tree(folder: Path) -> dict[str, str]:
    """What a user sees of an output: each file's path and hash, without the program's own folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".work" not in path.relative_to(folder).parts
    }


def items(output: Output, root: str = "") -> set[str]:
    """The stems that the trainer's loader would find; every one of them is complete."""
    dataset = output.dataset / root
    stems = {path.stem for path in (dataset / "videos").glob("*.mp4")}
    for stem in stems:
        assert (dataset / "metas" / f"{stem}.txt").is_file(), f"{stem} has no text"
        assert (dataset / "t5_xxl" / f"{stem}.pickle").is_file(), f"{stem} has no embedding"
    return stems
