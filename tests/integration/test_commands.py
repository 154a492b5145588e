"""Every command ends with a message and an exit status: on signals, on files of others, where nobody reads."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.media import make_video
from tests.support.program import DESCRIBED, start

CLI = [sys.executable, "-c", "from beam_curate.cli.main import entry; entry()"]
MODELS = [sys.executable, "-m", "beam_curate.cli.main", "models"]
RUN = [sys.executable, "-m", "beam_curate.run"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_clean_with_a_message(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / ".work").mkdir()
    pipe = tmp_path / ".work" / "fingerprints.json"
    os.mkfifo(pipe)  # reading it waits
    process = start([*CLI, "clean", str(tmp_path)])
    with pipe.open("w"):  # both ends are open: the program is at it
        process.send_signal(number)
        printed = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number, printed
    assert "Traceback" not in printed
    assert "Run the same command again to resume" in printed


def test_a_signal_ends_verify(tmp_path: Path) -> None:
    for folder in ("videos", "metas", "t5_xxl"):
        (tmp_path / folder).mkdir()
    make_video(tmp_path / "videos" / "0.mp4", frames=400)
    for index in range(1, 400):
        os.link(tmp_path / "videos" / "0.mp4", tmp_path / "videos" / f"{index}.mp4")
    script = (
        "import threading, beam_curate.dataset.verify.verify as v; from beam_curate.cli.main import entry\n"
        "check = v.verify\n"
        "def told(*a, **k): print('at it', flush=True); return check(*a, **k)\n"
        f"v.verify = told; import sys; sys.argv[1:] = ['verify', {str(tmp_path)!r}]; entry()"
    )
    process = start([sys.executable, "-c", script])
    assert process.stdout is not None and process.stdout.readline() == "at it\n"
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 130, printed
    assert "Interrupted." in printed and "Traceback" not in printed


@pytest.fixture
def of_another() -> Iterator[Path]:
    """An output folder of another user, that may be read."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    output = folder / "out"
    former = output / ".work" / "clips" / ("f" * 16)
    former.mkdir(parents=True)
    (former / "r.json").write_text("{}")
    (output / ".work" / "fingerprints.json").write_text(json.dumps(["0" * 16]))
    for name in ("videos", "metas", "t5_xxl"):
        (output / name).mkdir()
    (output / "closed").mkdir(mode=0)
    for parent in (folder, output):
        parent.chmod(0o755)
    yield output
    shutil.rmtree(folder)


def as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command as a user who owns nothing; what it imports is imported before the change of user."""
    script = (
        "import os, sys; sys.path[:0] = sys.argv[1].split(':'); del sys.argv[1]\n"
        "from beam_curate.cli.main import entry, main\n"
        "main(['clean', '/none']); main(['verify', '/none'])\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "entry()"
    )
    return subprocess.run(
        [sys.executable, "-c", script, ":".join(path for path in sys.path if path), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("command", "place", "status", "words"),
    [
        ("clean", "", 1, "Permission denied; change its permissions or its owner"),
        ("clean", "closed", 1, "Permission denied; change its permissions or its owner"),
        ("clean", "none", 2, "is not an output folder of beam-curate"),
        ("clean", "videos", 2, "is not an output folder of beam-curate"),
        ("clean", ".work/fingerprints.json", 2, "is not an output folder of beam-curate"),
        ("verify", "closed", 1, "Permission denied"),
        ("verify", "none", 2, "no such folder"),
    ],
)
def test_folders_of_others_and_missing_ones(
    of_another: Path, command: str, place: str, status: int, words: str
) -> None:
    done = as_nobody(command, str(of_another / place) if place else str(of_another))
    assert done.returncode == status, done.stderr
    assert words in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        [*CLI, "models", "list"],
        [*MODELS, "list"],
        [*CLI, "verify", "/tmp"],
        [*RUN, *DESCRIBED, "--dry-run"],
        [*CLI, "split", "--help"],
    ],
)
def test_a_reader_that_leaves_ends_a_command_without_a_word(tmp_path: Path, command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    folders = ["--input-video-path", str(tmp_path), "--output-clip-path", str(tmp_path / "out")]
    if "--dry-run" in command:
        make_video(tmp_path / "a.mp4", frames=24)
        folders[1] += "/a.mp4"
    done = subprocess.run(
        [*command, *(folders if "--dry-run" in command else ())], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 141 or "--help" in command  # argparse hides it


def test_escapes_in_a_message_are_shown(tmp_path: Path) -> None:
    done = subprocess.run([*CLI, "clean", f"{tmp_path}/\x1b[31mred"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "\\x1b[31mred" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([""], "DATASET is empty"),
        (["  "], "DATASET is empty"),
        (["--decode-memory-mb", "1", "."], "--decode-memory-mb"),
        (["--decode-timeout-s", "1e308", "."], "--decode-timeout-s"),
        (["--min-frames", "0", "."], "--min-frames"),
    ],
)
def test_verify_refuses_what_it_cannot_mean(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = subprocess.run([*CLI, "verify", *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr and "Traceback" not in done.stderr
