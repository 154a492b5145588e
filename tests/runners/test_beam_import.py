"""Importing Beam for a run on this computer: what is left out can be imported by whoever needs it later."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runners.beam_import import UNUSED

PROGRAM = """
import importlib, sys
from beam_curate.plan.settings import RunnerSettings
from runners.beam_import import UNUSED, import_beam
from runners.registry import make_runner
import_beam(make_runner(RunnerSettings(sys.argv[1])))
print(sum(name in sys.modules for name in UNUSED))
for name in UNUSED:
    importlib.import_module(name)
import apache_beam
print(type(apache_beam.io.filesystems.FileSystems.get_filesystem("gs://bucket/a")).__name__)
"""


@pytest.mark.parametrize(
    ("runner", "loaded"),
    [("DirectRunner", 0), ("PrismRunner", 0), ("FlinkRunner", len(UNUSED)), ("PortableRunner", len(UNUSED))],
)
def test_optional_parts_are_left_out_on_this_computer_alone(runner: str, loaded: int) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, runner], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(loaded), "GCSFileSystem"]


def test_beam_is_whole_where_it_was_imported_before() -> None:
    program = PROGRAM.replace("import importlib, sys", "import importlib, sys, apache_beam")
    done = subprocess.run([sys.executable, "-c", program, "DirectRunner"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(UNUSED)), "GCSFileSystem"]
