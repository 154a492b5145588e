"""An object store with videos, the program that curates them, and what may go wrong between the two."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.faulty_proxy import FaultyProxy
from tests.support.media import make_video
from tests.support.object_servers import Minio, minio
from tests.support.program import FIXED_STRIDE, command, seen, start

BUCKET, INPUT, OUTPUT = "footage", "in", "out"
PROFILE = "team"
CLIPS = f"{OUTPUT}/.work/clips/"  # the results of the stage that reads the sources a second time
_RUNS = f"{OUTPUT}/.work/runs/"
_TEMPORARY = (f"{OUTPUT}/.work/tmp/", f"{OUTPUT}/.work/leases/")
_PADDING_BYTES = 3 << 20
_RUN_S = 240
# The program as `python -m beam_curate.run`, but that it waits less long for a store.
_IMPATIENT = (
    "import sys; from beam_curate.buckets import patience; patience.WAIT_S = {wait_s}; "
    "from beam_curate.cli.split import main; sys.exit(main(sys.argv[1:]))"
)


def make_footage(folder: Path) -> Path:
    """Makes a folder with three videos of 10 s and 3 MiB, of which each makes two clips and two items."""
    folder.mkdir()
    for seed in range(3):
        path = make_video(folder / f"{seed}.mp4", frames=240, seed=seed)
        with path.open("ab") as file:  # so that it takes several reads
            file.write(struct.pack(">I4s", _PADDING_BYTES, b"free") + bytes(_PADDING_BYTES - 8))
    return folder


@dataclasses.dataclass(frozen=True)
class Site:
    """A server with the videos in a bucket, always of the same name, and one user's computer.

    Attributes:
        server: The server.
        proxy: A proxy before it.
        folder: What the user's computer holds.
        client: boto3's client of the server.
    """

    server: Minio
    proxy: FaultyProxy
    folder: Path
    client: Any

    def behind_the_proxy(self, **settings: str) -> None:
        """Has the program reach the server through the proxy, with more settings of the profile."""
        self.profile(endpoint_url=self.proxy.endpoint, **settings)

    def profile(self, **settings: str) -> None:
        """Writes the credentials file in one step."""
        new = self.server.profile_file(self.folder / "new-credentials", PROFILE, **settings)
        new.rename(self.folder / "credentials")

    def start(self, *, wait_s: float | None = None, own_group: bool = False, **more: str) -> subprocess.Popen[str]:
        """Starts the program.

        Args:
            wait_s: How long it waits for a store; by default, as long as it does for users.
            own_group: Whether it has a process group of its own.
            more: Environment variables.
        """
        s3 = f"s3://{BUCKET}"
        profiles = ("--input-s3-profile-name", PROFILE, "--output-s3-profile-name", PROFILE)
        cache = ("--cache-path", str(self.folder / "cache"))
        arguments = command(f"{s3}/{INPUT}/", f"{s3}/{OUTPUT}", *FIXED_STRIDE, *profiles, *cache)
        if wait_s is not None:
            arguments = [sys.executable, "-c", _IMPATIENT.format(wait_s=wait_s), *arguments[3:]]
        files = {"AWS_SHARED_CREDENTIALS_FILE": self.folder / "credentials", "AWS_CONFIG_FILE": self.folder / "none"}
        return start(arguments, {name: str(path) for name, path in files.items()} | more, own_group)

    def run(self) -> str:
        """Runs the program to its end, which has to be good; returns what it printed."""
        return ended(self.start())

    def keys(self, prefix: str) -> list[str]:
        """The names of the objects below a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def snapshot(self) -> dict[str, str]:
        """What a user sees of the output; see `tests.support.program.snapshot`."""
        found = {}
        for key in self.keys(f"{OUTPUT}/"):
            name = key.removeprefix(f"{OUTPUT}/")
            if not name.startswith(".work/"):
                found[name] = seen(name, self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        return found

    def temporary(self) -> list[str]:
        """What a run should not have left."""
        of_runs = [key for key in self.keys(_RUNS) if "/" in key.removeprefix(_RUNS)]
        return [*of_runs, *(key for prefix in _TEMPORARY for key in self.keys(prefix))]


def ended(process: subprocess.Popen[str], expect: int = 0, within_s: float = _RUN_S) -> str:
    """Waits until the program ends, with the exit status that is expected; returns what it printed."""
    try:
        printed, _ = process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"it did not end within {within_s} s: {process.communicate()[0]}") from None
    assert process.returncode == expect, printed
    return printed


@contextlib.contextmanager
def new_site(folder: Path, footage: Path) -> Iterator[Site]:
    """Runs a new server, with the videos of a folder in its bucket, and a proxy before it that does nothing yet."""
    folder.mkdir(exist_ok=True)
    with minio(folder / "minio") as server, FaultyProxy(server.endpoint).running() as proxy:
        site = Site(server, proxy, folder, server.client())
        server.make_bucket(BUCKET)
        for path in sorted(footage.iterdir()):
            site.client.put_object(Bucket=BUCKET, Key=f"{INPUT}/{path.name}", Body=path.read_bytes())
        site.profile()
        yield site


def without_own_settings(monkeypatch: Any) -> None:
    """Takes the settings of whoever runs the tests from the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
