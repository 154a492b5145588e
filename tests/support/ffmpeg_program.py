"""The ffmpeg program, which makes and judges media for tests without any of our own code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg


def ffmpeg(*arguments: str | Path, feed: bytes | None = None) -> bytes:
    """Runs the ffmpeg program and returns what it writes to ``pipe:``.

    Raises:
        AssertionError: It failed; with what it printed.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, input=feed, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout
