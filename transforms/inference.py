"""Stages with a model behind Beam's RunInference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from beam_curate.models.slot import ModelRef
from beam_curate.stage import PlannedStage
from transforms.concurrency import permit
from transforms.run_inference import ModelHandler, RunInference


class StageHandler(ModelHandler[Any, Any, Any]):
    """Passes each unit to a stage, which forms batches within the unit by a fixed rule.

    Beam holds only a reference to the model: the stage borrows the model itself from the process, which loads it on
    first use, so that a unit with a stored result needs no model.

    Args:
        planned: The stage.
    """

    def __init__(self, planned: PlannedStage[Any, Any]) -> None:
        super().__init__()
        self._planned = planned

    def load_model(self) -> ModelRef | NoModel:
        """Returns a reference, whatever the size of the model."""
        return self._planned.stage.model or NoModel()

    def run_inference(
        self, batch: Sequence[Any], model: Any, inference_args: dict[str, Any] | None = None
    ) -> list[tuple[Any, Any]]:
        """Returns (unit, result) for each unit."""
        return [(unit, self._process(unit)) for unit in batch]

    def _process(self, unit: Any) -> Any:
        with permit():
            return self._planned.process(unit)

    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """Counts units: the default would pickle every batch once more for a metric."""
        return len(batch)

    def get_metrics_namespace(self) -> str:
        """Names Beam's metrics of this stage."""
        return f"beam_curate_{self._planned.name}"


class NoModel:
    """Placeholder for stages without a model: Beam requires an object."""


def infer(planned: PlannedStage[Any, Any]) -> beam.PTransform:
    """Returns a transform PCollection[unit] -> PCollection[(unit, result)]; each unit is a batch of its own.

    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> plan = make_plan(parse(["--input-video-path=in", "--output-clip-path=out"]))
    >>> made = beam.Pipeline() | beam.Create([]) | infer(plan.shots)
    >>> isinstance(made, beam.PCollection)
    True
    """
    handler = StageHandler(planned).with_no_batching()
    return "A unit is a batch" >> beam.Map(_batch_of_one) | "Infer" >> RunInference(handler)


def _batch_of_one(unit: Any) -> list[Any]:
    return [unit]
