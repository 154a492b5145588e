"""A sample video to try the pipeline on, drawn by FFmpeg's test sources: moving shots with known cuts."""

from __future__ import annotations

import dataclasses
import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.bitstream import BitStreamFilterContext
from av.codec.context import Flags as CodecFlags
from av.video.stream import VideoStream

SAMPLE_WIDTH, SAMPLE_HEIGHT = 640, 360  # pixels
SAMPLE_FRAMES_PER_S = 24
_KEYFRAME_INTERVAL = 2 * SAMPLE_FRAMES_PER_S  # frames

Frame = npt.NDArray[np.uint8]  # planes of yuv420p, one above the other: [height * 3 / 2, width]


@dataclasses.dataclass(frozen=True)
class SampleShot:
    """One shot of the sample video.

    Attributes:
        num_frames: Length; the middle of a dissolve counts as the cut.
        filters: A source and the filters of its frames, each as FFmpeg writes it: name=arguments.
        dissolve_frames: Over how many frames, an even number, the shot before fades into this one; 0 for a
            hard cut.
    """

    num_frames: int
    filters: tuple[str, ...]
    dissolve_frames: int = 0


# Every shot moves all the time and keeps one look, and neighbours differ in colour and texture. The expensive
# sources draw small frames that are then enlarged. What a source would choose at random is fixed: by its
# seed, or, as the seed of `gradients` does not cover them, by its colours.
SAMPLE_SHOTS = (
    SampleShot(120, ("testsrc2=size=640x360:rate=24",)),
    SampleShot(
        120,
        ("mandelbrot=size=320x180:rate=24:maxiter=400:start_scale=0.5:end_scale=0.01:end_pts=160:inner=black",),
    ),
    SampleShot(128, ("smptebars=size=640x360:rate=24", "scroll=horizontal=0.004")),
    SampleShot(
        120,
        (
            "life=size=128x72:rate=24:ratio=0.2:seed=7:mold=20"
            ":life_color=#ffd070:death_color=#a02010:mold_color=#200808",
        ),
    ),
    SampleShot(
        124,
        (
            "gradients=size=320x180:rate=24:speed=0.03:type=spiral:seed=3"
            ":nb_colors=4:c0=#2030c0:c1=#40c0f0:c2=#e0fff0:c3=#2090a0",
        ),
    ),
    SampleShot(
        132,
        (
            "perlin=size=160x90:rate=24:octaves=4:tscale=0.8:xscale=3:yscale=3:random_mode=seed:random_seed=4",
            "colorize=hue=35:saturation=0.8:lightness=0.6",
        ),
        dissolve_frames=24,
    ),
    SampleShot(120, ("testsrc=size=640x360:rate=24", "rotate=angle=0.3*t:fillcolor=navy")),
    SampleShot(
        120,
        ("cellauto=size=160x90:rate=24:rule=110:seed=5:scroll=1", "scroll=horizontal=0.002"),
    ),
)


def make_sample_video(path: Path) -> tuple[int, ...]:
    """Writes the sample video: 41 s of H.264 at 640x360 and 24 frames/s in an mp4 file, without sound.

    The file appears under its name only when it is complete. One build of PyAV writes the same
    bytes each time.

    Args:
        path: Where to write; the folder must exist, a file of that name is replaced.

    Returns:
        The frame number at which each shot starts, the first being 0; for a dissolve, its middle.

    Raises:
        OSError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        _encode(temporary, _frames(SAMPLE_SHOTS))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    lengths = [shot.num_frames for shot in SAMPLE_SHOTS]
    return (0, *itertools.accumulate(lengths[:-1]))


def _frames(shots: tuple[SampleShot, ...]) -> Iterator[Frame]:
    """Yields the frames of all shots in order, those of a dissolve blended from both shots."""
    fades = [shot.dissolve_frames for shot in shots] + [0]
    before: Iterator[Frame] = iter(())
    for shot, fade_in, fade_out in zip(shots, fades, fades[1:], strict=False):
        source = _source_frames(shot.filters)
        for step in range(1, fade_in + 1):
            yield _blend(next(before), next(source), step / (fade_in + 1))
        yield from itertools.islice(source, shot.num_frames - fade_in // 2 - fade_out // 2)
        before = source


def _source_frames(filters: tuple[str, ...]) -> Iterator[Frame]:
    """Yields, without end, the frames of a chain of filters, in the sample's size and pixel format."""
    graph = av.filter.Graph()
    size = f"{SAMPLE_WIDTH}:{SAMPLE_HEIGHT}"
    chain = (*filters, f"scale={size}:flags=bilinear", "format=yuv420p", "buffersink")
    parts = [text.partition("=") for text in chain]
    graph.link_nodes(*(graph.add(name, arguments) for name, _, arguments in parts)).configure()
    while True:
        frame = graph.pull()
        assert isinstance(frame, av.VideoFrame)
        yield frame.to_ndarray().astype(np.uint8, copy=False)


def _blend(first: Frame, second: Frame, weight: float) -> Frame:
    mixed = first * np.float32(1 - weight) + second * np.float32(weight)
    return np.rint(mixed).astype(np.uint8)


def _encode(path: Path, frames: Iterator[Frame]) -> None:
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=SAMPLE_FRAMES_PER_S, options={"preset": "veryfast"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = SAMPLE_WIDTH, SAMPLE_HEIGHT, "yuv420p"
        context = stream.codec_context
        context.gop_size = _KEYFRAME_INTERVAL
        context.flags |= CodecFlags.bitexact
        context.thread_count = 1  # with more, libx264's output differs from run to run
        # libx264 puts its version and settings into a message (SEI) before the first frame.
        without_messages = BitStreamFilterContext("filter_units=remove_types=6", stream)
        encodable = (av.VideoFrame.from_ndarray(frame, format="yuv420p") for frame in frames)
        for frame in itertools.chain(encodable, (None,)):  # None asks for the encoder's last packets
            for packet in stream.encode(frame):
                container.mux(without_messages.filter(packet))
        container.mux(without_messages.filter(None))
