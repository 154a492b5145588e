"""Plans from flags, and stages that stand alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from beam_curate.options.parse import parse
from beam_curate.plan.plan import Plan, make_plan
from beam_curate.stage import PlannedStage, Stage
from beam_curate.store.base import Store
from beam_curate.store.local import LocalStore
from beam_curate.store.results import ResultStore
from beam_curate.store.stage_files import StageFiles

FOLDERS = ("--input-video-path", "in", "--output-clip-path", "out")


NO_FILES = StageFiles(LocalStore(Path("/nowhere")), "shots", "f1")
"""For stages that make none."""


def plan_of(*flags: str) -> Plan:
    """Returns the plan of a run with these flags."""
    return make_plan(parse([*FOLDERS, *flags]))


def planned(stage: Stage[Any, Any], output: Store) -> PlannedStage[Any, Any]:
    """Returns a stage with a store of its own."""
    return PlannedStage(stage, ResultStore(output, stage.name, "f1", stage.result_type))


def files_of(output: Store, stage: str = "clips") -> StageFiles:
    """Returns the place of a stage's files."""
    return StageFiles(output, stage, "f1")


@dataclasses.dataclass(frozen=True)
class Placed:
    """A stage with a folder for its files."""

    stage: Stage[Any, Any]
    output: Store

    @property
    def model(self) -> Any:
        return self.stage.model

    def run(self, unit: Any) -> Any:
        return self.stage.run(unit, files_of(self.output, self.stage.name))

    def having(self, **fields: Any) -> Placed:
        """The same with other fields of the stage."""
        return Placed(dataclasses.replace(self.stage, **fields), self.output)  # type: ignore[type-var]

    def attempt(self, unit: Any) -> Any:
        return planned(self.stage, self.output).attempt(unit)
