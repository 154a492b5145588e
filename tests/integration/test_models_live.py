"""Which models are in memory: together where they fit, else one at a time and once a portion; none without work."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from beam_curate import counters
from beam_curate.models import slot
from beam_curate.models.slot import SLOTS, ModelSlots
from beam_curate.run import main
from runners import launch, preflight
from tests.support.media import make_video
from tests.support.program import DESCRIBED

PORTIONS = 2


class Watch:
    """Counts the loaded models that are in memory at the same time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.most = 0
        load = ModelSlots._load

        def watched(slots: ModelSlots, device: Any, loaded: Any, freed: Any) -> None:
            load(slots, device, loaded, freed)
            self._alive.add(loaded.model)
            self.most = max(self.most, len(self._alive))

        monkeypatch.setattr(ModelSlots, "_load", watched)


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    source = tmp_path / "in"
    source.mkdir()
    for seed in range(PORTIONS):
        make_video(source / f"{seed}.mp4", frames=260, shots=(0, 130), seed=seed)
    SLOTS.clear()
    return [*DESCRIBED, "--input-video-path", str(source), "--output-clip-path", str(tmp_path / "out")]


def loads() -> Mapping[str, int]:
    return {name: number for name, number in counters.counts().items() if name.startswith("models loaded")}


def test_models_that_fit_stay_and_none_is_loaded_without_work(
    flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    assert main(flags) == 0
    assert loads() == {"models loaded: transnetv2": 1, "models loaded: t5_random": 1}
    assert watch.most == 2

    SLOTS.clear()
    assert main(flags) == 0
    assert not loads()


def test_models_that_do_not_fit_are_loaded_once_a_portion(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    monkeypatch.setattr(slot._Device, "gigabytes", lambda device, ref: 1.0)
    monkeypatch.setattr(SLOTS, "_devices", [slot._Device("cpu", capacity_gb=1.5)])
    monkeypatch.setattr(preflight, "barriers", lambda plan: frozenset({"text"}))
    monkeypatch.setattr(launch, "_PORTION", 1)
    assert main(flags) == 0
    assert loads() == {"models loaded: transnetv2": PORTIONS, "models loaded: t5_random": PORTIONS}
    assert watch.most == 1
