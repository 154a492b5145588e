"""Listing 1,000,000 names of a bucket against 100,000: time, processor and memory for each name.

The server is versitygw, a gateway to a folder: its files are made in no time, and it pages like any other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import report

from beam_curate.processes.server import Server, free_ports, listens
from tools import engines

MANY = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
FEW = MANY // 10
IN_A_FOLDER = 1000
LISTING = """
import json, resource, sys, time
from beam_curate.sources.listing import list_videos
before = resource.getrusage(resource.RUSAGE_SELF)
start = time.perf_counter()
listing = list_videos(sys.argv[1], None, frozenset({".mp4"}), profile="team")
seconds = time.perf_counter() - start
after = resource.getrusage(resource.RUSAGE_SELF)
cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps([len(listing.videos), seconds, cpu_s, after.ru_maxrss * 1024]))
"""


def listed(names: int) -> tuple[float, float, float]:
    """Lists a prefix in a fresh process; returns its seconds, those of the processor, and the most memory in bytes."""
    command = [sys.executable, "-c", LISTING, f"s3://footage/{names}"]
    number, seconds, cpu_s, size_bytes = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert number == names, number
    return seconds, cpu_s, size_bytes


engines.install(engines.VERSITYGW)
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    for names in (FEW, MANY):
        for number in range(names):
            path = folder / "root" / "footage" / str(names) / f"day{number // IN_A_FOLDER:04}" / f"clip-{number:07}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    (port,) = free_ports(1)
    keys = {"ROOT_ACCESS_KEY": "someone", "ROOT_SECRET_KEY": "something"}
    (folder / "credentials").write_text(
        "[team]\naws_access_key_id = someone\naws_secret_access_key = something\nregion = us-east-1\n"
        f"endpoint_url = http://127.0.0.1:{port}\n"
    )
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(folder / "credentials")
    command = [str(engines.VERSITYGW), "--port", f"127.0.0.1:{port}", "posix", str(folder / "root")]
    with Server("versitygw", command, environment=os.environ | keys) as server:
        server.wait_until_ready(lambda: listens(f"127.0.0.1:{port}"), 60)
        few, many = listed(FEW), listed(MANY)
    note = f"{many[0]:.0f} s for {MANY:,}, {few[0]:.1f} s for {FEW:,}"
    report("listing", (many[0] / MANY) / (few[0] / FEW), "<=1.2", note)
    report("listing_cpu_us", many[1] / MANY * 1e6, "<=150", "microseconds a name")
    report("listing_bytes", (many[2] - few[2]) / (MANY - FEW), "<=500", "resident bytes a name")
