"""Tests that need an engine are skipped where it is not there, and fail where it has to be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def need(*things: Path | str) -> None:
    """Ends the test unless all are there: files as paths, programs by name."""
    missing = [str(one) for one in things if not (one.exists() if isinstance(one, Path) else shutil.which(one))]
    if not missing:
        return
    reason = f"not there: {', '.join(missing)}; run: make engines"
    if os.environ.get("BEAM_CURATE_REQUIRE_SERVERS"):
        pytest.fail(reason)
    pytest.skip(reason)
