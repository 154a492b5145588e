"""The same command on 10,000 finished videos, against listing their folder alone; and on MinIO, in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import in_turn, report, timed
from finished_output import finish, plan_of
from program import command

from beam_curate.sources.listing import list_videos
from tests.support.object_servers import minio

VIDEOS = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
FLAGS = ("--splitting-algorithm", "fixed-stride", "--keep-duplicates")
LISTING = """
import sys
from beam_curate.sources.listing import list_videos
print(len(list_videos(sys.argv[1], None, frozenset({".mp4"}), sys.argv[2]).videos))
"""


def checked(arguments: list[str], expected: str) -> str:
    """Runs a program, which has to print something."""
    printed = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert expected in printed, printed
    return printed


def local(folder: Path) -> None:
    """The folder of this computer."""
    source, output = folder / "in", folder / "out"
    for number in range(VIDEOS):
        path = source / f"day{number % 100:02}" / f"{number:05}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"video {number}")
    plan = plan_of("--input-video-path", str(source), "--output-clip-path", str(output), *FLAGS)
    finish(plan, list_videos(str(source), None, frozenset({".mp4"})).videos)
    idle, listing = command(source, output, *FLAGS), [sys.executable, "-c", LISTING, str(source), str(output)]
    first = timed(lambda: checked(idle, "Nothing to do"))
    again, alone = in_turn(lambda: checked(idle, "Nothing to do"), lambda: checked(listing, str(VIDEOS)))
    note = f"{again:.2f} s, listing alone {alone:.2f} s; the first of them, from the ledger, {first:.1f} s"
    report("idle_rerun", again / alone, "<=1.5", note)


def remote(folder: Path) -> None:
    """A bucket on this computer."""
    with minio(folder / "minio") as server:
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(server.profile_file(folder / "credentials", "team"))
        place = f"s3://{server.make_bucket()}"
        names = ("--input-s3-profile-name", "team", "--output-s3-profile-name", "team", *FLAGS)
        plan = plan_of("--input-video-path", f"{place}/in", "--output-clip-path", f"{place}/out", *names)
        client, bucket = server.client(), place.removeprefix("s3://")
        for number in range(VIDEOS):
            client.put_object(Bucket=bucket, Key=f"in/day{number % 100:02}/{number:05}.mp4", Body=f"video {number}")
        finish(plan, list_videos(f"{place}/in", None, frozenset({".mp4"}), profile="team").videos)
        idle = [*command(f"{place}/in", f"{place}/out", *names)]
        first = timed(lambda: checked(idle, "Nothing to do"))
        (again,) = in_turn(lambda: checked(idle, "Nothing to do"))
        report("idle_rerun_minio", again, "<=15 s", f"the first of them, from the ledger, {first:.1f} s")


with tempfile.TemporaryDirectory() as folder:
    local(Path(folder))
    remote(Path(folder))
