"""Moving pictures that give an encoder real work: FFmpeg's own generators, with film grain, cut hard together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.filter

# Generators of FFmpeg (filters of libavfilter): patterns and text, a zoom into a fractal, blobs that grow and die, soft
# colours that turn, a texture that scrolls. The small ones are drawn small and enlarged, which gives soft edges.
_SCENES = (
    ("testsrc2=size={size}:rate={rate}",),
    ("mandelbrot=size=320x180:rate={rate}:maxiter=500", "scale={size}:flags=bicubic"),
    (
        "life=size=160x90:rate={rate}:mold=10:ratio=0.4:random_seed=1:death_color=0x304080:life_color=0xE0C060",
        "scale={size}:flags=bicubic",
    ),
    ("gradients=size=320x180:rate={rate}:seed=1:speed=0.02:nb_colors=6", "scale={size}:flags=bicubic"),
    (
        "cellauto=size=320x180:rate={rate}:rule=110:random_seed=1:scroll=1",
        "scale={size}:flags=bicubic",
        "colorchannelmixer=rr=0.6:rb=0.2:gg=0.7:bb=0.9",
    ),
)
_GRAIN = "noise=alls=3:allf=t"
_MP4 = {"movflags": "+faststart"}  # the index before the pictures


def make_footage(
    path: Path,
    *,
    size: tuple[int, int] = (1280, 720),
    rate: int = 24,
    seconds: float = 60,
    scene_s: float = 7.5,
    keyframe_every_s: float = 2,
) -> Path:
    """Writes footage as download sites deliver it: H.264 with B-frames, a key frame at each cut and regularly after it.

    Args:
        path: Where to write.
        size: Width and height in pixels.
        rate: Frames/s.
        seconds: Length.
        scene_s: From one cut to the next.
        keyframe_every_s: Most from one key frame to the next.

    Returns:
        The path.
    """
    frames = _scenes(size, rate, round(scene_s * rate))
    return _write(path, itertools.islice(frames, round(seconds * rate)), size, rate, keyframe_every_s)


def make_series(
    folder: Path,
    number: int,
    *,
    size: tuple[int, int] = (1280, 720),
    rate: int = 24,
    seconds: float = 60,
    scene_s: float = 7.5,
    keyframe_every_s: float = 2,
) -> list[Path]:
    """Writes several files as `make_footage` does, each of which goes on where the one before it ends.

    Args:
        folder: Where to write; it must exist.
        number: How many files.
        size: Width and height in pixels.
        rate: Frames/s.
        seconds: Length of each.
        scene_s: From one cut to the next.
        keyframe_every_s: Most from one key frame to the next.

    Returns:
        Their paths, in order.
    """
    frames = _scenes(size, rate, round(scene_s * rate))
    return [
        _write(
            folder / f"{index:03}.mp4", itertools.islice(frames, round(seconds * rate)), size, rate, keyframe_every_s
        )
        for index in range(number)
    ]


def loop(source: Path, path: Path, times: int) -> Path:
    """Writes the packets of a file again and again into one, without encoding them; returns its path.

    Args:
        source: Footage with a constant frame rate, which begins at 0.
        path: Where to write.
        times: How often.
    """
    with av.open(str(path), "w", options=_MP4) as container, av.open(str(source)) as read:
        stream = read.streams.video[0]
        assert stream.duration is not None
        copy = container.add_stream_from_template(stream)
        for index in range(times):
            read.seek(0)
            for packet in read.demux(stream):
                if packet.dts is not None:  # the last one is empty
                    packet.pts, packet.dts = packet.pts + index * stream.duration, packet.dts + index * stream.duration
                    packet.stream = copy
                    container.mux(packet)
    return path


def _write(
    path: Path, frames: Iterable[av.VideoFrame], size: tuple[int, int], rate: int, keyframe_every_s: float
) -> Path:
    with av.open(str(path), "w", options=_MP4) as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size = round(keyframe_every_s * rate)
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, rate), 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _scenes(size: tuple[int, int], rate: int, frames_each: int) -> Iterator[av.VideoFrame]:
    """Yields frames without end: each generator goes on from where it was when its turn comes again."""
    graphs = [_graph(steps, size, rate) for steps in _SCENES]
    for graph in itertools.cycle(graphs):
        for _ in range(frames_each):
            yield graph.vpull()


def _graph(steps: tuple[str, ...], size: tuple[int, int], rate: int) -> av.filter.Graph:
    graph = av.filter.Graph()
    named = [step.format(size=f"{size[0]}x{size[1]}", rate=rate) for step in (*steps, _GRAIN)]
    filters = [graph.add(*step.split("=", 1)) for step in (*named, "format=pix_fmts=yuv420p")]
    graph.link_nodes(*filters, graph.add("buffersink"))
    graph.configure()
    return graph
