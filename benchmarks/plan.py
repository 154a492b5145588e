"""How long `beam-curate plan` takes for a job on Dataflow, with the network closed, as a share of 15 s."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import report, timed

from tests.support.dataflow import CLOUD, MODELS, PLACES, WITH_MODELS
from tests.support.offline import attempts_of, run_offline

TARGET_S = 15.0
ROUNDS = 3


def main() -> int:
    """Plans a few times and reports the shortest."""
    command = ["-m", "beam_curate.cli.main", "plan", "--runner=DataflowRunner", *PLACES, *CLOUD, *WITH_MODELS, *MODELS]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def plan() -> None:
            done = run_offline([*command, "--estimate-hours-of-video=1000"], folder / "guard", cwd=folder)
            assert done.returncode == 0, done.stderr

        seconds = min(timed(plan) for _ in range(ROUNDS))
        assert attempts_of(folder / "guard") == []
        assert (folder / "beam_curate_plan" / "job.json").exists()
    report("plan", seconds / TARGET_S, "<=1", f"{seconds:.1f} s, network closed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
