"""`python -m runners.flink.ready`: waits until a Flink cluster can take a job, before the program that submits it.

A driver that comes first would fail, or take the slots that are there for all that there will be.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED
from beam_curate.processes.server import listens
from runners.flink import rest

_POLL_S = 2.0
_REPORT_S = 30.0


def wait_until_ready(
    master: str, job_endpoint: str, slots: int, wait_s: float, report: Callable[[str], object] = print
) -> bool:
    """Waits until a cluster has its slots and Beam's job server answers; returns whether they did in time.

    >>> wait_until_ready("localhost:1", "localhost:1", slots=2, wait_s=0)
    waiting for Flink at localhost:1: 0 of 2 slots
    False

    Args:
        master: As for ``--flink_master``.
        job_endpoint: As for ``--job_endpoint``.
        slots: How many slots all TaskManagers have together.
        wait_s: Longest wait, in s.
        report: Is told what is waited for: at once, when that changes, and every 30 s.
    """
    start = time.monotonic()
    reported, told = start, ""
    while missing := _missing(master, job_endpoint, slots):
        now = time.monotonic()
        if missing != told or now - reported >= _REPORT_S:
            report(f"waiting for {missing}")
            reported, told = now, missing
        if now - start >= wait_s:
            return False
        time.sleep(_POLL_S)
    return True


def _missing(master: str, job_endpoint: str, slots: int) -> str:
    """Returns what is not there yet; an empty text if all is."""
    there = rest.slots(master)
    if there < slots:
        return f"Flink at {master}: {there} of {slots} slots"
    return "" if listens(job_endpoint) else f"Beam's job server at {job_endpoint}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m runners.flink.ready", description=__doc__, allow_abbrev=False)
    parser.add_argument("--flink_master", required=True, metavar="HOST:PORT", help="Flink's web page.")
    parser.add_argument("--job_endpoint", required=True, metavar="HOST:PORT", help="Beam's job server.")
    parser.add_argument("--slots", required=True, type=int, help="Slots of all TaskManagers together.")
    parser.add_argument("--wait-s", type=float, default=3600.0, help="Longest wait, in s (default: 3600).")
    parser.add_argument("--cancel", metavar="NAME", help="Then cancel jobs of this name, which a lost driver has left.")
    given = parser.parse_args(argv)
    if not wait_until_ready(given.flink_master, given.job_endpoint, given.slots, given.wait_s, _say):
        _say(
            f"error: gave up after {given.wait_s:g} s; look at the TaskManagers: can they be scheduled, do they start?"
        )
        return EXIT_FAILED
    if given.cancel and not rest.cancel(given.flink_master, given.cancel):
        _say(f"warning: jobs named {given.cancel} could not be cancelled; look at Flink's page, {given.flink_master}")
    return EXIT_DONE


def _say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    sys.exit(main())
