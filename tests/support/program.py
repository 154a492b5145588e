"""Running the program as its user does, and comparing what it wrote."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tools import engines

DESCRIBED = (
    "--runner=DirectRunner",
    "--no-generate-embeddings",
    "--generate-cosmos-predict-dataset",
    "predict2",
    "--captioning-algorithm",
    "describe",
    "--text-encoder",
    "t5_random",
)
FIXED_STRIDE = ("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", "5")
_ELAPSED = re.compile(r"^\d+:\d\d:\d\d .*\n", re.MULTILINE)
# Of one run: how long it took, what it did, and how it was asked.
_OF_THE_RUN = ("pipeline_run_time", "output_tokens_per_s", "num_input_videos_selected")


def command(source: Path | str, output: Path | str, *flags: str) -> list[str]:
    """The reference command with the models that need no download."""
    folders = ("--input-video-path", str(source), "--output-clip-path", str(output))
    return [sys.executable, "-m", "beam_curate.run", *DESCRIBED, *folders, *flags]


def run(source: Path | str, output: Path | str, *flags: str, expect: int = 0) -> str:
    """Runs it to the end and returns what it printed."""
    done = subprocess.run(
        command(source, output, *flags), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    assert done.returncode == expect, done.stdout
    return done.stdout


def cli(*arguments: str | Path, expect: int = 0) -> str:
    """What a command of `beam-curate` prints."""
    script = "from beam_curate.cli.main import entry; entry()"
    words = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == expect, done.stdout
    return done.stdout


def told(place: str | Path, *flags: str) -> dict[str, Any]:
    """What `beam-curate status` tells scripts."""
    return json.loads(cli("status", place, "--json", *flags))


def table(printed: str) -> str:
    """The table at the end of a run, with what follows it."""
    lines = without_elapsed(printed).splitlines()
    (first,) = [number for number, line in enumerate(lines) if line.startswith("videos     ")]
    return "\n".join(line.rstrip() for line in lines[first:])


def without_elapsed(printed: str) -> str:
    """Leaves out the lines that tell now and then, on a slow machine, how far a run is."""
    return _ELAPSED.sub("", printed)


def start(
    arguments: list[str], environment: Mapping[str, str] | None = None, own_group: bool = False
) -> subprocess.Popen[str]:
    """Starts a program that hears Ctrl-C, as it does from a terminal; on demand, in a process group of its own."""
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | (environment or {}),
        process_group=0 if own_group else None,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def run_and_kill(source: Path, output: Path, after_s: float, *flags: str) -> bool:
    """Starts it, kills it with SIGKILL, and says whether it was still running by then."""
    process = subprocess.Popen(command(source, output, *flags), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after_s)
    running = process.poll() is None
    process.kill()
    process.wait()
    return running


def wait_for(
    there: Callable[[], object], process: subprocess.Popen[str] | None = None, within_s: float = math.inf
) -> None:
    """Waits until something is there; it fails when a program that should make it ends before, or time is up."""
    deadline = time.monotonic() + within_s
    while not there():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def started_by(pid: int) -> list[int]:
    """Processes that a process started itself and that still run."""
    found = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in listing.read_text().split()]
    return found


def supervisors_of(pid: int) -> list[int]:
    """Supervisors of the servers that a process has started, without those of the object stores of a test session."""
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in started_by(pid)}
    stores = [str(path).encode() for path in (engines.MINIO, engines.FAKE_GCS)]
    return [
        child
        for child, command in commands.items()
        if b"supervisor.py" in command and not any(path in command for path in stores)
    ]


def children_of(pid: int) -> list[int]:
    """Processes that were started to read sources for this parent."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"beam_curate.video.decoder_process" in words and str(pid).encode() in words:
            found.append(int(folder.name))
    return found


def snapshot(output: Path) -> dict[str, str]:
    """What a user sees of an output folder: each file's path and the hash of its content.

    Left out are the program's own results in `.work` and, in the summary, what speaks of the run and not of the
    videos.
    """
    paths = {path.relative_to(output).as_posix(): path for path in sorted(output.rglob("*")) if path.is_file()}
    return {name: seen(name, path.read_bytes()) for name, path in paths.items() if not name.startswith(".work/")}


def seen(name: str, data: bytes) -> str:
    """The hash of a file of an output; of the summary, without what speaks of the run and not of the videos."""
    if name == "summary.json":
        summary = json.loads(data)
        for key in _OF_THE_RUN:
            summary.pop(key, None)
        summary["beam_curate"].pop("counts_of_this_run")
        summary["beam_curate"].pop("options")
        data = json.dumps(summary, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def summary(output: Path) -> dict:
    """The summary of an output folder."""
    return json.loads((output / "summary.json").read_text())


def dataset_stems(output: Path, root: str = "") -> set[str]:
    """The stems of the dataset's videos."""
    folder = output / "cosmos_predict2_video2world_dataset" / root / "videos"
    return {path.stem for path in folder.glob("*.mp4")}
