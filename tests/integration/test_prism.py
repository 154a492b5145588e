"""The main job on Prism: the output of DirectRunner, nothing of Prism on the terminal, and no Prism left behind."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.support.needed import need
from tests.support.program import FIXED_STRIDE, command, run, snapshot, start, wait_for, without_elapsed
from tools.engines import PRISM

ON_PRISM = ("--runner=PrismRunner", f"--prism_location={PRISM}")
STARTED_BY = "BEAM_CURATE_TEST"
WITHIN_S = 120


def test_the_output_equals_direct_runners(videos: Path, direct: tuple[Path, dict[str, str], str]) -> None:
    need(PRISM)
    output, expected, expected_lines = direct
    printed = run(videos, output, *FIXED_STRIDE, *ON_PRISM, "--threads", "1")
    assert snapshot(output) == expected
    shutil.rmtree(output)
    assert without_elapsed(printed) == without_elapsed(expected_lines)


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
    process = start(command(videos, output, *FIXED_STRIDE, *ON_PRISM), {STARTED_BY: str(tmp_path)})
    try:
        wait_for(lambda: list((output / ".work" / "shots").rglob("*.json")), process, WITHIN_S)
        assert prisms(tmp_path)
    finally:
        process.send_signal(number)
        printed, _ = process.communicate(timeout=60)
    wait_for(lambda: not prisms(tmp_path), within_s=WITHIN_S)
    if number == signal.SIGINT:
        assert process.returncode == 128 + number
        assert "Run the same command again to resume" in printed
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
