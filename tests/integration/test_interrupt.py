"""Ctrl-C: the program stops at once, says so, leaves no child behind, and the same command goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from program import FIXED_STRIDE, command, dataset_stems, run


@pytest.mark.parametrize("after_s", [0.5, 4.0, 6.0])
def test_ctrl_c(videos: Path, tmp_path: Path, after_s: float) -> None:
    flags = ("--splitting-algorithm", "transnetv2") if after_s > 5 else FIXED_STRIDE
    process = subprocess.Popen(
        command(videos, tmp_path / "out", *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # as in a terminal
    )
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    printed, _ = process.communicate(timeout=60)
    assert time.monotonic() - sent < 10
    if process.returncode != 0:  # it may have been done before the signal came
        assert process.returncode == 130, printed
        assert "the same command goes on from there" in printed
        assert "Traceback" not in printed
    time.sleep(2.5)  # children look after their parent once a second
    assert not children_of(process.pid)
    run(videos, tmp_path / "out", *flags)
    assert dataset_stems(tmp_path / "out")


def children_of(pid: int) -> list[str]:
    """Processes that were started to read sources for this parent."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"beam_curate.video.child" in words and str(pid).encode() in words and int(folder.name) != os.getpid():
            found.append(folder.name)
    return found
