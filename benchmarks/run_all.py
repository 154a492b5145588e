"""Runs every benchmark here and writes what they print, with the machine's description, to `results/`."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent


def machine() -> str:
    """One line on the machine and what runs on it."""
    model = platform.processor() or platform.machine()
    flags = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
        if line.startswith("flags"):
            flags = " ".join(flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in line.split())
    packages = ", ".join(f"{name} {version(name)}" for name in ("apache-beam", "av", "torch", "transformers"))
    return f"{model}, {os.cpu_count()} cores ({flags}), Python {platform.python_version()}, {packages}"


def main() -> int:
    """Runs the scripts named on the command line, or all; returns 1 when one of them failed to run."""
    names = sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.py") if path.stem not in ("run_all", "common"))
    (HERE / "results").mkdir(exist_ok=True)
    status = 0
    for name in names:
        done = subprocess.run(
            [sys.executable, HERE / f"{name}.py"], stdout=subprocess.PIPE, text=True, cwd=HERE, check=False
        )
        print(done.stdout, end="", flush=True)
        if done.returncode:
            print(f"{name} failed with exit status {done.returncode}", flush=True)
            status = 1
            continue
        (HERE / "results" / f"{name}.txt").write_text(f"{machine()}\n{done.stdout}")
    return status


if __name__ == "__main__":
    sys.exit(main())
