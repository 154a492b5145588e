"""What an object store is asked for and holds for each clip, as MinIO itself counts it.

A clip costs six requests of the dear kind: its file, its record, its caption and its embedding are written, and the
video and the embedding of the dataset are copies. Eleven more of a video, and some forty of the run, are shared by its
clips: the fewer clips a video has, the more each of them costs.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import urllib.request
from pathlib import Path

from common import report
from footage import make_series
from program import DATASET, run

from beam_curate.store import layout
from beam_curate.store.open import open_store
from tests.support.object_servers import Minio, minio
from tests.support.stores import PROFILE, upload

VIDEOS = int(sys.argv[1]) if len(sys.argv) > 1 else 6
CLIPS = int(sys.argv[2]) if len(sys.argv) > 2 else 48  # of each video: four minutes
CLIP_S = 5
FLAGS = ("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", str(CLIP_S), *DATASET)
PROFILES = ("--input-s3-profile-name", PROFILE, "--output-s3-profile-name", PROFILE)
# What stores bill as the dear kind: writing, copying and listing.
_DEAR = re.compile(r"(put|copy|list|post|create|complete|newmultipart).*", re.IGNORECASE)
_COUNTER = re.compile(r'^minio_s3_requests_total\{api="(\w+)".*\} (\S+)$', re.MULTILINE)


def requests(server: Minio) -> dict[str, float]:
    """Returns how often each request was answered."""
    with urllib.request.urlopen(f"{server.endpoint}/minio/v2/metrics/cluster") as answer:
        return {api: float(number) for api, number in _COUNTER.findall(answer.read().decode())}


with tempfile.TemporaryDirectory() as name, minio(Path(name) / "minio") as server:
    folder = Path(name)
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(server.profile_file(folder / "credentials", PROFILE))
    source = folder / "in"
    source.mkdir()
    make_series(source, VIDEOS, seconds=CLIPS * CLIP_S, size=(640, 360))
    place = f"s3://{server.make_bucket()}"
    upload(source, f"{place}/in")
    before = requests(server)
    run(f"{place}/in", f"{place}/out", *FLAGS, *PROFILES, "--cache-path", str(folder / "cache"))
    after = requests(server)
    asked = {api: number - before.get(api, 0) for api, number in after.items() if number != before.get(api, 0)}
    output = open_store(f"{place}/out", PROFILE)
    clips = len(output.list_files(layout.CLIPS))
    assert clips == VIDEOS * CLIPS, clips
    dear = sum(number for api, number in asked.items() if _DEAR.match(api))
    told = ", ".join(f"{api} {number / clips:.2f}" for api, number in sorted(asked.items(), key=lambda pair: -pair[1]))
    report("store_cost_requests", dear / clips, "<=6.5", f"each clip: {told}")
    sizes = {str(facts.key): facts.size_bytes for facts in output.facts("") if facts.key.endswith(".mp4")}
    of_clips = sum(size for key, size in sizes.items() if f"/{layout.CLIPS}/" in f"/{key}")
    report("store_cost_bytes", sum(sizes.values()) / of_clips, "<=2.1", f"{of_clips / clips / 1e3:.0f} KB a clip")
