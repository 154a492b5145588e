"""How every command ends: one message and an exit status, whatever went wrong."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable

from beam_curate.errors import CurateError, UsageError
from beam_curate.exit_codes import EXIT_FAILED, EXIT_PIPE, EXIT_USAGE
from beam_curate.processes import signals
from beam_curate.progress import terminal
from beam_curate.store import disk_errors


def run(command: Callable[[], int], how_far: Callable[[], str] | None = None) -> int:
    """Runs a command; returns its exit status, after a message if it failed or was interrupted.

    When the reader of its output has left, as ``head`` does, the command ends silently.

    >>> run(lambda: 0)
    0

    Args:
        command: Returns its exit status.
        how_far: Says how far it has come, when a signal ends it.
    """

    def farewell(number: signal.Signals) -> None:
        word = "Interrupted" if number == signal.SIGINT else f"Stopped by {number.name}"
        print(f"\n{word}." + (f" {how_far()}" if how_far else ""))
        print("Finished work is kept. Run the same command again to resume.", flush=True)

    with signals.handled(farewell):
        return _status_of(command)


def _status_of(command: Callable[[], int]) -> int:
    try:
        status = _run(command)
        sys.stdout.flush()
    except UsageError as error:
        terminal.complain(error)
        return EXIT_USAGE
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            _write_to_nowhere()
            return EXIT_PIPE
        terminal.complain(disk_errors.explained(error))
        return EXIT_FAILED
    except CurateError as error:
        terminal.complain(error)
        return EXIT_FAILED
    return status


def _run(command: Callable[[], int]) -> int:
    try:
        return command()
    except SystemExit:  # raised by argparse after --help
        sys.stdout.flush()
        raise


def _nobody_reads() -> bool:
    """Returns whether standard output or standard error is a pipe whose reader has left."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _write_to_nowhere() -> None:
    """Discards what is still buffered: Python would complain of it when it ends."""
    with open(os.devnull, "w") as nowhere:
        for number in (1, 2):
            os.dup2(nowhere.fileno(), number)
