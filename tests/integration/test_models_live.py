"""How many models are in memory: at most one, and none when there is nothing to do."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest

from beam_curate import counters
from beam_curate.models.slot import SLOTS, ModelRef, ModelSlots
from beam_curate.run import main
from tests.support.media import make_video
from tests.support.program import DESCRIBED


def test_one_model_at_a_time_and_none_without_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most_alive = 0
    load = ModelSlots._load

    def watched(slots: ModelSlots, slot: Any, key: Any, ref: ModelRef) -> None:
        nonlocal most_alive
        load(slots, slot, key, ref)
        alive.add(slot.model)
        most_alive = max(most_alive, len(alive))

    monkeypatch.setattr(ModelSlots, "_load", watched)
    make_video(tmp_path / "in.mp4", frames=260, shots=(0, 130))
    flags = [*DESCRIBED, "--input-video-path", str(tmp_path / "in.mp4"), "--output-clip-path", str(tmp_path / "out")]
    SLOTS.clear()
    assert main(flags) == 0
    counts = counters.counts()
    assert counts["models loaded: transnetv2"] == 1
    assert counts["models loaded: t5_random"] == 1
    assert most_alive == 1

    SLOTS.clear()
    assert main(flags) == 0
    assert not [name for name in counters.counts() if name.startswith("models loaded")]
