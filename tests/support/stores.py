"""Places of each kind that a user can name: folders of this computer, buckets of S3 and of Google Cloud Storage."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from beam_curate.buckets.base import scheme_of
from beam_curate.buckets.open import open_bucket

KINDS = ("local", "s3", "gs")
PROFILE = "team"


def new_place(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """Returns the path or URL of a place of a kind that does not exist yet; its credentials are in the environment.

    Args:
        kind: One of `KINDS`.
        folder: An empty folder, for a local place and for a file with credentials.
        request: Of the test; the environment is set back at its end.
    """
    if kind == "local":
        return str(folder / "out")
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    if kind == "s3":
        server = request.getfixturevalue("minio_server")
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "no-config"))
        credentials = server.profile_file(folder / "aws-credentials", PROFILE)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        return f"s3://{server.make_bucket()}/out"
    server = request.getfixturevalue("gcs_server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"gs://{server.make_bucket()}/out"


def upload(folder: Path, place: str) -> None:
    """Copies the files of a folder to a place, with the same names below it."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        if scheme_of(place):
            bucket, prefix = open_bucket(place, PROFILE)
            bucket.put(f"{prefix}/{name}", path)
        else:
            target = Path(place, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
