"""Ctrl-C and SIGTERM: the program says how far it came, leaves nothing behind, and the same command goes on."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.support.program import FIXED_STRIDE, children_of, command, dataset_stems, run, start, summary, wait_for

MESSAGE = "Finished work is kept. Run the same command again to resume."
SHOTS = ("--splitting-algorithm", "transnetv2", "--transnetv2-crop-s", "0")
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def end_of(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Sends the signal, and another one into the farewell; returns what was printed."""
    process.send_signal(number)
    time.sleep(0.02)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    assert not children_of(process.pid)
    assert "Traceback" not in printed, printed
    if process.returncode == 0:
        return printed  # all was done already
    assert process.returncode == 128 + number, printed
    assert MESSAGE in printed, printed
    return printed


def test_ctrl_c_before_the_first_video(tmp_path: Path) -> None:
    listed = tmp_path / "videos.json"
    os.mkfifo(listed)  # reading the list waits
    process = start(command(tmp_path, tmp_path / "out", "--input-video-list-json-path", str(listed)))
    with listed.open("w"):  # both ends are open: the program is at it
        assert "Interrupted. No video had been started." in end_of(process, signal.SIGINT)
    assert not (tmp_path / "out").exists()


def test_sigterm_while_a_decoder_hangs(videos: Path, tmp_path: Path) -> None:
    process = start(command(videos, tmp_path / "out", *SHOTS))
    wait_for(lambda: children_of(process.pid), process)
    for child in children_of(process.pid):
        os.kill(child, signal.SIGSTOP)
    assert "Stopped by SIGTERM. 0 of 4 videos finished" in end_of(process, signal.SIGTERM)


def test_sigterm_to_the_whole_group_is_laid_on_no_video(videos: Path, tmp_path: Path) -> None:
    """As by `timeout`, systemd and scancel: the processes that read sources get it, too."""
    output = tmp_path / "out"
    process = start(command(videos, output, *SHOTS), own_group=True)
    wait_for(lambda: children_of(process.pid), process)
    os.killpg(process.pid, signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, printed
    assert "Stopped by SIGTERM." in printed and "permanent" not in printed and "Traceback" not in printed
    run(videos, output, *SHOTS)
    assert summary(output)["beam_curate"]["num_failed_videos"] == 0
    assert summary(output)["num_processed_videos"] == 4


SOAK = pytest.mark.soak


@pytest.mark.parametrize(
    "stage", [pytest.param("shots", marks=SOAK), "clips", pytest.param("text", marks=SOAK), "done"]
)
def test_ctrl_c_in_each_stage(stage: str, videos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = start(command(videos, output, *FIXED_STRIDE))
    wait_for(lambda: list((output / ".work" / stage).rglob("*")), process)
    printed = end_of(process, signal.SIGINT)
    interrupted = re.search(r"Interrupted\. \d of 4 videos finished; shots \d/. videos", printed)
    assert interrupted or (stage == "done" and "4 found, 4 processed" in printed), printed
    run(videos, output, *FIXED_STRIDE)
    assert dataset_stems(output)


def test_ctrl_c_twice_on_a_terminal(videos: Path, tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests are a background job
        os.environ["TERM"] = "xterm"
        arguments = command(videos, tmp_path / "out", *SHOTS)
        os.execv(arguments[0], arguments)
    shown = ""
    while "frames/s" not in shown:
        shown += os.read(terminal, 4096).decode(errors="replace")
    os.write(terminal, b"\x03\x03")
    with_end = ""
    try:
        while block := os.read(terminal, 4096):
            with_end += block.decode(errors="replace")
    except OSError:  # so does Linux say that nobody holds the terminal any more
        pass
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert not children_of(pid)
    assert HIDE_CURSOR in shown
    farewell = re.search(r"Interrupted\. 0 of 4 videos finished; shots \d/4 videos", with_end)
    assert farewell, with_end
    assert SHOW_CURSOR in with_end[: farewell.start()]
    assert with_end.rstrip().endswith(MESSAGE)


@pytest.mark.parametrize(
    "main",
    [
        # It hears nothing, as when a finaliser was interrupted or a library waits for its threads.
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    time.sleep(60)",
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    raise OSError",
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    pass",
        "time.sleep(60)",
    ],
    ids=["waits on", "another error", "swallowed", "unwinds"],
)
def test_the_process_ends_whatever_its_main_thread_does(main: str) -> None:
    process = start([sys.executable, "-c", answered(main)])
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert printed.count("farewell SIGINT") == 1
    assert "Traceback" not in printed


def test_a_job_in_the_background_does_not_hear_ctrl_c() -> None:
    ignore = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"  # as a shell does for `command &`
    process = start([sys.executable, "-c", ignore + answered("time.sleep(1)\nprint('went on')")])
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=30)
    assert (process.returncode, printed) == (0, "went on\n")


def answered(main: str) -> str:
    """A program whose main thread does this."""
    body = textwrap.indent(f"print('ready', flush=True)\n{main}", "    ")
    begin = "with signals.handled(lambda number: print('farewell', number.name, flush=True)):"
    return f"import time\nfrom beam_curate.processes import signals\n{begin}\n{body}"
