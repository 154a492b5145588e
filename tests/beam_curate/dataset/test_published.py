"""Verify accepts what the run publishes and rejects what it leaves out, at and around the bound of each rule."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from beam_curate.dataset import predict2
from beam_curate.dataset.embedding_file import dump_embedding
from beam_curate.dataset.stage import WindowCutter
from beam_curate.dataset.verify.verify import verify
from beam_curate.elements import Caption, Clip, ClipFile, TextEmbedding, Window
from beam_curate.store.stage_files import StageFiles
from beam_curate.video.decoder_pool import Limits
from beam_curate.video.encode import Encoding
from tests.support.facts import make_chunk, make_clip
from tests.support.output import Output
from tests.support.plans import Placed

MIN_FRAMES = 40
Picture = Callable[[int], NDArray[np.uint8]]


def plain(level: int) -> Picture:
    return lambda number: np.full((64, 96), level, np.uint8)


def checkered(difference: int, level: int = 100) -> Picture:
    """Draws blocks of 16 pixels, which survive encoding: half their difference is the standard deviation."""
    y, x = np.mgrid[:64, :96] // 16
    return lambda number: (level + difference * ((x + y) % 2)).astype(np.uint8)


def from_frame(start: int, before: Picture, after: Picture) -> Picture:
    return lambda number: before(number) if number < start else after(number)


def gradient(number: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:64, :96]
    return (x + y + number).astype(np.uint8)


def noise(strength: int) -> Picture:
    return lambda number: np.random.default_rng(number).integers(100, 101 + strength, (64, 96)).astype(np.uint8)


def encoded(path: Path, picture: Picture, frames: int, size: tuple[int, int], crf: int) -> Path:
    width, height = size
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "threads": "1", "crf": str(crf), "g": "60"}
        stream = container.add_stream("libx264", rate=24, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            luma = np.resize(picture(number), (height, width))
            planes = np.concatenate([luma, np.full((height // 2, width), 128, np.uint8)])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode())
    return path


@dataclasses.dataclass(frozen=True)
class Case:
    """One clip. `published` is what the rules imply; None if that depends on the encoder."""

    published: bool | None
    picture: Picture = gradient
    frames: int = 48
    size: tuple[int, int] = (96, 64)
    crf: int = 18
    text: str = "A ball rolls."
    windows: tuple[int, ...] = ()  # start frames of the second and later windows
    rows: int = 4


CASES = {
    "good": Case(True),
    "black": Case(False, plain(16)),
    "white": Case(False, plain(235)),
    "grey": Case(False, plain(128)),
    "nearly plain": Case(False, checkered(1)),
    "blocks of 2 levels": Case(None, checkered(2)),
    "blocks of 4 levels": Case(True, checkered(4)),
    "dark blocks": Case(True, checkered(6, 16)),
    "black then white": Case(True, from_frame(24, plain(16), plain(235))),
    "light comes late": Case(True, from_frame(30, plain(16), gradient), frames=300),
    "one light frame between those looked at": Case(None, from_frame(47, plain(16), gradient)),
    "fade within a level": Case(False, lambda number: np.full((64, 96), 100 + number // 24, np.uint8)),
    "fade": Case(True, lambda number: np.full((64, 96), 30 + 2 * number, np.uint8)),
    **{f"noise {n} crf {crf}": Case(None, noise(n), crf=crf) for n in (1, 3, 6, 12) for crf in (0, 23, 51)},
    "a frame too few": Case(False, frames=MIN_FRAMES - 1),
    "frames enough": Case(True, frames=MIN_FRAMES),
    "width 48": Case(False, size=(48, 64)),
    "width 50": Case(True, size=(50, 64)),
    "width 72": Case(False, size=(72, 64)),
    "flat": Case(True, size=(640, 16)),
    "second window is plain": Case(None, from_frame(48, gradient, plain(90)), frames=96, windows=(48,)),
    "first window is plain": Case(None, from_frame(48, plain(90), gradient), frames=96, windows=(48,)),
    "second window is short": Case(None, frames=90, windows=(60,)),
    "no caption": Case(False, text=" \n"),
    "caption of nothing that is seen": Case(False, text="\u200b\ufeff\u2028"),
    "caption with marks of no width": Case(True, text="\ufeffA ball\u200b rolls.\u200e"),
    "longest caption": Case(True, text="a" * 2**20),
    "caption too long": Case(False, text="a" * (2**20 + 1)),
    "half a character": Case(False, text="A ball \ud83d"),
    "longest embedding": Case(True, rows=512),
}


def clip_of(case: Case, layout: Output, folder: Path) -> Clip:
    path = encoded(folder / "clip.mp4", case.picture, case.frames, case.size, case.crf)
    file = StageFiles(layout, "clips", "f").keep(path, "x")
    embeddings = np.random.default_rng(0).normal(0, 0.1, (case.rows, 1024)).astype(np.float16)
    pickle = folder / "x.pickle"
    pickle.write_bytes(dump_embedding(embeddings))
    embedding = TextEmbedding(StageFiles(layout, "text", "f").keep(pickle, "x"), case.rows, False)
    starts = (0, *case.windows)
    ends = (*case.windows, case.frames)
    windows = tuple(
        Window(start, end - 1, Caption("describe", case.text, "success"), embedding)
        for start, end in zip(starts, ends, strict=True)
    )
    width, height = case.size
    media = ClipFile(file, width, height, 24, 1, case.frames, case.frames / 24, "h264")
    return dataclasses.replace(make_clip(layout, "x", windows=windows), media=media)


def force(layout: Output, clip: Clip, windows: Sequence[Window]) -> None:
    """Publishes windows that the run leaves out."""
    cleared = tuple(dataclasses.replace(window, left_out=None) for window in windows)
    for item in predict2.items_of(make_chunk([dataclasses.replace(clip, windows=cleared)]), 0.0):
        text, pickle, video = (layout.root / key for key in predict2.keys(item.name))
        for path, stored in ((pickle, item.embedding), (video, item.video)):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(layout.stored(stored), path)
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_bytes(item.text.strip().encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", CASES)
def test_the_run_publishes_exactly_what_verify_accepts(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    layout = Output(tmp_path / "out")
    cutter = Placed(WindowCutter(Encoding(preset="ultrafast"), MIN_FRAMES, Limits()), layout)
    (clip,) = cutter.run(make_chunk([clip_of(case, layout, tmp_path)])).clips
    assert not clip.failures
    published = [window for window in clip.windows if window.left_out is None]
    if case.published is not None:
        assert bool(published) == case.published, [window.left_out for window in clip.windows]
    for item in predict2.items_of(make_chunk([clip]), 0.0):
        predict2.publish(layout, item)
    if published:
        report = verify(layout.dataset, min_frames=MIN_FRAMES)
        assert report.ok and report.num_items == len(published), report.faults
    if len(clip.windows) == 1 and not published:
        force(layout, clip, clip.windows)
        assert {fault.stem for fault in verify(layout.dataset, min_frames=MIN_FRAMES).faults} == {
            f"x_0_{case.frames - 1}"
        }


def test_a_blank_window_is_left_out(tmp_path: Path) -> None:
    for number, name in enumerate(("first window is plain", "second window is plain")):
        folder = tmp_path / str(number)
        folder.mkdir()
        layout = Output(folder / "out")
        cutter = Placed(WindowCutter(Encoding(preset="ultrafast"), MIN_FRAMES, Limits()), layout)
        (clip,) = cutter.run(make_chunk([clip_of(CASES[name], layout, folder)])).clips
        plain_one, lively = clip.windows if number == 0 else clip.windows[::-1]
        assert plain_one.left_out == "its video shows one plain colour from beginning to end"
        assert plain_one.video is None and lively.left_out is None and lively.video


def test_a_clip_that_cannot_be_checked_is_not_published(tmp_path: Path) -> None:
    layout = Output(tmp_path / "out")
    clip = make_clip(layout, "x")  # its file is a text
    cutter = Placed(WindowCutter(Encoding(preset="ultrafast"), MIN_FRAMES, Limits()), layout)
    chunk = cutter.run(make_chunk([clip]))
    assert [failure.stage for failure in chunk.clips[0].failures] == ["windows"]
    assert not list(predict2.items_of(chunk, 0.0))
