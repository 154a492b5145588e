"""Places of each kind that a user can name: folders of this computer, buckets of S3, buckets of Google Cloud Storage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
        monkeypatch.setenv(
            "AWS_SHARED_CREDENTIALS_FILE", str(server.profile_file(folder / ".aws-credentials", PROFILE))
        )
        return f"s3://{server.make_bucket()}/out"
    server = request.getfixturevalue("gcs_server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"gs://{server.make_bucket()}/out"
