"""The main job on Prism: the output of DirectRunner, nothing of Prism on the terminal, and no Prism left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from needed import need
from program import FIXED_STRIDE, command, run, snapshot

from tools.engines import PRISM

ON_PRISM = ("--runner=PrismRunner", f"--prism_location={PRISM}")
STARTED_BY = "BEAM_CURATE_TEST"
ELAPSED = re.compile(r"^\d+:\d\d:\d\d .*\n", re.MULTILINE)  # lines now and then, on a slow machine


def test_the_output_equals_direct_runners(videos: Path, direct: tuple[Path, dict[str, str], str]) -> None:
    need(PRISM)
    output, expected, expected_lines = direct
    printed = run(videos, output, *FIXED_STRIDE, *ON_PRISM, "--workers", "1")
    assert snapshot(output) == expected
    shutil.rmtree(output)
    assert ELAPSED.sub("", printed) == ELAPSED.sub("", expected_lines)


def test_without_prism_it_says_how_to_get_it(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    printed = run(videos, tmp_path / "out", "--runner=PrismRunner", expect=2)
    assert "go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0" in printed
    assert "--prism_location" in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_prism_is_left_behind(number: signal.Signals, videos: Path, tmp_path: Path) -> None:
    need(PRISM)
    output = tmp_path / "out"
    process = subprocess.Popen(
        command(videos, output, *FIXED_STRIDE, *ON_PRISM),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {STARTED_BY: str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # as in a terminal
    )
    try:
        wait_for(lambda: list((output / ".work" / "shots").rglob("*.json")), process)
        assert prisms(tmp_path)
    finally:
        process.send_signal(number)
        printed, _ = process.communicate(timeout=60)
    wait_for(lambda: not prisms(tmp_path))
    if number == signal.SIGINT:
        assert process.returncode == 128 + number
        assert "the same command goes on from there" in printed
        assert "Traceback" not in printed


def prisms(started_by: Path) -> list[int]:
    """The Prisms that a test started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            started = f"{STARTED_BY}={started_by}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if started and (folder / "cmdline").read_bytes().startswith(bytes(PRISM)):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def wait_for(there: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
