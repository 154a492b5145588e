"""Checks whether the trainer can read a video of the dataset, by decoding all of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

from beam_curate.dataset.format import MAX_PIXELS, blank_fault, frames_fault, size_fault
from beam_curate.dataset.verify.faults import UNCHECKED
from beam_curate.errors import CurateError, MachineError
from beam_curate.video import decoder_pool
from beam_curate.video.examine import VideoFacts

READABLE_CODECS = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg", "vp9", "ffv1"})
"""FFmpeg's names of the codecs in mp4 that decord 0.6.0, the trainer's reader, can read; AV1 is not among them."""


@dataclasses.dataclass(frozen=True)
class VideoCheck:
    """The result of decoding a video.

    Attributes:
        codec: FFmpeg's name; empty if the file could not be opened.
        num_frames: Frames decoded.
        duration_s: Frames divided by the average frame rate; 0 if that is unknown.
        findings: (rule, message) of each fault.
    """

    codec: str = ""
    num_frames: int = 0
    duration_s: float = 0.0
    findings: tuple[tuple[str, str], ...] = ()


def check_video(
    path: Path, *, min_frames: int, window_frames: int | None = None, limits: decoder_pool.Limits
) -> VideoCheck:
    """Decodes a video in a child process, from its first to its last frame, and checks what the trainer requires.

    Args:
        path: The mp4.
        min_frames: Minimum number of frames that the trainer can take a sample from.
        window_frames: Number of frames according to the file's name, or None if the name does not state it.
        limits: Limits of the child process. A video that exceeds them or crashes the process counts as unreadable. If
            the disk fails or the process is killed from outside, the video counts as unchecked.

    Raises:
        MachineError: No child process or thread can be started.
    """
    try:
        facts: VideoFacts = decoder_pool.call("examine", str(path), MAX_PIXELS, limits=limits)
    except MachineError:
        raise
    except CurateError as error:
        return VideoCheck(findings=((UNCHECKED if error.retriable else "video_unreadable", str(error)),))
    has_rate = math.isfinite(facts.frame_rate) and facts.frame_rate > 0
    duration_s = facts.num_frames / facts.frame_rate if has_rate else 0.0
    findings = _findings(facts, has_rate, min_frames, window_frames)
    return VideoCheck(facts.codec, facts.num_frames, duration_s, tuple(findings))


def _findings(
    facts: VideoFacts, has_rate: bool, min_frames: int, window_frames: int | None
) -> Iterator[tuple[str, str]]:
    size = size_fault(facts.width, facts.height)
    if size and facts.width * facts.height > MAX_PIXELS:
        yield "video_size", size  # it was not decoded, so nothing else is known
        return
    if facts.codec not in READABLE_CODECS:
        yield "video_codec", f"is encoded as {facts.codec}, which decord 0.6.0 is not known to read"
    if size:
        yield "video_width", size
    if not has_rate:
        yield "video_frame_rate", "has no usable average frame rate"
    expected = facts.num_expected
    if facts.damage or facts.num_frames != expected:
        why = f" ({facts.damage})" if facts.damage else ""
        yield "video_damaged", f"is damaged: {facts.num_frames} of {expected} frames decode{why}"
    if fault := frames_fault(expected, min_frames):
        yield "video_short", fault
    if window_frames not in (None, expected):
        yield "video_window", f"has {expected} frames, but its name says {window_frames}"
    if facts.num_frames and (fault := blank_fault(facts.grey_std)):
        yield "video_blank", fault
