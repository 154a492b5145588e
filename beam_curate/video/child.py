"""The child process that reads source videos: `python -m beam_curate.video.child FD PARENT_PID MEMORY_MB`.

It imports neither Beam nor torch, answers one request after another over a socket, and ends when the socket
closes or its parent is gone. What a decoder does to it, a crash, a hang, a memory bomb, stays in it.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import av

from beam_curate.errors import CurateError, DecoderMemoryError, UnreadableSourceError
from beam_curate.video import cut, scan
from beam_curate.video.decode import out_of_memory

TASKS: dict[str, Callable[..., Iterator[Any]]] = {
    "probe": scan.probe,
    "packet_times": scan.packet_times,
    "shot_frames": scan.shot_frames,
    "cut": cut.cut,
}


def main() -> None:
    """Serves requests until the parent closes the connection."""
    fd, parent_pid, memory_mb = (int(argument) for argument in sys.argv[1:4])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_die_with, args=(parent_pid,), daemon=True).start()
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    av.logging.set_level(None)
    connection = Connection(fd)
    try:
        while True:
            _serve(connection, *connection.recv())
    except (EOFError, ConnectionError):
        return  # the parent is gone or needs this child no more


def _serve(connection: Connection, task: str, arguments: tuple[Any, ...]) -> None:
    try:
        for item in TASKS[task](*arguments):
            connection.send(("item", item))
        answer: tuple[str, Any] = ("done", None)
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent gives it a type and a record
        answer = ("error", _typed(error))
    connection.send(answer)


def _typed(error: Exception) -> Exception:
    """Turns PyAV's errors into ours; file system errors keep their own type and so stay retriable."""
    if isinstance(error, CurateError):
        return error
    if out_of_memory(error):
        return DecoderMemoryError("reading it needs more memory than --decode-memory-mb allows")
    if isinstance(error, av.error.FFmpegError):
        if isinstance(error, OSError) and not (error.errno == errno.EIO and _can_be_read(str(error.filename))):
            return OSError(error.errno, error.strerror, error.filename)
        return UnreadableSourceError(f"not a video FFmpeg can decode: {error.strerror}")
    return RuntimeError(f"{type(error).__name__}: {error}")


def _can_be_read(name: str) -> bool:
    """Whether the disk gives a file's content: FFmpeg calls broken containers input/output errors, too."""
    try:
        with open(name.removeprefix("file:"), "rb") as file:
            while file.read(1 << 20):
                pass
    except OSError:
        return False
    return True


def _die_with(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main()
