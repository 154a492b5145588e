"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.needed import need
from tests.support.object_servers import FakeGcs, Minio, fake_gcs, minio
from tests.support.priority import unchanged_priority
from tools import engines


@pytest.fixture(autouse=True)
def ordinary_priority() -> Iterator[None]:
    """No test leaves the process with another scheduling, which would slow down or block those after it."""
    policy = os.sched_getscheduler(0)
    with unchanged_priority():
        yield
        assert os.sched_getscheduler(0) == policy, "see tests/support/priority.py"


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    """A MinIO server for all tests of this process; each makes a bucket of its own."""
    need(engines.MINIO)
    with minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[FakeGcs]:
    """A fake Google Cloud Storage for all tests of this process; each makes a bucket of its own."""
    need(engines.FAKE_GCS)
    with fake_gcs() as server:
        yield server
