"""What it means for a user when a runner gives a job up."""

from __future__ import annotations

import re

_MEANINGS = {
    r"CANCELLED: client cancelled|StatusRuntimeException: UNAVAILABLE|Connection refused": "the Python workers are "
    "gone or were never there; look whether the worker pool runs, and what it said last",
    r"StatusCode.UNAVAILABLE": "Prism, or the job server, is gone; --verbose shows what it printed",
    r"Insufficient number of network buffers": "Flink has too little network memory for this job; put "
    "`taskmanager.network.sort-shuffle.min-buffers: 16` into the configuration of its TaskManagers",
    r"NoResourceAvailable": "Flink has not enough free slots; start more TaskManagers, or lower --parallelism",
    r"ModuleNotFoundError|Can't get attribute": "the workers have not the packages of this environment; install the "
    "same beam-curate there",
}


def explain(message: str) -> str:
    """Returns one line that says what happened and, where it is known, what to do.

    Args:
        message: Of the runner: what the driver of a job gets from Prism, Flink or Beam, traces and all.
    """
    of_grpc = re.search(r'details = "(.+)"', message)
    lines = message.strip().splitlines() or ["it said no more"]
    cause = of_grpc[1] if of_grpc else re.sub(r"^Pipeline \S+ failed in state \w+: ", "", lines[-1])
    for pattern, meaning in _MEANINGS.items():
        if re.search(pattern, message):
            return f"{meaning} ({cause})"
    return cause
