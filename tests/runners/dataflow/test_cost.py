"""What a job may take and cost, by hand-made sums."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from beam_curate.errors import UsageError
from beam_curate.options.parse import parse
from beam_curate.plan.plan import make_plan
from beam_curate.report import workload
from beam_curate.report.workload import Workload
from runners.dataflow import cost
from runners.dataflow.cost import Pool, Prices
from runners.dataflow.runner import DataflowRunner
from runners.registry import make_runner
from tests.support.dataflow import CLOUD, MODELS, PLACES, WITH_MODELS

WORK = Workload(hours_of_video=100.0, shots_core_hours=50.0, clips_core_hours=160.0, windows=36_000.0)
TABLE = {
    "currency": "EUR",
    "date": "2026-01-01",
    "source": "https://example.org/prices",
    "region": "europe-west4",
    "vcpu_hour": 0.1,
    "memory_gb_hour": 0.01,
    "disk_gb_hour": 0.001,
    "gpu_hour": {"nvidia-l4": 2.0},
    "caption_s": 2.0,
    "text_s": 1.0,
}


@pytest.fixture
def prices(tmp_path: Path) -> Prices:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(TABLE))
    return cost.read_prices(str(path))


def planned(prices: Prices, *flags: str) -> tuple[list[Pool], list[str]]:
    plan = make_plan(parse(["--runner=DataflowRunner", *PLACES, *CLOUD, *flags]))
    runner = make_runner(plan.runner)
    assert isinstance(runner, DataflowRunner)
    found = cost.pools(runner, plan, WORK, prices)
    return found, list(cost.lines(runner, found, prices))


def test_without_a_gpu_the_cores_do_it_all(prices: Prices) -> None:
    (pool,), lines = planned(prices, "--max_num_workers=5")
    assert (pool.machine_type, pool.gpu, pool.gpus) == ("n2-standard-8", "", 0)
    assert pool.hours == pytest.approx((50 + 160) / 8)
    assert pool.price == pytest.approx(8 * 0.1 + 32 * 0.01 + 200 * 0.001)  # 1.32 EUR
    assert lines[1] == "together about 35 EUR or more"  # 26.25 h
    assert lines[2].startswith("on 5 workers at least 5.2 hours")
    assert "2026-01-01, europe-west4, https://example.org/prices" in lines[3]


def test_with_gpus_the_busier_part_of_a_worker_counts(prices: Prices) -> None:
    (pool,), _ = planned(prices, *WITH_MODELS, *MODELS)
    assert pool.hours == pytest.approx(36_000 * 3 / 3600)  # its 8 cores would need 20 h
    assert pool.price == pytest.approx(8 * 0.1 + 32 * 0.01 + 200 * 0.001 + 2.0)
    (pool,), _ = planned(prices, *WITH_MODELS, *MODELS, "--machine_type=g2-standard-24")
    assert (pool.gpus, pool.hours) == (2, pytest.approx(15.0))


def test_gpus_only_where_needed_are_workers_of_their_own(prices: Prices) -> None:
    (cores, gpus), lines = planned(prices, *WITH_MODELS, *MODELS, "--gpu-only-where-needed=nvidia-l4")
    assert (cores.machine_type, cores.hours) == ("n2-standard-8", pytest.approx(210 / 8))
    assert (gpus.machine_type, gpus.hours) == ("g2-standard-8", pytest.approx(30.0))
    assert lines[2] == "together about 130 EUR or more"  # 26.25 h x 1.32 and 30 h x 3.32


def test_a_gpu_without_a_price(prices: Prices) -> None:
    (pool,), lines = planned(prices, *WITH_MODELS, *MODELS, "--machine_type=a2-highgpu-1g")
    assert pool.price is None
    assert "no price in the table" in lines[0]
    assert not any("together" in line for line in lines)


def test_the_table_of_the_program_prices_all_gpus_that_it_knows() -> None:
    from runners.dataflow.machines import GPUS

    ours = cost.read_prices()
    assert set(ours.gpu_hour) == set(GPUS)
    assert (ours.currency, ours.source) == ("USD", "https://cloud.google.com/dataflow/pricing")
    assert all(price > 0 for price in ours.gpu_hour.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("a: [", "is neither YAML nor JSON"),
        (yaml.safe_dump({key: value for key, value in TABLE.items() if key != "vcpu_hour"}), "vcpu_hour"),
        (yaml.safe_dump(TABLE | {"gpu_hour": {"nvidia-l4": "dear"}}), r"gpu_hour\.nvidia-l4"),
        ("just text", "the table"),
    ],
)
def test_tables_that_cannot_be_used(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        cost.read_prices(str(path))
    assert str(path) in str(caught.value)


def test_hours_of_video_become_work() -> None:
    plan = make_plan(parse([*PLACES, "--captioning-algorithm=describe", "--generate-cosmos-predict-dataset=predict2"]))
    work = workload.of_hours(10, plan)
    frames = 10 * 3600 * 30
    assert work.shots_core_hours == pytest.approx(frames / 60 / 3600)
    assert work.clips_core_hours == pytest.approx(frames * 1920 * 1080 / 45e6 / 3600)
    assert work.windows == pytest.approx(10 * 3600 / 4)  # shots of 4 s, each one window
