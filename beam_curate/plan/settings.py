"""Settings of a run that belong to no stage."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class RunnerSettings:
    """Where the pipeline runs.

    Attributes:
        name: Beam's name of the runner, such as ``DirectRunner``.
        threads: Threads of a local runner; None for as many as there are cores.
        beam_args: Flags of Apache Beam, unchanged, with their values.
        verbose: Whether logs of Beam and tracebacks of workers are shown.
    """

    name: str = "DirectRunner"
    threads: int | None = None
    beam_args: tuple[str, ...] = ()
    verbose: bool = False
