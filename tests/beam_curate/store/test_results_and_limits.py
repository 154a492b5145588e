"""A failure that depends on limits is cached for the same limits only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from beam_curate.elements import Failure, VideoShots
from beam_curate.errors import (
    DecoderCrashedError,
    DecoderKilledError,
    DecoderMemoryError,
    DecoderTimeoutError,
    LostFramesError,
    UnreadableSourceError,
)
from beam_curate.store.results import ResultStore
from tests.support.facts import make_info, make_span, make_video_element
from tests.support.output import Output

VIDEO = make_video_element()
SHOTS = VideoShots(VIDEO, make_info(100), (make_span("x", 0, 100),))


@pytest.mark.parametrize(
    ("kind", "same_limits", "other_limits"),
    [
        (DecoderMemoryError, True, False),
        (DecoderTimeoutError, True, False),
        (DecoderCrashedError, True, False),  # memory that runs out may show as a crash
        (UnreadableSourceError, True, True),
        (LostFramesError, True, True),
        (DecoderKilledError, False, False),
    ],
)
def test_for_which_limits_a_failure_is_cached(tmp_path: Path, kind: type, same_limits: bool, other_limits: bool):
    store = ResultStore(Output(tmp_path), "shots", "f", VideoShots, limits="300 s, 4096 MiB")
    other = dataclasses.replace(store, limits="300 s, 9000 MiB")
    failure = Failure.of(kind("why"), "shots", VIDEO.uri)
    assert store.put(VIDEO, failure) == failure
    assert store.get(VIDEO) == (failure if same_limits else None)
    assert other.get(VIDEO) == (failure if other_limits else None)
    if same_limits and not other_limits:
        assert other.put(VIDEO, SHOTS) == SHOTS
        assert store.get(VIDEO) == other.get(VIDEO) == SHOTS  # more of it was made once, so that stays


def test_retrying_failures_forgets_them(tmp_path: Path):
    store = ResultStore(Output(tmp_path), "shots", "f", VideoShots, limits="a")
    store.put(VIDEO, Failure.of(DecoderMemoryError("why"), "shots", VIDEO.uri))
    assert dataclasses.replace(store, retry_failed=True).get(VIDEO) is None
    assert store.get(VIDEO) is None
