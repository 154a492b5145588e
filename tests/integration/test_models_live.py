"""How many models are in memory: at most one, and none when there is nothing to do."""

from __future__ import annotations

from pathlib import Path

from beam_curate import counters
from beam_curate.models.slot import SLOTS
from beam_curate.run import main
from tests.support.media import make_video
from tests.support.program import DESCRIBED


def test_one_model_at_a_time_and_none_without_work(tmp_path: Path) -> None:
    make_video(tmp_path / "in.mp4", frames=260, shots=(0, 130))
    flags = [*DESCRIBED, "--input-video-path", str(tmp_path / "in.mp4"), "--output-clip-path", str(tmp_path / "out")]
    SLOTS.clear()
    SLOTS.most_alive = 0
    assert main(flags) == 0
    counts = counters.counts()
    assert counts["models loaded: transnetv2"] == 1
    assert counts["models loaded: t5_random"] == 1
    assert SLOTS.most_alive == 1

    SLOTS.clear()
    SLOTS.most_alive = 0
    assert main(flags) == 0
    assert SLOTS.most_alive == 0
    assert not [name for name in counters.counts() if name.startswith("models loaded")]
