"""How long `--help` takes: less than 0.25 s, of which a bare Python that imports argparse is a part."""

from __future__ import annotations

import subprocess
import sys

from common import in_turn, report


def run(*arguments: str) -> None:
    """Runs Python with arguments and throws away what it prints."""
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)


ours, bare = in_turn(lambda: run("-m", "beam_curate.run", "--help"), lambda: run("-c", "import argparse"), rounds=7)
report("start", ours, "<0.25 s", f"{ours:.2f} s, of which {bare:.2f} s are a bare Python")
