"""A stage is one class and one entry of the plan, as CONTRIBUTING says: the rest follows, and goes with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import pytest

from beam_curate import counters
from beam_curate.curate import curate
from beam_curate.elements import ClipChunk
from beam_curate.options.parse import parse
from beam_curate.plan import plan as planning
from beam_curate.plan.plan import Plan, make_plan
from beam_curate.plan.stages import stages_of
from beam_curate.stage import Stage
from beam_curate.store.stage_files import StageFiles
from tests.support.media import make_video
from tests.support.program import DESCRIBED, FIXED_STRIDE, snapshot


@dataclasses.dataclass(frozen=True)
class Nothing(Stage[ClipChunk, ClipChunk]):
    """Does nothing to a chunk."""

    limit: int = 1

    name: ClassVar[str] = "nothing"
    version: ClassVar[int] = 1
    model = None

    def run(self, unit: ClipChunk, files: StageFiles) -> ClipChunk:
        return unit


def test_a_stage_that_does_nothing_is_added_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "one.mp4", frames=120)

    def plan(output: str) -> Plan:
        folders = [f"--input-video-path={tmp_path / 'in'}", f"--output-clip-path={tmp_path / output}"]
        return make_plan(parse([*DESCRIBED, *FIXED_STRIDE, *folders]))

    def published(output: str) -> dict[str, str]:
        """Hashes of clips and dataset: what must not depend on the stage. Records hold its fingerprint."""
        found = snapshot(tmp_path / output)
        return {name: digest for name, digest in found.items() if name.startswith(("clips/", "cosmos_predict2"))}

    assert curate(plan("out")) == 0
    before = published("out")
    assert any(name.endswith(".pickle") for name in before)

    with monkeypatch.context() as patch:
        patch.setattr(planning, "stages_of", lambda options: [*stages_of(options), Nothing()])
        assert curate(plan("out")) == 0
        counts = counters.counts()
        assert (counts["nothing: begun"], counts["nothing: done"]) == (1, 1)
        assert "clips: begun" not in counts and "text: begun" not in counts  # cached results of the stages before it
        assert published("out") == before

    assert curate(plan("out")) == 0
    assert "nothing: begun" not in counters.counts()
    assert published("out") == before
