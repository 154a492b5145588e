"""The child process that reads source videos: `python -m beam_curate.video.decoder_process FD PARENT_PID MEMORY_MB`.

It imports neither Beam nor torch, serves one request after another over a socket, and ends when the socket closes or
its parent is gone. Crashes, hangs and decompression bombs of a decoder affect this process only.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import av

from beam_curate.containers.error_causes import classify_read_error
from beam_curate.processes import supervisor
from beam_curate.video import copy, cut, examine, scan

TASKS: dict[str, Callable[..., Iterator[Any]]] = {
    "probe": scan.probe,
    "packet_times": scan.packet_times,
    "shot_frames": scan.shot_frames,
    "cut": cut.cut,
    "copy": copy.copy,
    "examine": examine.examine,
    "grey_std": examine.grey_std,
}


_NICE = 5  # the parent feeds a GPU, or a server that has one, and must not wait for a core


def main() -> None:
    """Serves requests until the parent closes the connection."""
    fd, parent_pid, memory_mb = (int(argument) for argument in sys.argv[1:4])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # shells start background jobs with it ignored
    supervisor.exit_with(parent_pid)
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    os.nice(_NICE)
    av.logging.set_level(None)
    connection = Connection(fd)
    try:
        connection.send(("ready", None))
        while True:
            _serve(connection, *connection.recv())
    except (EOFError, OSError):  # OSError: in the middle of a message
        return  # the parent is gone or has closed the connection


def _serve(connection: Connection, task: str, arguments: tuple[Any, ...]) -> None:
    try:
        for item in TASKS[task](*arguments):
            connection.send(("item", item))
        end: tuple[str, Any] = ("done", None)
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 - the parent records errors of any type
        end = ("error", classify_read_error(error, arguments[0] if arguments else ""))
    connection.send(end)


if __name__ == "__main__":
    main()
