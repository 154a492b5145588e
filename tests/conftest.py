"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.priority import unchanged_priority


@pytest.fixture(autouse=True)
def ordinary_priority() -> Iterator[None]:
    """No test leaves the process with another scheduling, which would slow down or block those after it."""
    policy = os.sched_getscheduler(0)
    with unchanged_priority():
        yield
        assert os.sched_getscheduler(0) == policy, "see tests/support/priority.py"
