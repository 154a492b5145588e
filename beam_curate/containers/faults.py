"""Whose fault an error is that comes up while a source is read or a clip is written.

The numbers of FFmpeg's errors do not say: its demuxers and codecs use those of the operating system (EIO, EINVAL,
ENOSYS, EPERM, ENOSPC, ...) for what they do not like in the content, so that the disk itself is asked.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import tempfile
from pathlib import Path

import av

from beam_curate.errors import (
    CurateError,
    DecoderMemoryError,
    DiskError,
    EncodingError,
    InternalError,
    MachineError,
    OutputError,
    UnreadableSourceError,
)

_BLOCK_BYTES = 1 << 20
_PICTURE_BYTES_PER_PIXEL = 4  # above 4:2:0 in 8 bits, with what goes with a picture: borders, motion vectors
_THREAD_BYTES = 16 << 20  # more than a thread's stack, 8 MiB by default
# No codec and no muxer of FFmpeg makes these by itself: over a quota, on a file system that is read-only, beyond the
# largest file that the file system or `ulimit -f` allows.
_OF_DISKS_ALONE = (errno.EDQUOT, errno.EROFS, errno.EFBIG)


def of_reading(error: Exception, path: str) -> CurateError:
    """Returns the error of reading a source, by its cause."""
    known = _known(error, "reading")
    if known is not None:
        return known
    refusal = _refusal_to_read(path, whole=isinstance(error, OSError))
    if refusal is not None:
        return DiskError(f"it cannot be read from its disk: {words(refusal)}")
    return UnreadableSourceError(f"not a video FFmpeg can decode: {words(error)}")


def of_writing(error: Exception, folder: Path, encoder: str) -> CurateError:
    """Returns the error of encoding a clip into a folder, by its cause; what was written of it must be there still."""
    known = _known(error, "encoding")
    if known is not None:
        return known
    refusal = error if getattr(error, "errno", 0) in _OF_DISKS_ALONE else _refusal_to_write(folder)
    if refusal is not None:
        return OutputError(f"the clip cannot be written: {words(refusal)}")
    if not _has_room_for(_THREAD_BYTES):  # an encoder that finds no memory has no error of its own for it
        return DecoderMemoryError("encoding it needs more memory than --decode-memory-mb allows")
    if encoder == "h264_nvenc":
        return MachineError(f"the GPU's encoder failed ({words(error)}); --transcode-encoder libx264 needs no GPU")
    return EncodingError(f"its pictures cannot be encoded as H.264 in mp4: {words(error)}")


def out_of_memory(error: Exception, decoder: av.VideoCodecContext | None = None) -> bool:
    """Whether an error comes from the memory limit; a thread or a library that finds no room is one.

    Args:
        error: What was raised.
        decoder: Of the pictures, where one raised it: without memory for a picture, FFmpeg's H.264 decoder calls the
            data invalid.
    """
    if decoder is not None and not _has_room_for(_PICTURE_BYTES_PER_PIXEL * decoder.width * decoder.height):
        return True
    if isinstance(error, (MemoryError, BlockingIOError)):
        return True
    return "can't start new thread" in str(error) or "failed to map segment" in str(error)


def _known(error: Exception, doing: str) -> CurateError | None:
    """Returns the error by its own kind, or None for one of FFmpeg, which tells nothing."""
    if isinstance(error, CurateError):
        return error
    if out_of_memory(error):
        if not isinstance(error, MemoryError) and _has_room_for(_THREAD_BYTES):
            return MachineError(f"{doing} it needs one more thread than the machine gives (ulimit -u)")
        return DecoderMemoryError(f"{doing} it needs more memory than --decode-memory-mb allows")
    if isinstance(error, av.error.FFmpegError):
        return None
    if isinstance(error, OSError):
        return DiskError(words(error))
    return InternalError(f"internal error: {type(error).__name__}: {error}")


def words(error: BaseException) -> str:
    """Returns what went wrong, without number and file name."""
    return str(getattr(error, "strerror", "") or error)


def _refusal_to_read(path: str, whole: bool) -> OSError | None:
    """Returns the operating system's error of reading a file: its first block, or all of it."""
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):
            return None  # reading it would wait for a writer
        with open(path, "rb") as file:
            while file.read(_BLOCK_BYTES) and whole:
                pass
    except OSError as error:
        return error
    return None


def _refusal_to_write(folder: Path) -> OSError | None:
    """Returns the operating system's error of writing one more block into a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_BLOCK_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def _has_room_for(num_bytes: int) -> bool:
    try:
        mmap.mmap(-1, max(1, num_bytes)).close()
    except (OSError, OverflowError):
        return False
    return True
