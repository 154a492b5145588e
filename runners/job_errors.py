"""Error messages of failed jobs, as users can act on them."""

from __future__ import annotations

import re

_EXPLANATIONS = {
    r"CANCELLED: client cancelled|StatusRuntimeException: UNAVAILABLE|Connection refused": "the Python workers are "
    "gone or never started; check that the worker pool is running, and its log",
    r"TimeoutException: Waited .* for SettableFuture": "no Python worker took the work: they end at once, or the "
    "worker pool cannot start them. Its log says why, such as a Python without Beam or beam-curate",
    r"StatusCode.UNAVAILABLE": "Prism or the job server is gone; --verbose shows its output",
    r"Insufficient number of network buffers": "Flink has too little network memory for this job; add "
    "`taskmanager.network.sort-shuffle.min-buffers: 16` to the configuration of its TaskManagers",
    r"NoResourceAvailable": "Flink does not have enough free slots; start more TaskManagers, or lower --parallelism",
    r"ModuleNotFoundError|Can't get attribute": "the workers lack packages of this environment; install the same "
    "version of beam-curate there",
}
# They say by themselves what to do, and what they quote, such as a refused connection, is not about workers.
_EXPLAINED = re.compile(r"(?:BucketError|WorkerError): (.+?)(?: \[while running .*)?$", re.MULTILINE)


def explain(message: str) -> str:
    """Returns one line with the cause and, where it is known, what to do.

    >>> explain("Pipeline job_1 failed in state FAILED: ModuleNotFoundError: No module named 'av'")
    "the workers lack packages of this environment; ... (ModuleNotFoundError: No module named 'av')"

    Args:
        message: The error that the driver gets from Prism, Flink or Beam, with tracebacks.
    """
    if explained := _EXPLAINED.findall(message):
        return str(explained[-1])
    of_grpc = re.search(r'details = "(.+)"', message)
    lines = message.strip().splitlines() or ["the runner gave no reason"]
    cause = of_grpc[1] if of_grpc else re.sub(r"^Pipeline \S+ failed in state \w+: ", "", lines[-1])
    for pattern, explanation in _EXPLANATIONS.items():
        if re.search(pattern, message):
            return f"{explanation} ({cause})"
    return cause
