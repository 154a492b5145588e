"""What a runner needs is asked for before the first video; what a user left out is set, what he said is kept."""

from __future__ import annotations

import dataclasses
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_curate.errors import UsageError
from beam_curate.plan.settings import RunnerSettings
from runners.settings import check_runner, flags_of, prism, with_defaults, workers_elsewhere

FLINK = RunnerSettings(name="FlinkRunner")
NOWHERE = "localhost:1"  # a port that only root could listen on


class Overview(http.server.BaseHTTPRequestHandler):
    """Flink's answer to GET /overview."""

    def do_GET(self) -> None:
        body = json.dumps({"slots-total": 6, "slots-available": 2}).encode()
        self.send_response(200 if self.path == "/overview" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def master() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("localhost", 0), Overview) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"localhost:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "prism"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_prism_is_where_the_user_says_or_on_the_path(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert prism(flags_of([f"--prism_location={program}"])) == str(program)
    assert prism(flags_of(["--prism_location", str(program)])) == str(program)
    monkeypatch.setenv("PATH", str(program.parent))
    assert prism(flags_of([])) == str(program)


@pytest.mark.parametrize("flags", [[], ["--prism_location=/not/there"]])
def test_without_prism(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"--prism_location") as caught:
        check_runner(RunnerSettings(name="PrismRunner", beam_args=tuple(flags)))
    assert "go install" in str(caught.value)


@pytest.mark.parametrize(
    ("runner", "flags", "message"),
    [
        ("DirectRuner", [], "choose DirectRunner, PrismRunner"),
        ("DataflowRunner", [], "is not supported"),
        ("PortableRunner", [], "--job_endpoint=HOST:PORT"),
        ("PortableRunner", [f"--job_endpoint={NOWHERE}"], f"no job server answers at {NOWHERE}"),
        ("PrismRunner", [f"--job_endpoint={NOWHERE}"], f"no job server answers at {NOWHERE}"),
        ("FlinkRunner", [f"--flink_master={NOWHERE}"], "--environment_type=EXTERNAL"),
        ("FlinkRunner", ["--output_executable_path=job.jar"], "--environment_type=EXTERNAL"),
        ("FlinkRunner", [f"--flink_master={NOWHERE}", "--environment_type=LOOPBACK"], f"no Flink answers at {NOWHERE}"),
        ("FlinkRunner", ["--job_server_java_launcher=/no/java"], "install Java 17"),
        (
            "FlinkRunner",
            ["--flink_job_server_jar=/no.jar", "--job_server_java_launcher=/bin/sh"],
            "/no.jar is not there",
        ),
    ],
)
def test_what_is_missing(runner: str, flags: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check_runner(RunnerSettings(name=runner, beam_args=tuple(flags)))
    assert "\n" not in str(caught.value)


def test_flink_that_answers_is_enough(master: str) -> None:
    flags = (f"--flink_master={master}", "--environment_type=LOOPBACK", "--job_server_java_launcher=/bin/sh")
    check_runner(dataclasses.replace(FLINK, beam_args=flags))


def test_all_slots_of_a_flink_are_taken_unless_the_user_says_otherwise(master: str) -> None:
    assert flags_of(with_defaults(dataclasses.replace(FLINK, beam_args=(f"--flink_master={master}",)))).parallelism == 6
    assert (
        flags_of(
            with_defaults(dataclasses.replace(FLINK, beam_args=(f"--flink_master={master}", "--parallelism", "3")))
        ).parallelism
        == 3
    )
    assert (
        flags_of(with_defaults(dataclasses.replace(FLINK, beam_args=(f"--flink_master={NOWHERE}",)))).parallelism
        is None
    )
    assert flags_of(with_defaults(FLINK)).parallelism == len(os.sched_getaffinity(0))


def test_each_job_on_flink_has_a_name_of_its_own_unless_the_user_names_it() -> None:
    names = {flags_of(with_defaults(FLINK)).job_name for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("beam-curate-") for name in names)
    assert flags_of(with_defaults(dataclasses.replace(FLINK, beam_args=("--job_name=mine",)))).job_name == "mine"


def test_workers_set_the_threads_of_the_direct_runner() -> None:
    assert "--direct_num_workers=3" in with_defaults(RunnerSettings(threads=3))


@pytest.mark.parametrize(
    ("runner", "flags", "elsewhere"),
    [
        ("DirectRunner", [], False),
        ("PrismRunner", [], False),
        ("FlinkRunner", [], False),
        ("FlinkRunner", ["--flink_master=host:8081", "--environment_type=LOOPBACK"], False),
        ("FlinkRunner", ["--flink_master=host:8081", "--environment_type=EXTERNAL"], True),
        ("FlinkRunner", ["--environment_type=PROCESS"], True),
        ("PortableRunner", ["--job_endpoint=host:8099"], True),
        ("PortableRunner", ["--job_endpoint=host:8099", "--environment_type=LOOPBACK"], False),
    ],
)
def test_where_the_workers_are(runner: str, flags: list[str], elsewhere: bool) -> None:
    assert workers_elsewhere(RunnerSettings(name=runner, beam_args=tuple(flags))) is elsewhere


@pytest.mark.parametrize("flag", ["--experiments", "--experiment"])
@pytest.mark.parametrize("value", ["data_buffer_time_limit_ms=1000", "beam_fn_api,data_buffer_time_limit_ms=1"])
@pytest.mark.parametrize("runner", ["DirectRunner", "PrismRunner", "FlinkRunner"])
def test_a_timer_that_loses_elements_is_refused(flag: str, value: str, runner: str) -> None:
    with pytest.raises(UsageError, match="--experiments=data_buffer_time_limit_ms"):
        check_runner(RunnerSettings(name=runner, beam_args=(f"{flag}={value}",)))
