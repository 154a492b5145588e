"""How long `--help` takes, against a bare Python that imports argparse: at most 0.4 s more."""

from __future__ import annotations

import subprocess
import sys

from common import in_turn, report


def run(*arguments: str) -> None:
    """Runs Python with arguments and throws away what it prints."""
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)


ours, bare = in_turn(lambda: run("-m", "beam_curate.run", "--help"), lambda: run("-c", "import argparse"), rounds=7)
report("start", ours - bare, "<=0.4 s more", f"{ours:.2f} s against {bare:.2f} s")
