"""Benchmarks that want a GPU are tried without one, so that they work where there is one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def tried(name: str) -> list[str]:
    """Runs a benchmark with a tiny model on the processor; returns its lines."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--tiny"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # more only get in each other's way in so small a model
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=one_thread)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_captioning_on_a_gpu_can_be_tried_with_a_tiny_model() -> None:
    first, second, result = tried("gpu_caption")
    for line, name in ((first, "one at a time"), (second, "captioner")):
        assert re.match(rf"{name}: [\d.]+ windows/s, \d+ output tokens/s", line)
    assert re.match(r"gpu_caption_tiny ratio [\d.]+ target none", result)


def test_text_encoding_on_a_gpu_can_be_tried_with_a_tiny_model() -> None:
    (result,) = tried("gpu_t5")
    assert re.match(r"gpu_t5_float32 ratio [\d.]+ target none  \(cpu, \d+ against \d+ tokens/s", result)
