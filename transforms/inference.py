"""Workers of the domain behind Beam's RunInference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference

from beam_curate.models.slot import ModelRef
from beam_curate.stage import Worker
from transforms.concurrency import turn


class WorkerHandler(ModelHandler[Any, Any, Any]):
    """Hands each unit to a worker of the domain, which batches within the unit by a fixed rule.

    Beam holds only a reference to the model: the worker borrows the model itself from the process's slot,
    which loads on first use and holds one model at a time.

    Args:
        worker: What is done to a unit.
        attempt: Calls the worker with a stage and a unit and turns exceptions into failures.
        stage: Name of the stage.
    """

    def __init__(
        self, worker: Worker[Any, Any], attempt: Callable[[Worker[Any, Any], str, Any], Any], stage: str
    ) -> None:
        super().__init__()
        self._worker = worker
        self._attempt = attempt
        self._stage = stage

    def load_model(self) -> ModelRef | NoModel:
        """Returns a reference, whatever the size of the model."""
        return self._worker.model or NoModel()

    def run_inference(
        self, batch: Sequence[Any], model: Any, inference_args: dict[str, Any] | None = None
    ) -> list[tuple[Any, Any]]:
        """Returns (unit, result) for each unit."""
        return [(unit, self._in_turn(unit)) for unit in batch]

    def _in_turn(self, unit: Any) -> Any:
        with turn():
            return self._attempt(self._worker, self._stage, unit)

    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """Counts units: the default would pickle every batch once more for a metric."""
        return len(batch)

    def get_metrics_namespace(self) -> str:
        """Names Beam's metrics of this stage."""
        return f"beam_curate_{self._stage}"


class NoModel:
    """Stands in for a model where a worker needs none: Beam wants an object."""


def infer(
    worker: Worker[Any, Any], attempt: Callable[[Worker[Any, Any], str, Any], Any], stage: str
) -> beam.PTransform:
    """Returns a transform PCollection[unit] -> PCollection[(unit, result)]; each unit is a batch of its own."""
    handler = WorkerHandler(worker, attempt, stage).with_no_batching()
    return "A unit is a batch" >> beam.Map(_batch_of_one) | "Infer" >> RunInference(handler)


def _batch_of_one(unit: Any) -> list[Any]:
    return [unit]
