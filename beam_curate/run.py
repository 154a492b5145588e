"""`python -m beam_curate.run`: the command `beam-curate split`, and without any argument `beam-curate demo`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from beam_curate.cli import split
from beam_curate.processes import signals


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    _drop_working_directory()
    if arguments:
        return split.main(arguments, prog="python -m beam_curate.run")
    from beam_curate.cli.main import main as command  # for the demo alone: it imports every command

    return command(["demo"])


def _drop_working_directory() -> None:
    """`python -m` looks for modules in the working directory first, where users may have own `transforms`."""
    ours = Path(__file__).resolve().parents[1]
    if sys.path and sys.path[0] in ("", str(Path.cwd())) and Path.cwd().resolve() != ours:
        del sys.path[0]


if __name__ == "__main__":
    signals.end(main())
