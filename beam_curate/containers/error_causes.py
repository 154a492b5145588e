"""Finds the cause of an error in reading a source or writing a clip: the content, the disk or the machine.

FFmpeg's error numbers do not tell: its demuxers and codecs report invalid content with numbers of the operating system
(EIO, EINVAL, ENOSYS, EPERM, ENOSPC, ...). So the file or the folder is accessed again without FFmpeg.
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
_FRAME_BYTES_PER_PIXEL = 4  # more than 8-bit 4:2:0 needs, to cover a frame's borders and motion vectors
_THREAD_BYTES = 16 << 20  # more than a thread's stack, 8 MiB by default
# No codec or muxer of FFmpeg reports these for content: quota exceeded, read-only file system, file larger than the
# file system or `ulimit -f` allows.
_DISK_ERRORS = (errno.EDQUOT, errno.EROFS, errno.EFBIG)


def classify_read_error(error: Exception, path: str) -> CurateError:
    """Returns the error that says why a source could not be read.

    >>> classify_read_error(FileNotFoundError(2, "No such file or directory"), "a.mp4")
    DiskError('No such file or directory')
    """
    known = _by_type(error, "reading")
    if known is not None:
        return known
    disk_error = _read_again(path, entire_file=isinstance(error, OSError))
    if disk_error is not None:
        return DiskError(f"it cannot be read from its disk: {reason(disk_error)}")
    return UnreadableSourceError(f"not a video FFmpeg can decode: {reason(error)}")


def classify_write_error(error: Exception, folder: Path, encoder: str) -> CurateError:
    """Returns the error that says why a clip could not be encoded into a folder.

    >>> classify_write_error(av.error.FFmpegError(errno.EROFS, "Read-only file system"), Path("clips"), "libx264")
    OutputError('the clip cannot be written: Read-only file system')

    Call it before the incomplete clip is deleted, or a full disk would no longer be full.
    """
    known = _by_type(error, "encoding")
    if known is not None:
        return known
    disk_error = error if getattr(error, "errno", 0) in _DISK_ERRORS else _write_again(folder)
    if disk_error is not None:
        return OutputError(f"the clip cannot be written: {reason(disk_error)}")
    if not _can_allocate(_THREAD_BYTES):  # encoders that run out of memory report no error of their own
        return DecoderMemoryError("encoding it needs more memory than --decode-memory-mb allows")
    if encoder == "h264_nvenc":
        return MachineError(f"the GPU's encoder failed ({reason(error)}); --transcode-encoder libx264 needs no GPU")
    return EncodingError(f"its frames cannot be encoded as H.264 in mp4: {reason(error)}")


def is_out_of_memory(error: Exception, decoder: av.VideoCodecContext | None = None) -> bool:
    """Whether memory ran out, also where a thread could not start or a library could not be loaded for that reason.

    >>> is_out_of_memory(RuntimeError("can't start new thread"))
    True

    Args:
        error: The exception.
        decoder: The decoder that raised it, if one did: without memory for a frame, FFmpeg's H.264 decoder reports
            invalid data.
    """
    if decoder is not None and not _can_allocate(_FRAME_BYTES_PER_PIXEL * decoder.width * decoder.height):
        return True
    if isinstance(error, (MemoryError, BlockingIOError)):
        return True
    return "can't start new thread" in str(error) or "failed to map segment" in str(error)


def _by_type(error: Exception, doing: str) -> CurateError | None:
    """Returns the error by its own type; None for FFmpeg's errors, whose type does not tell the cause."""
    if isinstance(error, CurateError):
        return error
    if is_out_of_memory(error):
        if not isinstance(error, MemoryError) and _can_allocate(_THREAD_BYTES):
            return MachineError(f"{doing} it needs one more thread than the machine allows (ulimit -u)")
        return DecoderMemoryError(f"{doing} it needs more memory than --decode-memory-mb allows")
    if isinstance(error, av.error.FFmpegError):
        return None
    if isinstance(error, OSError):
        return DiskError(reason(error))
    return InternalError(f"internal error: {type(error).__name__}: {error}")


def reason(error: BaseException) -> str:
    """Returns an error's text without its number and file name.

    >>> reason(FileNotFoundError(2, "No such file or directory", "a.mp4"))
    'No such file or directory'
    """
    return str(getattr(error, "strerror", "") or error)


def _read_again(path: str, entire_file: bool) -> OSError | None:
    """Returns the operating system's error on reading a file: its first block, or all of it."""
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):
            return None  # reading a pipe would wait for a writer
        with open(path, "rb") as file:
            while file.read(_BLOCK_BYTES) and entire_file:
                pass
    except OSError as error:
        return error
    return None


def _write_again(folder: Path) -> OSError | None:
    """Returns the operating system's error on writing one more block into a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_BLOCK_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def _can_allocate(num_bytes: int) -> bool:
    try:
        mmap.mmap(-1, max(1, num_bytes)).close()
    except (OSError, OverflowError):
        return False
    return True
