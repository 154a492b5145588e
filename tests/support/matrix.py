"""The media matrix: what users bring, and what must come of it. Each case is one file with a known truth."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace

from tests.support import hdr_colours
from tests.support.hdr_colours import coded, hlg, pq
from tests.support.matrix_cameras import BT2020, H264, HEVC, Colours, broadcast, camera
from tests.support.matrix_makers import (
    Maker,
    after_each_other,
    edited,
    from_the_middle,
    header_only,
    joined,
    live,
    remuxed,
    sound,
    video,
    with_cover,
    with_data,
    with_subtitles,
    with_tracks,
)
from tests.support.matrix_pictures import anamorphic, field_pictures, interlaced, rotated
from tests.support.media import AUDIO_RATE, PATCHES

FRAMES = 60
RATE = Fraction(24)
SIZE = (320, 180)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A file and what the program must make of it.

    Attributes:
        name: File name.
        make: Writes the file.
        codec: FFmpeg's name of the encoder, for the table.
        frames: Frames that a player shows.
        rate: Frames/s; the average where `times` is given.
        size: Of the clips: upright, with square pixels, even.
        numbers: The number drawn into each frame shown.
        times: When each frame is shown, in s after the first; an even grid by default.
        cuts: Numbers of the first frames of new shots, for a look with TransNetV2; None keeps it out of that run.
        has_audio: Whether its clips have sound.
        refused: Type of the error and a word of the reason, where the whole file must fail.
        restarts: Numbers of the first frames after a clock that starts again: no clip goes across.
        lost_clips: Numbers of the clips that must fail with a LostFramesError, the others being fine.
        sizes: Of each clip, where they differ.
        colours: What the patches must be in the clips, [8, 3].
        noise: By how much the source's own codec may change them.
        note: Words of the note that its record must carry; without, it must carry none.
        also: A further check of (source, its clips).
        fast: Whether it belongs to the short tests.
    """

    name: str
    make: Maker
    codec: str = "libx264"
    frames: int = FRAMES
    rate: Fraction = RATE
    size: tuple[int, int] = SIZE
    numbers: tuple[int, ...] = ()
    times: tuple[Fraction, ...] = ()
    cuts: tuple[int, ...] | None = None
    has_audio: bool = False
    refused: tuple[str, str] | None = None
    restarts: tuple[int, ...] = ()
    lost_clips: tuple[int, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    colours: np.ndarray = dataclasses.field(default_factory=lambda: PATCHES)
    noise: float = 0
    note: str = ""
    also: Callable[[Path, list[Path]], None] | None = None
    fast: bool = True

    def __post_init__(self) -> None:
        if not self.numbers:
            object.__setattr__(self, "numbers", tuple(range(self.frames)))
        if not self.times:
            object.__setattr__(self, "times", tuple(number / self.rate for number in range(self.frames)))

    @property
    def variable(self) -> bool:
        """Whether frames are not shown equally long."""
        return self.times != tuple(number / self.rate for number in range(self.frames))


def plain(
    name: str,
    through: Callable[[Maker], Maker] = lambda maker: maker,
    *,
    frames: int = FRAMES,
    rate: Fraction = RATE,
    size: tuple[int, int] = SIZE,
    clip_size: tuple[int, int] | None = None,
    codec: str = "libx264",
    audio: str | None = None,
    cuts: tuple[int, ...] | None = None,
    times: tuple[Fraction, ...] = (),
    note: str = "",
    colours: np.ndarray = PATCHES,
    noise: float = 0,
    also: Callable[[Path, list[Path]], None] | None = None,
    fast: bool = True,
    **settings: Any,
) -> Case:
    """A case of `make_video`, whose settings are at once the truth; `through` makes something else of the file."""
    maker = video(frames=frames, rate=rate, size=size, codec=codec, audio=audio, shots=(0, *(cuts or ())), **settings)
    return Case(
        name,
        through(maker),
        codec,
        frames,
        rate,
        clip_size or size,
        times=times,
        cuts=cuts,
        has_audio=audio is not None and not audio.startswith("pcm"),  # mp4 holds no PCM that players expect
        colours=colours,
        noise=noise,
        note=note,
        also=also,
        fast=fast,
    )


def without_combs(source: Path, clips: list[Path]) -> None:
    """The rows of two moments are not shown together, as they are in the source."""
    with av.open(str(source)) as container:
        before = combs(next(container.decode(video=0)))
    for clip in clips:
        with av.open(str(clip)) as container:
            worst = max(combs(frame) for frame in container.decode(video=0))
        assert worst < before / 2, f"combs of {worst:.1f} grey levels, {before:.1f} in the source"


def combs(frame: av.VideoFrame) -> float:
    """By how many grey levels rows differ from both their neighbours, below the frame number."""
    grey = frame.to_ndarray(format="gray").astype(np.float32)[frame.height * 3 // 9 :]
    return float(np.abs(2 * grey[1:-1] - grey[:-2] - grey[2:]).mean())


def has_data(source: Path, clips: list[Path]) -> None:
    """The source has a track that is neither picture nor sound, and its clips have none."""
    with av.open(str(source)) as container:
        assert container.streams.data
    for clip in clips:
        with av.open(str(clip)) as container:
            assert not container.streams.data


def first_sound(source: Path, clips: list[Path]) -> None:
    """Of several sounds the first is kept, here the only one of 48 kHz."""
    for clip in clips:
        with av.open(str(clip)) as container:
            assert [stream.rate for stream in container.streams.audio] == [AUDIO_RATE]


SHARP = {"b": "4000000"}  # bit/s: with the 200,000 of these encoders, colours are far off
B_FRAMES = {"bf": "2"}
OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:b-pyramid=1"}
TEN_BIT = {"codec": "libx265", "pixel_format": "yuv420p10le"}
WIDE = TEN_BIT | {"matrix": Colorspace.BT2020, "frames": 36, "colours": hdr_colours.PATCHES, "noise": hdr_colours.NOISE}
_WIDE = "colorprim=bt2020:colormatrix=bt2020nc:log-level=none:range=limited:transfer="
_MASTERED = (
    ":hdr10=1:max-cll=1000,400:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
)
PQ, HDR10, HLG = _WIDE + "smpte2084", _WIDE + "smpte2084" + _MASTERED, _WIDE + "arib-std-b67"
NTSC, FILM = Fraction(30000, 1001), Fraction(24000, 1001)

LUMA = np.repeat(PATCHES @ np.array([[0.299], [0.587], [0.114]]), 3, axis=1)  # ITU-R BT.601
MEANS = np.repeat(PATCHES.mean(axis=1, keepdims=True), 3, axis=1)

STEPS_MS = (20, 120, 30, 60, 10)
VARIABLE_MS = tuple(itertools.accumulate(itertools.islice(itertools.cycle(STEPS_MS), 99), initial=0))
VARIABLE = {
    "pts": VARIABLE_MS,
    "time_base": Fraction(1, 1000),
    "frames": 100,
    "times": tuple(Fraction(ms, 1000) for ms in VARIABLE_MS),
    "rate": Fraction(99_000, VARIABLE_MS[-1]),
}
# As phones write: 600 units/s, held upright
PHONE = ("-c:a", "aac", "-video_track_timescale", "600")
HELD = {name: VARIABLE[name] for name in ("pts", "time_base", "frames")} | {"size": (180, 320)}
SHOWN = {name: VARIABLE[name] for name in ("frames", "times", "rate")} | {"size": (180, 320), "has_audio": True}
FULL = Colours(range="pc")
STANDARDS = {"bt709": {}, "bt2020": BT2020}
LONG = {"frames": 480, "size": (192, 108), "keyframe_interval": 70}
FRAGMENTS = "frag_keyframe+delay_moov"
WRAP = 2**33 * 24 // 90_000  # where the 33 bits of a transport stream's time begin again, in frames
CUT = {"frames": 100, "cuts": (50,)}


CASES: tuple[Case, ...] = (
    # Containers and codecs
    plain("h264.mp4", audio="aac", **CUT),
    plain("h264-b-frames.mp4", options=B_FRAMES, audio="aac"),
    plain("h264-open-gop.mkv", options=OPEN_GOP, keyframe_interval=20, **CUT),
    plain("h264.mov", options=B_FRAMES, audio="pcm_s16le", fast=False),
    plain("h264.ts", options=B_FRAMES, audio="aac", **CUT),
    plain("h264.avi", options=B_FRAMES, note="no usable time stamps", fast=False),
    plain("h264.flv", options=B_FRAMES, audio="aac", fast=False),
    plain("h264.m2ts", audio="ac3", fast=False),
    plain("hevc.mp4", codec="libx265", audio="aac"),
    plain("hevc-b-frames.mkv", codec="libx265", options={"bf": "3"}, **CUT, fast=False),
    plain("vp9.webm", codec="libvpx-vp9", audio="libopus", **CUT),
    plain("vp9.mp4", codec="libvpx-vp9", fast=False),
    plain("vp8.webm", codec="libvpx", options={"deadline": "realtime", "cpu-used": "8"}, fast=False),
    plain("av1.mkv", codec="libsvtav1", frames=30, size=(192, 108)),
    plain("av1.mp4", codec="libsvtav1", frames=30, size=(192, 108), fast=False),
    plain("mpeg4.avi", codec="mpeg4", audio="pcm_s16le", **CUT),
    # The muxer moves all but the first frame by one, to make room for the sound's beginning: a dropped frame.
    Case(
        "mpeg4-dropped-frame.avi",
        video(frames=FRAMES, codec="mpeg4", audio="libmp3lame"),
        "mpeg4",
        times=(Fraction(0), *(number / RATE for number in range(2, FRAMES + 1))),
        rate=RATE * (FRAMES - 1) / FRAMES,
        has_audio=True,
        fast=False,
    ),
    plain("mpeg4-b-frames.avi", codec="mpeg4", options=B_FRAMES, fast=False),
    plain("mjpeg.avi", codec="mjpeg", pixel_format="yuvj420p", fast=False),
    plain("mjpeg.mov", codec="mjpeg", pixel_format="yuvj422p", fast=False),
    plain("prores.mov", codec="prores_ks", pixel_format="yuv422p10le", fast=False, **CUT),
    plain(
        "dnxhr.mxf",
        codec="dnxhd",
        options={"profile": "dnxhr_lb"},
        pixel_format="yuv422p",
        matrix=Colorspace.ITU709,  # which FFmpeg's decoder takes for granted
        fast=False,
    ),
    plain("mpeg2.ts", codec="mpeg2video", options=B_FRAMES, fast=False),
    plain("mpeg2.mpg", codec="mpeg2video", options=B_FRAMES),
    plain("flv1.flv", codec="flv", fast=False),
    plain("wmv2.wmv", codec="wmv2"),
    plain("h263.3gp", codec="h263", size=(176, 144), rate=NTSC, clip_size=(192, 144), fast=False),  # pixels of 12:11
    plain("fragmented.mp4", lambda maker: remuxed(maker, ".mp4", movflags=FRAGMENTS), audio="aac"),
    plain(
        "fragmented-dash.mp4",
        lambda maker: remuxed(maker, ".mp4", movflags="frag_every_frame+empty_moov+default_base_moof"),
        options=B_FRAMES,
        fast=False,
    ),
    # Frame rates and times
    plain("23.976.mp4", rate=FILM, options=B_FRAMES),
    plain("23.976.mkv", rate=FILM, options=B_FRAMES, fast=False),
    plain("25.ts", rate=Fraction(25), frames=63, fast=False),
    plain("29.97.mkv", rate=NTSC, frames=75, fast=False),
    plain("29.97.webm", rate=NTSC, frames=75, codec="libvpx-vp9", fast=False),
    plain("50.mp4", rate=Fraction(50), frames=125, fast=False),
    plain("59.94.mkv", rate=NTSC * 2, frames=150, fast=False),
    plain("60.mov", rate=Fraction(60), frames=150, fast=False),
    plain("120.mp4", rate=Fraction(120), frames=300, size=(192, 108), options=B_FRAMES),
    plain("120.mkv", rate=Fraction(120), frames=300, size=(192, 108), fast=False),
    plain("1-per-second.mp4", rate=Fraction(1), frames=12, fast=False),
    plain("variable.mp4", options=B_FRAMES, audio="aac", cuts=(50,), **VARIABLE),
    plain("variable.mkv", **VARIABLE),
    plain("variable.avi", lambda maker: remuxed(maker), codec="mpeg4", fast=False, **VARIABLE),
    plain("starts-late.mp4", start_pts=37, options=B_FRAMES, audio="aac", **CUT),
    plain("starts-late.ts", start_pts=240, options=B_FRAMES, fast=False),
    plain("starts-late.mkv", start_pts=48, audio="aac", fast=False),
    Case(
        "edit-list-skips.mp4",
        edited(video(frames=100, options=B_FRAMES, shots=(0, 50)), skip=10),
        frames=90,
        numbers=tuple(range(10, 100)),
        cuts=(40,),
    ),
    Case(
        "edit-list-ends-early.mp4",
        edited(video(frames=FRAMES, options=B_FRAMES), keep=50),
        frames=50,
        fast=False,
    ),
    Case(
        "starts-before-0.mp4",
        video(frames=FRAMES, start_pts=-20, options=B_FRAMES),
        frames=40,
        numbers=tuple(range(20, 60)),
        fast=False,
    ),
    plain("time-stamps-wrap.ts", start_pts=WRAP - 30, options=B_FRAMES, fast=False),
    Case(
        "time-stamps-start-again.ts",
        after_each_other(video(frames=36, options=B_FRAMES), video(frames=36, options=B_FRAMES, seed=1)),
        frames=72,
        numbers=(*range(36), *range(36)),
        restarts=(36,),
        note="its clock starts again at frame 36",
        lost_clips=(0,),  # the packet at the joint is marked as corrupt
        fast=False,
    ),
    Case(
        "starts-between-key-frames.ts",
        from_the_middle(video(frames=100, keyframe_interval=40, options=B_FRAMES)),
        frames=60,
        numbers=tuple(range(40, 100)),
        fast=False,
    ),
    plain("no-duration.mkv", lambda maker: live(maker, ".mkv", "matroska"), audio="aac"),
    plain("no-duration.webm", lambda maker: live(maker, ".webm", "webm"), codec="libvpx-vp9", fast=False),
    # More than one chunk: reading begins in the middle
    plain("long.mp4", options=B_FRAMES, audio="aac", fast=False, **LONG),
    plain("long.mkv", options=OPEN_GOP, audio="aac", fast=False, **LONG),
    plain("long.ts", options=B_FRAMES, audio="aac", fast=False, **LONG),
    plain("long.webm", codec="libvpx-vp9", audio="libopus", fast=False, **LONG),
    plain("long.avi", codec="mpeg4", options=SHARP, fast=False, **LONG),
    plain("long-b-frames.avi", options=B_FRAMES, note="no usable time stamps", fast=False, **LONG),
    plain("long.mpg", codec="mpeg2video", options=B_FRAMES | SHARP, fast=False, **LONG),
    # Small pictures share a packet, and here and there two of them get the same time stamp.
    plain(
        "long-small.mpg",
        codec="mpeg2video",
        options=B_FRAMES,
        note="cannot be true",
        noise=15,  # at the encoder's own 200,000 bit/s: with more, packets are not shared
        fast=False,
        **LONG | {"size": (176, 108)},
    ),
    plain("long.wmv", codec="wmv2", options=SHARP, fast=False, **LONG),
    plain("long.flv", options=B_FRAMES, audio="aac", fast=False, **LONG),
    plain("long-fragmented.mp4", lambda maker: remuxed(maker, ".mp4", movflags=FRAGMENTS), fast=False, **LONG),
    plain("long-live.mkv", lambda maker: live(maker, ".mp4", "matroska"), options=B_FRAMES, fast=False, **LONG),
    plain("long-time-stamps-wrap.ts", start_pts=WRAP - 240, options=B_FRAMES, fast=False, **LONG),
    plain("long-starts-late.mov", start_pts=2400, options=OPEN_GOP, fast=False, **LONG),
    # Geometry
    Case("rotated-90.mp4", rotated(90, FRAMES, (180, 320)), size=(180, 320)),
    Case("rotated-180.mp4", rotated(180, FRAMES, SIZE), fast=False),
    Case("rotated-270.mov", rotated(270, 100, (180, 320), shots=(0, 50)), size=(180, 320), frames=100, cuts=(50,)),
    Case("pixels-4-to-3.mp4", anamorphic(Fraction(4, 3), FRAMES, SIZE), size=(426, 180)),
    Case("pixels-2-to-1.mp4", anamorphic(Fraction(2), FRAMES, (160, 180), "libvpx-vp9"), codec="libvpx-vp9"),
    plain("pixels-2-to-1.ts", size=(160, 180), options={"x264-params": "sar=2\\:1"}, clip_size=SIZE, fast=False),
    plain("pixels-1-to-2.mkv", options={"x264-params": "sar=1\\:2"}, clip_size=(320, 360), fast=False),
    Case(
        "pixels-2-to-1-rotated-90.mp4",
        rotated(90, FRAMES, (180, 320), pixel_ratio=Fraction(2)),
        size=(180, 320),
        fast=False,
    ),
    plain("odd-size.mp4", size=(321, 181), pixel_format="yuv444p", clip_size=SIZE),
    plain("odd-size.webm", size=(321, 181), codec="libvpx-vp9", clip_size=SIZE, fast=False),
    plain("64-wide.mp4", size=(64, 36), noise=3),  # patches of 8x8 pixels, at the default crf of 23
    plain("tall.mp4", size=(96, 1280), fast=False),
    plain("4k.mp4", size=(3840, 2160), rate=Fraction(10), frames=8, fast=False),
    plain("8k.mp4", size=(7680, 4320), rate=Fraction(8), frames=6, fast=False),
    plain("8k-hevc.mkv", size=(7680, 4320), rate=Fraction(8), frames=5, fast=False, **TEN_BIT),
    # Pictures
    Case("interlaced.ts", interlaced(FRAMES, SIZE), also=without_combs),
    Case("interlaced-bottom-first.mp4", interlaced(FRAMES, SIZE, False), also=without_combs, fast=False),
    Case(
        "field-pictures.ts",
        field_pictures(36, (320, 192)),
        frames=36,
        size=(320, 192),
        colours=MEANS,
        fast=False,
    ),
    Case(
        "field-pictures-apart.ts",
        field_pictures(36, (320, 192), apart=True),
        frames=36,
        size=(320, 192),
        colours=MEANS,
        fast=False,
    ),
    plain("10-bit.mp4", pixel_format="yuv420p10le", fast=False),
    plain("10-bit-hevc.mp4", frames=36, **TEN_BIT, fast=False),
    plain("4-2-2.mov", pixel_format="yuv422p", fast=False),
    plain("4-4-4.mkv", pixel_format="yuv444p", fast=False),
    plain("full-range.mp4", pixel_format="yuvj420p"),
    plain("rgb.mkv", codec="libx264rgb", pixel_format="rgb24", options={"preset": "ultrafast"}, fast=False),
    plain(
        "grey.mkv",
        pixel_format="gray",
        options={"x264-params": "fullrange=on"},
        colours=LUMA,
        fast=False,
    ),
    plain("hdr10.mp4", options={"x265-params": HDR10}, patches=coded(hdr_colours.PATCHES, pq), **WIDE),
    plain(
        "hdr10-unmastered.mp4",
        options={"x265-params": PQ},
        patches=coded(hdr_colours.PATCHES, pq),
        fast=False,
        **WIDE,
    ),
    plain("hlg.mkv", options={"x265-params": HLG}, patches=coded(hdr_colours.PATCHES, hlg), fast=False, **WIDE),
    # Cameras
    Case("phone-hevc.mov", camera(Colours(), *HEVC, *PHONE, turned=90, **HELD), "libx265", **SHOWN, fast=False),
    Case("phone.mov", camera(Colours(), *H264, "-bf", "2", *PHONE, turned=270, **HELD), **SHOWN),
    Case(
        "action-camera.mp4",
        camera(FULL, *H264, "-c:a", "aac", "-timecode", "01:00:00;00", frames=150, rate=2 * NTSC),
        frames=150,
        rate=2 * NTSC,
        has_audio=True,
        also=has_data,
    ),
    Case("dash-cam.ts", with_data(camera(FULL, *H264, sound=False, frames=FRAMES)), also=has_data, fast=False),
    *(
        Case(
            f"10-bit-{standard}.mov",
            camera(Colours("yuv420p10le", **tags), *HEVC, "-c:a", "aac", frames=36),
            "libx265",
            frames=36,
            has_audio=True,
            fast=False,
        )
        for standard, tags in STANDARDS.items()
    ),
    *(
        Case(
            f"10-bit-4-2-2-{standard}-{range_}.mov",
            camera(Colours("yuv422p10le", range=range_, **tags), *H264, "-g", "1", frames=36, sound=False),
            frames=36,
            fast=False,
        )
        for standard, tags in STANDARDS.items()
        for range_ in ("tv", "pc")
    ),
    Case(
        "broadcast.ts",
        broadcast(FRAMES, (352, 288), Fraction(16, 9)),
        "mpeg2video",
        size=(512, 288),
        also=without_combs,
        fast=False,
    ),
    # Tracks
    plain("cover-first.mp4", with_cover),
    plain("cover.mkv", with_cover, fast=False),
    plain(
        "two-sounds.mkv",
        lambda maker: with_tracks(maker, sound(32_000, "mono", 2.5)),
        audio="aac",
        also=first_sound,
    ),
    plain(
        "two-sounds.mp4",
        lambda maker: with_tracks(maker, sound(32_000, "mono", 2.5), suffix=".mp4"),
        audio="aac",
        also=first_sound,
        fast=False,
    ),
    plain("subtitles.mp4", lambda maker: with_subtitles(maker, "mov_text"), fast=False),
    plain("subtitles.mkv", lambda maker: with_subtitles(maker, "subrip"), fast=False),
    plain("data.ts", with_data),
    # Ends of the range
    plain("one-frame.mp4", frames=1),
    plain("one-frame.mkv", frames=1, fast=False),
    plain("20-ms.mp4", frames=2, rate=Fraction(100)),
    plain("20-ms.ts", frames=1, rate=Fraction(50), fast=False),
    Case(
        "size-changes.ts",
        joined(
            video(frames=72, rate=RATE, size=SIZE),
            video(frames=72, rate=RATE, size=(192, 108), start_pts=72, seed=1),
        ),
        frames=144,
        numbers=(*range(72), *range(72)),
        lost_clips=(1,),
        sizes=(SIZE, SIZE, (192, 108)),
    ),
    Case("no-samples.mp4", header_only, "mpeg4", refused=("UnreadableSourceError", "video")),
    Case("no-samples.mkv", header_only, "mpeg4", refused=("UnreadableSourceError", "video"), fast=False),
    Case("no-samples.avi", header_only, "mpeg4", refused=("UnreadableSourceError", "video"), fast=False),
    Case("sound-only.mp4", sound(48_000, "stereo", 2), "aac", refused=("UnreadableSourceError", "no video stream")),
    Case(
        "sound-only.mkv",
        sound(48_000, "stereo", 2),
        "aac",
        refused=("UnreadableSourceError", "no video stream"),
        fast=False,
    ),
)
