"""Running the program as its user does: a command line, a process, an exit status."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from common import ROOT

# The reference command with the models that need no download.
DATASET = (
    *("--generate-cosmos-predict-dataset", "predict2"),
    *("--captioning-algorithm", "describe", "--text-encoder", "t5_random"),
)
CLIPS_ONLY = ("--no-generate-captions",)


def command(source: Path | str, output: Path | str, *flags: str) -> list[str]:
    """Returns the command that curates a folder."""
    folders = ("--input-video-path", str(source), "--output-clip-path", str(output))
    return [sys.executable, "-m", "beam_curate.run", *folders, *flags]


def run(source: Path | str, output: Path | str, *flags: str, tree: Path = ROOT) -> None:
    """Curates a folder with the program of a tree.

    Raises:
        RuntimeError: It ended with an error; the message is what it printed.
    """
    done = subprocess.run(
        command(source, output, *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tree,  # Python looks there first
        env=os.environ | {"PYTHONPATH": str(tree)},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout)


def curate(source: Path, output: Path, *flags: str, tree: Path = ROOT) -> None:
    """Curates a folder from the beginning: what earlier runs left in the output is deleted first. See `run`."""
    shutil.rmtree(output, ignore_errors=True)
    run(source, output, *flags, tree=tree)


def finished(output: Path) -> list[float]:
    """Returns when each video was finished, in seconds since 1970: when its done marker was written."""
    return sorted(marker.stat().st_mtime for marker in (output / ".work/done").rglob("*") if marker.is_file())
