"""Runs every benchmark here and writes what they print, with the machine's description, to `results/`.

At the end it names the results that miss their targets. That is no error: a slower machine may miss some.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
HELPERS = ("common", "finished_output", "footage", "footage_clips", "memory", "program", "run_all", "sleeping_server")
_LINE = re.compile(r"^\S+ ratio (?P<ratio>\S+) target (?P<side>[<>]=)(?P<target>[\d.]+)")


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


def misses(line: str) -> bool:
    """Whether a line is a result that misses its target."""
    if not (found := _LINE.match(line)):
        return False
    ratio, target = float(found["ratio"]), float(found["target"])
    return ratio > target if found["side"] == "<=" else ratio < target


def main() -> int:
    """Runs the scripts named on the command line, or all; returns 1 when one of them failed to run."""
    names = sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.py") if path.stem not in HELPERS)
    (HERE / "results").mkdir(exist_ok=True)
    status = 0
    missed: list[str] = []
    for name in names:
        done = subprocess.run(
            [sys.executable, HERE / f"{name}.py"], stdout=subprocess.PIPE, text=True, cwd=HERE, check=False
        )
        print(done.stdout, end="", flush=True)
        missed += filter(misses, done.stdout.splitlines())
        if done.returncode:
            print(f"{name} failed with exit status {done.returncode}", flush=True)
            status = 1
            continue
        if " ratio " in done.stdout:  # without a GPU there is nothing to keep of what wants one
            (HERE / "results" / f"{name}.txt").write_text(f"{machine()}\n{done.stdout}")
    print("\n".join(["missed:", *missed]) if missed else "all targets met")
    return status


if __name__ == "__main__":
    sys.exit(main())
