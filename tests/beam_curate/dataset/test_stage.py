"""Which windows reach the dataset, and from which file each comes."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from beam_curate.dataset.stage import WindowCutter, left_out
from beam_curate.elements import Caption, Clip, ClipFile, StoredFile, TextEmbedding, Window
from beam_curate.store.stage_files import StageFiles
from beam_curate.video.decoder_pool import Limits
from beam_curate.video.encode import Encoding
from tests.support.facts import make_chunk, make_clip, make_failure
from tests.support.media import frame_numbers, make_video
from tests.support.output import OneName, Output
from tests.support.plans import Placed

EMBEDDING = TextEmbedding(StoredFile("x.pickle", 1, "0"), 3, False)


def caption(text: str = "A ball.", status: str = "success") -> Caption:
    return Caption("describe", text, status)


CASES = [
    (Window(0, 93, caption(), EMBEDDING), None),
    (Window(0, 93, caption(status="truncated"), EMBEDDING), None),
    (Window(0, 92, caption(), EMBEDDING), "fewer than 94 frames (--predict2-min-frames): 93"),
    (Window(100, 192, caption(), EMBEDDING), "fewer than 94 frames (--predict2-min-frames): 93"),
    (Window(0, 92), "fewer than 94 frames (--predict2-min-frames): 93"),
    (Window(0, 255), "no caption"),
    (Window(0, 255, caption(""), EMBEDDING), "no usable caption (empty)"),
    (Window(0, 255, caption(" \n"), EMBEDDING), "no usable caption (empty)"),
    (Window(0, 255, caption("\u200b\ufeff"), EMBEDDING), "its caption is empty; an item needs a caption"),
    (Window(0, 255, caption("I cannot.", "blocked"), EMBEDDING), "no usable caption (blocked)"),
    (Window(0, 255, caption("half", "error"), EMBEDDING), "no usable caption (error)"),
    (Window(0, 255, Caption("qwen", "", "error", failure_reason="cut_off")), "no usable caption (cut_off)"),
    (Window(0, 255, Caption("qwen", "", "error", failure_reason="degenerate")), "no usable caption (degenerate)"),
    (Window(0, 255, caption(status="skipped"), EMBEDDING), "no usable caption (skipped)"),
    (
        Window(0, 255, caption("a" * (2**20 + 1)), EMBEDDING),
        "its caption has 1048577 bytes; a caption has at most 1048576",
    ),
    (Window(0, 255, caption()), "no text embedding"),
]


@pytest.mark.parametrize(("window", "reason"), CASES, ids=[f"{i}-{case[1]}" for i, case in enumerate(CASES)])
def test_why_a_window_is_left_out(window: Window, reason: str | None) -> None:
    assert left_out(window, 94, (640, 360)) == reason


@pytest.fixture
def cutter(tmp_path: Path) -> Placed:
    return Placed(WindowCutter(Encoding(preset="ultrafast"), 30, Limits()), Output(tmp_path / "out"))


def real_clip(layout: Output, tmp_path: Path, *windows: Window, frames: int = 120) -> Clip:
    path = make_video(tmp_path / "clip.mp4", frames=frames)
    file = StageFiles(layout, "clips", "f").keep(path, "x")
    made = make_clip(layout, "x", windows=windows)
    return type(made)(made.span, ClipFile(file, 320, 180, 24, 1, frames, frames / 24, "h264"), windows)


def test_a_single_window_is_the_clip_itself(cutter: Placed, tmp_path: Path) -> None:
    clip = real_clip(cutter.output, tmp_path, Window(0, 119, caption(), EMBEDDING))
    assert cutter.run(make_chunk([clip])).clips == (clip,)


def test_several_windows_are_cut_exactly_and_short_ones_are_not(cutter: Placed, tmp_path: Path) -> None:
    spans = [(0, 39), (40, 59), (60, 119)]
    clip = real_clip(cutter.output, tmp_path, *(Window(*span, caption(), EMBEDDING) for span in spans))
    (made,) = cutter.run(make_chunk([clip])).clips
    assert not made.failures
    first, short, last = made.windows
    assert short.video is None
    assert short.left_out == "fewer than 30 frames (--predict2-min-frames): 20"
    for window in (first, last):
        assert window.video and window.left_out is None
        path = cutter.output.stored(window.video)
        assert frame_numbers(path) == list(range(window.start_frame, window.end_frame + 1))


def test_videos_of_windows_are_not_where_users_find_clips(tmp_path: Path) -> None:
    output = OneName(tmp_path / "out")
    spans = [(0, 47), (48, 79), (80, 119)]  # the last one begins without a key frame
    clip = real_clip(output, tmp_path, *(Window(*span, caption(), EMBEDDING) for span in spans))
    (made,) = Placed(WindowCutter(Encoding(preset="ultrafast"), 30, Limits()), output).run(make_chunk([clip])).clips
    assert [window.video.path.split("/")[:3] for window in made.windows] == [[".work", "files", "windows"]] * 3


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_windows_that_begin_with_a_key_frame_are_copied(cutter: Placed, tmp_path: Path) -> None:
    spans = [(0, 47), (48, 79), (80, 120), (144, 191)]  # key frames are at multiples of 48
    clip = real_clip(cutter.output, tmp_path, *(Window(*span, caption(), EMBEDDING) for span in spans), frames=192)
    assert clip.media
    of_clip = packets(cutter.output.stored(clip.media.file))
    (made,) = cutter.run(make_chunk([clip])).clips
    copied = []
    for window in made.windows:
        assert window.video and window.left_out is None
        path = cutter.output.stored(window.video)
        assert frame_numbers(path) == list(range(window.start_frame, window.end_frame + 1))
        copied.append(packets(path) == of_clip[window.start_frame : window.end_frame + 1])
    assert copied == [True, True, False, True]


def test_a_clip_that_cannot_be_cut_fails_alone(cutter: Placed, tmp_path: Path) -> None:
    windows = (Window(0, 59, caption(), EMBEDDING), Window(60, 119, caption(), EMBEDDING))
    broken = make_clip(cutter.output, "broken", windows=windows)  # its file is no video
    missing = make_clip(cutter.output, "missing", None, failures=(make_failure(clip_id="missing"),))
    chunk = cutter.run(make_chunk([broken, missing, real_clip(cutter.output, tmp_path, *windows)]))
    (failure,) = chunk.clips[0].failures
    assert (failure.stage, failure.clip_id, failure.retriable) == ("windows", "broken", False)
    assert chunk.clips[1] == missing
    assert all(window.video for window in chunk.clips[2].windows)
