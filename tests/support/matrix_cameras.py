"""Makers of files as cameras and broadcasters write them: everything at once that the other cases have one by one."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

from tests.support.ffmpeg_program import ffmpeg
from tests.support.matrix_makers import Maker, by_parts, video
from tests.support.matrix_pictures import encode, turn, woven

ACCURATE = "flags=accurate_rnd+full_chroma_int+full_chroma_inp"
H264, HEVC = ("-c:v", "libx264", "-preset", "ultrafast"), ("-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1")


@dataclasses.dataclass(frozen=True)
class Colours:
    """What a camera says of its colours, in FFmpeg's words, and keeps to."""

    pixel_format: str = "yuv420p"
    range: str = "tv"
    matrix: str = "bt709"
    primaries: str = "bt709"
    transfer: str = "bt709"

    @property
    def filters(self) -> str:
        scaler_matrix = {"bt2020nc": "bt2020"}.get(self.matrix, self.matrix)
        return (
            f"scale=out_range={self.range}:out_color_matrix={scaler_matrix}:{ACCURATE},format={self.pixel_format},"
            f"setparams=range={self.range}:colorspace={self.matrix}"
            f":color_primaries={self.primaries}:color_trc={self.transfer}"
        )


BT2020 = {"matrix": "bt2020nc", "primaries": "bt2020", "transfer": "bt2020-10"}


def camera(colours: Colours, *arguments: str, turned: int = 0, sound: bool = True, **settings: object) -> Maker:
    """A recording; `arguments` are ffmpeg's, of its encoders and muxer.

    Args:
        colours: Of the file.
        arguments: See above.
        turned: By how many degrees the camera was held otherwise than its sensor lies: 0, 90 or 270.
        sound: Whether it has any.
        settings: Of `media.make_video`, upright.
    """
    transpose = {0: "", 90: "transpose=cclock,", 270: "transpose=clock,"}[turned]

    def record(path: Path, parts: list[Path]) -> None:
        kept = ("-map", "0", "-fps_mode", "passthrough", "-enc_time_base", "demux")
        ffmpeg("-i", parts[0], *kept, "-vf", transpose + colours.filters, *arguments, path)
        if turned:
            turn(path, turned)

    tone = {"audio": "pcm_s16le"} if sound else {}
    return by_parts(("a.mkv",), record, video(codec="ffv1", pixel_format="bgr0", **tone, **settings))


def broadcast(frames: int, size: tuple[int, int], aspect: Fraction, *arguments: str) -> Maker:
    """MPEG-2 4:2:2 of two fields a frame whose pictures are shown with `aspect`, in BT.601."""
    colours = Colours("yuv422p", matrix="smpte170m", primaries="smpte170m", transfer="smpte170m")
    filters = colours.filters.replace("scale=", "scale=interl=1:")
    mpeg2 = ("-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "2", "-bf", "2", "-g", "12", "-field_order", "tt")

    def send(path: Path, parts: list[Path]) -> None:
        shape = f",setfield=tff,setdar={aspect.numerator}/{aspect.denominator}"
        ffmpeg("-i", parts[0], "-vf", filters + shape, *mpeg2, *arguments, path)

    return by_parts(("a.mkv",), send, lambda path: encode(path, woven(frames, size), "ffv1", pixel_format="bgr0"))
