"""The local runner with our settings: its channels lose nothing, however slow and busy the machine is."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterable, Iterator

import apache_beam as beam
import pytest
from apache_beam.internal import cloudpickle_pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers
from apache_beam.runners.worker import data_plane

from beam_curate import counters
from beam_curate.plan.settings import RunnerSettings
from runners.launch import name_files_without_folders, switch_off_timed_flushes
from runners.registry import make_runner
from tests.support.secrets import found_in

THREADS = 4


@pytest.fixture(autouse=True)
def the_timer_of_beam(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS", 1)  # 1000 by default; shorter is worse
    yield


@dataclasses.dataclass(frozen=True)
class Unit:
    """What travels: pickled, as the program's own elements are."""

    number: int
    text: str


def keyed(unit: Unit) -> tuple[int, Unit]:
    time.sleep(0)
    return unit.number, unit


def keyed_again(group: tuple[int, Iterable[Unit]]) -> Iterator[tuple[int, Unit]]:
    for unit in group[1]:
        yield group[0] * 7919 % 100_003, unit


def note(group: tuple[int, Iterable[Unit]]) -> None:
    for unit in group[1]:
        counters.add(f"{unit.number}: {len(unit.text)}")


def run(elements: int) -> bool:
    """Sends units through three groupings with the program's settings; returns whether each arrived once and intact."""
    counters.reset()
    options = PipelineOptions(make_runner(RunnerSettings("DirectRunner", THREADS)).arguments())
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        units = [Unit(number, "x" * (number % 997)) for number in range(elements)]
        groups = pipeline | beam.Create(units, reshuffle=False) | beam.Reshuffle() | beam.Map(keyed)
        for number in range(2):
            groups = groups | f"Group {number}" >> beam.GroupByKey() | f"Key {number}" >> beam.FlatMap(keyed_again)
        _ = groups | beam.GroupByKey() | beam.Map(note)
    return counters.counts() == {f"{number}: {number % 997}": 1 for number in range(elements)}


def test_no_buffer_is_sent_by_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for kind in (data_plane.SizeBasedBufferingClosableOutputStream, data_plane.TimeBasedBufferingClosableOutputStream):

        def init(self: object, *args: object, _of: object = kind.__init__, _name: str = kind.__name__, **named: object):
            made.append(_name)
            _of(self, *args, **named)  # type: ignore[operator]

        monkeypatch.setattr(kind, "__init__", init)
    switch_off_timed_flushes()
    assert run(20)
    assert set(made) == {"SizeBasedBufferingClosableOutputStream"}


@pytest.mark.soak
def test_every_element_arrives_once_whatever_else_the_machine_does() -> None:
    """With the timer on, the first of these rounds did not end within minutes."""
    switch_off_timed_flushes()
    stop = threading.Event()

    def keep_a_core_busy() -> None:
        while not stop.is_set():
            sum(range(1000))

    others = [threading.Thread(target=keep_a_core_busy) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for _ in range(2):
            assert run(5_000)
    finally:
        stop.set()
        for other in others:
            other.join()


def test_functions_that_are_sent_to_workers_name_no_folder_of_this_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    config = cloudpickle_pickler.DEFAULT_CONFIG
    # As Beam has it, whatever runs in this process have set before; it is set back at the end.
    monkeypatch.setattr(config, "filepath_interceptor", cloudpickle_pickler.get_normalized_path)

    def folders() -> set[str]:
        pipeline = beam.Pipeline()
        _ = pipeline | beam.Create(["element"]) | beam.Map(str) | beam.Reshuffle()
        return found_in(pipeline.to_runner_api().SerializeToString(), ["site-packages"])

    assert folders()
    name_files_without_folders()
    assert not folders()
