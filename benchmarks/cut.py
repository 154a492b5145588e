"""Cutting a 720p minute against one ffmpeg process a clip, and against encoding frames that are already decoded."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import imageio_ffmpeg
from common import in_fresh_folder, in_turn, report
from footage import make_footage

from beam_curate.elements import Span, VideoShots
from beam_curate.shots.stage import FixedStrideDetector
from beam_curate.sources.listing import list_videos
from beam_curate.store.stage_files import StageFiles
from beam_curate.video.decoder_pool import Limits
from beam_curate.video.encode import KEYFRAME_INTERVAL, Encoding
from beam_curate.video.stage import ClipCutter, chunks_of
from tests.support.output import Output
from tests.support.plans import NO_FILES

CORES = len(os.sched_getaffinity(0))
ENCODING = Encoding()
X264 = (
    ("preset", ENCODING.preset),
    ("crf", str(ENCODING.crf)),
    ("threads", str(ENCODING.threads)),
    ("x264-params", "cpu-independent=1"),
)


def ours(shots: VideoShots, folder: Path) -> None:
    """Cuts as the program does: in a child process, files kept under the hash of their content."""
    (chunk,) = chunks_of(shots, 32)
    made = ClipCutter(ENCODING, 32, Limits()).run(chunk, StageFiles(Output(folder), "clips", "benchmark"))
    for clip in made.clips:
        assert clip.media is not None, clip.failures
        assert clip.media.num_frames == clip.span.num_frames


def theirs(source: Path, shots: VideoShots, folder: Path) -> None:
    """Runs one ffmpeg a clip, as many at a time as there are cores."""

    def cut(span: Span) -> None:
        seek = ("-ss", f"{span.start_s:.6f}", "-i", source, "-t", f"{span.end_s - span.start_s:.6f}")
        encoder = [word for name, value in X264 for word in (f"-{name}", value)]
        clip = folder / f"{span.clip_id}.mp4"
        flags = ("-c:v", "libx264", *encoder, "-g", str(KEYFRAME_INTERVAL), "-movflags", "+faststart", clip)
        subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", *seek, *flags], check=True)

    folder.mkdir(parents=True)
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(cut, shots.spans))


def check_theirs(shots: VideoShots, folder: Path) -> None:
    """Fails unless every clip of the other side has its span's number of frames."""
    for span in shots.spans:
        with av.open(str(folder / f"{span.clip_id}.mp4")) as container:
            count = sum(1 for packet in container.demux(video=0) if packet.size)
        assert count == span.num_frames, f"ffmpeg wrote {count} frames of {span.num_frames}"


def limit(frames: Sequence[av.VideoFrame], shots: VideoShots) -> None:
    """Only encodes: frames come from memory, packets go nowhere, one thread a core."""

    def encode(span: Span) -> None:
        context = av.CodecContext.create("libx264", "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height, context.pix_fmt = shots.info.width, shots.info.height, "yuv420p"
        context.framerate, context.time_base = shots.info.frame_rate, 1 / shots.info.frame_rate
        context.gop_size = KEYFRAME_INTERVAL
        context.options = dict(X264)
        count = 0
        for number, frame in enumerate(frames[span.start_frame : span.end_frame]):
            frame.pts, frame.time_base, frame.pict_type = number, context.time_base, 0
            count += len(context.encode(frame))
        count += len(context.encode(None))
        assert count == span.num_frames

    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(encode, shots.spans))


def decoded(source: Path) -> list[av.VideoFrame]:
    """All frames of a file, in memory."""
    with av.open(str(source)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return list(container.decode(video=0))


def main() -> None:
    """Prints two lines for clips of 10 s and two for clips of 2 s."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = make_footage(folder / "minute.mp4")
        (video,) = list_videos(str(source), None, frozenset({".mp4"})).videos
        frames = decoded(source)
        for seconds, target in ((10, ">=1.1"), (2, ">=1.3")):
            shots = FixedStrideDetector(seconds, 0, 0, Limits()).run(video, NO_FILES)
            mine, other, least = in_turn(
                functools.partial(in_fresh_folder, folder / "ours", functools.partial(ours, shots)),
                functools.partial(in_fresh_folder, folder / "theirs", functools.partial(theirs, source, shots)),
                functools.partial(limit, frames, shots),
            )
            check_theirs(shots, folder / "theirs")
            times = f"ours {mine:.2f} s, ffmpeg {other:.2f} s, encoding alone {least:.2f} s"
            report(f"cut_{seconds}s", other / mine, target, f"{len(shots.spans)} clips: {times}")
            report(f"cut_{seconds}s_limit", mine / least, "<=1.15", times)


if __name__ == "__main__":
    main()
