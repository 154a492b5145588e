"""What costs seconds to import is imported when it is needed, and not for help, mistakes or a dry run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.media import make_video
from tests.support.program import DESCRIBED

HEAVY = ("apache_beam", "torch", "transformers")
PROGRAM = f"""
import sys
try:
    {{call}}
finally:
    print("imported:", *(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""


def imported(call: str, *arguments: str) -> tuple[int, set[str]]:
    """Runs the program; returns its exit status and which heavy packages it had imported by its end."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(call=call), *arguments], capture_output=True, text=True, timeout=120
    )
    *_, last = [line for line in done.stderr.splitlines() if line.startswith("imported:")]
    return done.returncode, set(last.split()[1:])


RUN = "from beam_curate.run import main; sys.exit(main())"
CLI = "from beam_curate.cli.main import main; sys.exit(main())"


@pytest.mark.parametrize(
    "call, arguments, status",
    [
        (RUN, ("--help",), 0),
        (RUN, ("--splitting-algorithm", "magic"), 2),
        (RUN, ("--transcode-crf", "much"), 2),
        (RUN, ("--input-video-path", "/no/such/folder", "--output-clip-path", "/tmp/out"), 2),
        (CLI, ("--help",), 0),
        (CLI, ("split", "--help"), 0),
        (CLI, ("verify", "/no/such/folder"), 2),
    ],
)
def test_help_and_mistakes_import_nothing_heavy(call: str, arguments: tuple[str, ...], status: int) -> None:
    assert imported(call, *arguments) == (status, set())


def test_a_dry_run_imports_nothing_heavy(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mp4", frames=24)
    folders = ("--input-video-path", str(tmp_path / "in.mp4"), "--output-clip-path", str(tmp_path / "out"))
    assert imported(RUN, *DESCRIBED, *folders, "--dry-run") == (0, set())
