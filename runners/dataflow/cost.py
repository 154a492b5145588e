"""What a job may take and cost, from a table of prices. It is as good as the assumptions in that table."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beam_curate.errors import UsageError
from beam_curate.plan.plan import Plan
from beam_curate.report.workload import Workload
from runners.base import rounded
from runners.dataflow import machines

if TYPE_CHECKING:
    from runners.dataflow.runner import DataflowRunner

_OURS = Path(__file__).parent / "prices.yaml"


@dataclasses.dataclass(frozen=True)
class Prices:
    """A table of prices, as `prices.yaml` beside this module has it.

    Attributes:
        currency: Of all prices.
        date: When the prices were valid.
        source: The page that they are from.
        region: Where they are valid.
        vcpu_hour: Of a vCPU for an hour.
        memory_gb_hour: Of a GB of memory for an hour.
        disk_gb_hour: Of a GB of disk for an hour.
        gpu_hour: Of one GPU for an hour, by its kind.
        caption_s: How long a GPU computes for a caption, in s.
        text_s: How long a GPU computes for the embedding of a caption, in s.
    """

    currency: str
    date: datetime.date
    source: str
    region: str
    vcpu_hour: float
    memory_gb_hour: float
    disk_gb_hour: float
    gpu_hour: Mapping[str, float]
    caption_s: float
    text_s: float


def read_prices(path: str | None = None) -> Prices:
    """Reads a table of prices.

    >>> read_prices().gpu_hour["nvidia-tesla-t4"]
    0.42

    Args:
        path: A YAML or JSON file; the table of this package without one.

    Raises:
        UsageError: It cannot be read, or lacks a price.
    """
    import yaml
    from pydantic import TypeAdapter, ValidationError

    try:
        content: Any = yaml.safe_load(Path(path or _OURS).read_text(encoding="utf-8"))
        prices: Prices = TypeAdapter(Prices).validate_python(content)
    except OSError as error:
        raise UsageError(f"--price-table {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--price-table {path} is neither YAML nor JSON: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'the table'}: {one['msg']}" for one in error.errors())
        raise UsageError(
            f"--price-table {path}: {wrong} (its form is that of {_OURS.name} in runners/dataflow)"
        ) from error
    return prices


@dataclasses.dataclass(frozen=True)
class Pool:
    """Workers that are alike.

    Attributes:
        name: What they are for.
        machine_type: Of each of them.
        gpu: The kind of its GPUs; "" without.
        gpus: How many it has.
        hours: Of one worker that does all the work, at least.
        price: Of a worker for an hour; None where a part of it has no price in the table.
    """

    name: str
    machine_type: str
    gpu: str
    gpus: int
    hours: float
    price: float | None


def pools(runner: DataflowRunner, plan: Plan, work: Workload, prices: Prices) -> list[Pool]:
    """Returns the workers of a job with what they may take, if no core and no GPU ever waits.

    Args:
        runner: With the flags of the job.
        plan: What is done.
        work: How much that is.
        prices: And assumptions.
    """
    accelerator, cores = runner.accelerator, work.clips_core_hours + work.shots_core_hours
    on_gpu = work.windows * _gpu_s(plan, prices) / 3600
    if accelerator is None:
        return [_pool("all stages", runner, prices, runner.machine_type, "", 0, cores, 0.0)]
    kind, count = accelerator.kind, accelerator.count
    if not runner.resource_hints:  # shots are found on the GPU, in little time
        cores = work.clips_core_hours
        return [_pool("all stages", runner, prices, runner.machine_type, kind, count, cores, on_gpu)]
    machine_type = accelerator.machine_type or runner.machine_type
    return [
        _pool("stages without large models", runner, prices, runner.machine_type, "", 0, cores, 0.0),
        _pool("stages with large models", runner, prices, machine_type, kind, count, 0.0, on_gpu),
    ]


def _gpu_s(plan: Plan, prices: Prices) -> float:
    """Returns how long a GPU may compute for one window."""
    times = {"captions": prices.caption_s, "text": prices.text_s}
    return sum(times.get(planned.name, 0.0) for planned in plan.stages if planned.needs_gpu)


def _pool(
    name: str,
    runner: DataflowRunner,
    prices: Prices,
    machine_type: str,
    gpu: str,
    gpus: int,
    core_hours: float,
    gpu_hours: float,
) -> Pool:
    known = machines.machine(machine_type)
    hours = max(core_hours / (known.vcpus if known else runner.threads), gpu_hours / gpus if gpus else 0.0)
    price = None
    if known and (not gpu or gpu in prices.gpu_hour):
        disk = runner.flags.disk_size_gb * prices.disk_gb_hour
        of_gpus = gpus * prices.gpu_hour[gpu] if gpu else 0.0
        price = known.vcpus * prices.vcpu_hour + known.memory_gb * prices.memory_gb_hour + disk + of_gpus
    return Pool(name, machine_type, gpu, gpus, hours, price)


def lines(runner: DataflowRunner, found: list[Pool], prices: Prices) -> Iterator[str]:
    """Yields what a job may take and cost, a sentence a line."""
    for pool in found:
        gpus = f" with {pool.gpus} {pool.gpu}" if pool.gpu else ""
        cost = "no price in the table" if pool.price is None else f"{pool.price:.2f} {prices.currency} an hour"
        yield f"{pool.name}: at least {rounded(pool.hours)} hours of a {pool.machine_type}{gpus} ({cost})"
    if all(pool.price is not None for pool in found):
        total = sum(pool.hours * (pool.price or 0.0) for pool in found)
        yield f"together about {rounded(total)} {prices.currency} or more"
    if runner.workers and len(found) == 1:
        hours = found[0].hours / runner.workers
        yield f"on {runner.workers} workers at least {rounded(hours)} hours, and the minutes in which they start"
    yield (
        f"Prices of {prices.date}, {prices.region}, {prices.source}; another table: --price-table. Assumed, not "
        f"measured: {prices.caption_s:g} s of a GPU a caption, {prices.text_s:g} s a text embedding, a vCPU as "
        "fast as a core."
    )
    yield "Not counted: workers that start or wait, shuffled data, storage and its requests, the network, discounts."
