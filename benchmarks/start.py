"""How long the program takes to say or do something, and to end.

- `start`: `--help`, less than 0.25 s, of which a bare Python that imports argparse is a part.
- `start_first_frame`: from the command to the first decoded frame of a source, in the reference job.
- `start_end`: from the last record of a run of 1,000 videos to the end of its process.

A decoder is not seen from outside, but what it reads is: the first frame counts as decoded once a child process has
read the first two seconds of packets, which is some frames late and never early. Opening a file reads less.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
from common import in_turn, report
from footage import make_footage
from memory import below
from program import DATASET, command, curate, finished

VIDEOS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
PACKETS = 48
POLL_S = 0.01
ROUNDS = 3
FIRST_FRAME_S = 2.5
END_S = 0.3


def run(*arguments: str) -> None:
    """Runs Python with arguments and throws away what it prints."""
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)


def end_of_packets(source: Path) -> int:
    """Returns where the first packets of a file end, in bytes from its beginning."""
    with av.open(str(source)) as container:
        first = itertools.islice(container.demux(video=0), PACKETS)
        return max((packet.pos or 0) + packet.size for packet in first)


def position(pid: int, path: Path) -> int:
    """Returns how far a process has read a file, in bytes; 0 where it has not opened it."""
    found = 0
    with contextlib.suppress(OSError):  # the process or the file is closed by now
        for opened in Path(f"/proc/{pid}/fd").iterdir():
            if os.readlink(opened) == str(path):
                found = max(found, int(Path(f"/proc/{pid}/fdinfo/{opened.name}").read_text().split()[1]))
    return found


def first_frame_s(source: Path, output: Path) -> float:
    """Starts the job, and ends it when a child process has decoded a frame; returns the seconds until then."""
    target = end_of_packets(source)
    shutil.rmtree(output, ignore_errors=True)
    started = time.perf_counter()
    process = subprocess.Popen(command(source, output, *DATASET), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not any(position(pid, source) >= target for pid in below(process.pid)):
            if process.poll() is not None:
                raise RuntimeError("the program ended before it decoded anything")
            time.sleep(POLL_S)
        return time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


def end_s(folder: Path, output: Path) -> float:
    """Curates many tiny videos; returns the seconds from the last record to the end of the program."""
    original = make_footage(folder / "00000.mp4", size=(160, 96), seconds=2)
    for number in range(1, VIDEOS):
        shutil.copy(original, folder / f"{number:05}.mp4")
    curate(folder, output, "--splitting-algorithm", "fixed-stride", "--keep-duplicates")
    ended = time.time()
    markers = finished(output)
    assert len(markers) == VIDEOS, f"{len(markers)} videos are finished"
    return ended - markers[-1]


def main() -> None:
    """Prints the lines of the results."""
    ours, bare = in_turn(lambda: run("-m", "beam_curate.run", "--help"), lambda: run("-c", "import argparse"), rounds=7)
    report("start", ours, "<0.25 s", f"{ours:.2f} s, of which {bare:.2f} s are a bare Python")
    with tempfile.TemporaryDirectory() as name:
        source = make_footage(Path(name) / "footage.mp4", size=(640, 360), seconds=20)
        first_s = min(first_frame_s(source, Path(name) / "out") for _ in range(ROUNDS))
        report("start_first_frame", first_s / FIRST_FRAME_S, "<=1", f"{first_s:.2f} s, at most {FIRST_FRAME_S} s")
        (Path(name) / "many").mkdir()
        last_s = end_s(Path(name) / "many", Path(name) / "out")
        report("start_end", last_s / END_S, "<=1", f"{last_s:.2f} s after {VIDEOS} videos, at most {END_S} s")


if __name__ == "__main__":
    main()
