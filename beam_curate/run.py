"""`python -m beam_curate.run`: the command `beam-curate split`."""

from beam_curate.cli.split import main
from beam_curate.processes import signals

if __name__ == "__main__":
    signals.end(main())
