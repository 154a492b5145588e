"""What decoding a source once instead of twice, for shots and for clips, could save, and what it would cost.

For 720p and 1080p, H.264 and HEVC, in processor time for 1,000 frames: `decoding_*` is the share of one decoding in the
work on a video (decode and scale, find shots, decode, encode). The note has what the ways of saving it take instead:
keeping decoded frames in a file and reading them back; and, of one decoding, what is left of it where frames that no
other refers to are skipped, and where packets are read from memory.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from common import report
from cut import decoded, limit
from footage import make_footage

from beam_curate.shots import transnetv2
from beam_curate.shots.sliding_windows import sliding_windows
from beam_curate.shots.stage import FixedStrideDetector
from beam_curate.sources.listing import list_videos
from beam_curate.video.decode import read_frames
from beam_curate.video.decoder_pool import Limits
from beam_curate.video.scan import ShotFrames, shot_frames
from tests.support.plans import NO_FILES

RATE = 30
SECONDS = 20
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}


def cpu_s(work: Callable[[], object]) -> float:
    """Returns the processor time of some work in all threads of this process, in s for 1,000 frames of a video."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1000 / (RATE * SECONDS)


def as_hevc(source: Path, path: Path) -> Path:
    """Encodes a video again, as HEVC."""
    with av.open(str(source)) as read, av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx265", rate=RATE, options={"preset": "veryfast", "x265-params": "log-level=0"}
        )
        first = read.streams.video[0]
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        for frame in read.decode(first):
            frame.pict_type = 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def decode(file: Path | io.BytesIO, skip: str = "DEFAULT") -> None:
    """Decodes a video and throws the frames away."""
    with av.open(file if isinstance(file, io.BytesIO) else str(file)) as container:
        container.streams.video[0].codec_context.skip_frame = skip
        for _ in container.decode(video=0):
            pass


def keep(frames: list[av.VideoFrame], path: Path) -> None:
    """Writes decoded frames to a file and reads them back."""
    with path.open("wb") as file:
        for frame in frames:
            for plane in frame.planes:
                file.write(plane)
        os.fsync(file.fileno())
    with path.open("rb") as file:
        for frame in frames:
            file.read(sum(plane.buffer_size for plane in frame.planes))


def compare(name: str, path: Path, folder: Path) -> None:
    """Prints the line of one video."""
    (video,) = list_videos(str(path), None, frozenset({path.suffix})).videos
    once = cpu_s(lambda: [None for _ in read_frames(str(path))])
    scaled = cpu_s(lambda: list(shot_frames(str(path)))) - once
    small = [part.frames for part in shot_frames(str(path)) if isinstance(part, ShotFrames)]
    with transnetv2.reference(str(folder)).use() as network:
        network.submit(np.zeros_like(next(sliding_windows(iter(small), fast=False))), 0.5).result()
        found = cpu_s(
            lambda: [network.submit(window, 0.5).result() for window in sliding_windows(iter(small), fast=False)]
        )
    frames = decoded(path)
    shots = FixedStrideDetector(10, 0, 0, Limits()).run(video, NO_FILES)
    encoded = cpu_s(lambda: limit(frames, shots))
    start = time.perf_counter()
    kept_cpu = cpu_s(lambda: keep(frames, folder / "raw"))
    kept_s = (time.perf_counter() - start) * 1000 / len(frames)
    raw_bytes = sum(plane.buffer_size for plane in frames[0].planes) * 1000
    (folder / "raw").unlink()
    skipped = cpu_s(lambda: decode(path, "NONREF")) / cpu_s(lambda: decode(path))
    memory = cpu_s(lambda: decode(io.BytesIO(path.read_bytes()))) / cpu_s(lambda: decode(path))
    report(
        f"decoding_{name}",
        once / (once + scaled + found + once + encoded),
        "none",
        f"decode {once:.2f} s, scale {scaled:.2f} s, network {found:.2f} s, encode {encoded:.2f} s; to keep frames: "
        f"{kept_cpu:.2f} s, {kept_s:.2f} s with the disk, {raw_bytes / 1e9:.1f} GB; "
        f"left of a decoding: {skipped:.2f} without unreferenced frames, {memory:.2f} with packets from memory",
    )


def main() -> None:
    """Prints the lines of the results."""
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            h264 = make_footage(Path(folder) / f"{name}.mp4", size=size, rate=RATE, seconds=SECONDS)
            compare(f"{name}_h264", h264, Path(folder))
            compare(f"{name}_hevc", as_hevc(h264, Path(folder) / f"{name}-hevc.mp4"), Path(folder))


if __name__ == "__main__":
    main()
