"""A job of several minutes of video with input and output on MinIO on this machine, against folders of it."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from common import in_turn, report
from footage import make_series
from program import DATASET, run

from tests.support.object_servers import minio
from tests.support.stores import PROFILE, upload

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 240
VIDEOS = 8
FLAGS = ("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", "5", *DATASET)
PROFILES = ("--input-s3-profile-name", PROFILE, "--output-s3-profile-name", PROFILE)

with tempfile.TemporaryDirectory() as name, minio(Path(name) / "minio") as server:
    folder = Path(name)
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(server.profile_file(folder / "credentials", PROFILE))
    source = folder / "in"
    source.mkdir()
    make_series(source, VIDEOS, seconds=SECONDS / VIDEOS)
    place = f"s3://{server.make_bucket()}"
    upload(source, f"{place}/in")
    runs = iter(range(1000))

    def remote() -> None:
        """From a bucket to a bucket, with an empty cache."""
        number = next(runs)
        cache = ("--cache-path", str(folder / f"cache-{number}"))
        run(f"{place}/in", f"{place}/out-{number}", *FLAGS, *PROFILES, *cache)

    def local() -> None:
        """From a folder to a folder."""
        run(source, folder / f"out-{next(runs)}", *FLAGS)

    far, near = in_turn(remote, local, rounds=2)
    report("s3_local", far / near, "<=1.2", f"{SECONDS} s of video: {far:.1f} s on MinIO, {near:.1f} s in folders")
