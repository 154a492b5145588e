"""What a runner needs is checked before the first video; flags of Beam have defaults, and the user's own win."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest

from beam_curate.elements import Video
from beam_curate.errors import UsageError
from beam_curate.plan.settings import RunnerSettings
from beam_curate.store.local import LocalStore
from beam_curate.store.open import open_store
from beam_curate.store.runs import Job
from runners.base import Runner
from runners.prism import PrismRunner
from runners.registry import RUNNERS, make_runner

NOWHERE = "localhost:1"  # a port that only root could listen on


class Overview(http.server.BaseHTTPRequestHandler):
    """Flink's answers to GET /overview and /config."""

    version = "1.19.3"

    def do_GET(self) -> None:
        pages = {"/overview": {"slots-total": 6, "slots-available": 2}, "/config": {"flink-version": self.version}}
        body = json.dumps(pages.get(self.path)).encode()
        self.send_response(200 if self.path in pages else 404)
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


def runner(name: str, *beam_args: str, threads: int | None = None) -> Runner:
    return make_runner(RunnerSettings(name, threads, beam_args))


def value(arguments: list[str], flag: str) -> str | None:
    """The value of a flag of Beam, of which the last one counts."""
    values = [word.partition("=")[2] for word in arguments if word.startswith(f"{flag}=")]
    return values[-1] if values else None


ELSEWHERE = ("--environment_type=EXTERNAL", "--environment_config=localhost:50000")
HERE = ("--environment_type=LOOPBACK",)
CLUSTER = ("--flink_master=localhost:8081",)
SERVER = ("--job_endpoint=localhost:8099",)


@pytest.mark.parametrize(
    ("name", "beam_args", "expected"),
    [
        ("DirectRunner", (), False),
        ("PrismRunner", (), False),
        ("PrismRunner", SERVER, False),
        ("FlinkRunner", (*CLUSTER, *ELSEWHERE), True),
        ("FlinkRunner", (*CLUSTER, *HERE), False),
        ("FlinkRunner", ELSEWHERE, False),  # Flink is inside the job server that this process starts
        ("FlinkRunner", (*SERVER, *ELSEWHERE), True),  # and that one stays
        ("FlinkRunner", (*SERVER, *HERE), False),
        ("FlinkRunner", SERVER, False),
        ("PortableRunner", (*SERVER, *ELSEWHERE), True),
        ("PortableRunner", SERVER, True),  # containers, by default
        ("PortableRunner", (*SERVER, *HERE), False),
        ("PortableRunner", ("--job_endpoint=embed", *ELSEWHERE), False),
    ],
)
def test_a_job_is_left_alone_only_where_it_goes_on(name: str, beam_args: tuple[str, ...], expected: bool) -> None:
    one = runner(name, *beam_args)
    output = LocalStore(Path("/nowhere"))
    assert one.can_detach is expected
    if expected:
        one.check_detached(output)
        assert one.job is not None and one.job.name == one.job_name == value(one.arguments(), "--job_name")
    else:
        with pytest.raises(UsageError, match="--detach leaves the job to a cluster"):
            one.check_detached(output)
        assert one.job is None


def test_what_workers_start_from_must_outlast_this_computer() -> None:
    output = open_store("s3://bucket/out")
    with pytest.raises(UsageError, match="--artifacts_dir"):
        runner("FlinkRunner", *CLUSTER, *ELSEWHERE).check_detached(output)
    for more in (("--artifacts_dir=/shared/artifacts",), SERVER):
        runner("FlinkRunner", *CLUSTER, *ELSEWHERE, *more).check_detached(output)


def test_the_page_of_a_job_has_no_credentials_in_it() -> None:
    job = runner("FlinkRunner", "--flink_master=https://team:key@flink.example", "--job_name=curate", *ELSEWHERE).job
    assert job == Job("FlinkRunner", "curate", "https://flink.example:443")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "prism"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_prism_is_where_the_user_says_or_on_the_path(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for flags in ([f"--prism_location={program}"], ["--prism_location", str(program)]):
        assert PrismRunner(RunnerSettings("PrismRunner", beam_args=tuple(flags))).program() == str(program)
    monkeypatch.setenv("PATH", str(program.parent))
    assert PrismRunner(RunnerSettings("PrismRunner")).program() == str(program)


@pytest.mark.parametrize("flags", [[], ["--prism_location=/not/there"]])
def test_without_prism(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"--prism_location") as caught:
        runner("PrismRunner", *flags).check()
    assert "go install" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("DirectRuner", [], "choose DirectRunner, PrismRunner"),
        ("SparkRunner", [], "is not supported"),
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
            "/no.jar does not exist",
        ),
    ],
)
def test_what_is_missing(name: str, flags: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        runner(name, *flags).check()
    assert "\n" not in str(caught.value)


def test_flink_that_answers_is_enough(master: str) -> None:
    runner(
        "FlinkRunner",
        f"--flink_master={master}",
        "--environment_type=LOOPBACK",
        "--job_server_java_launcher=/bin/sh",
    ).check()


@pytest.mark.parametrize(
    ("version", "flags", "told"),
    [
        ("1.20.3", [], ""),
        ("1.20.3", ["--flink_version=1.20"], ""),
        ("1.20.3", ["--flink_version=2.2"], "--flink_version=2.2, and the Flink at {master} is 1.20: leave it out"),
        ("1.17.2", [], "the Flink at {master} is 1.17, and Beam has job servers for 1.19, 1.20, "),
        ("1.17.2", ["--flink_job_server_jar={jar}"], ""),
    ],
)
def test_the_job_server_is_of_flinks_version(
    master: str, monkeypatch: pytest.MonkeyPatch, version: str, flags: list[str], told: str
) -> None:
    monkeypatch.setattr(Overview, "version", version)
    flags = [flag.format(jar=__file__) for flag in flags]
    one = runner("FlinkRunner", f"--flink_master={master}", *HERE, "--job_server_java_launcher=/bin/sh", *flags)
    if not told:
        one.check()
        chosen = None if any("jar" in flag for flag in flags) else "1.20"
        assert value(one.arguments(), "--flink_version") == chosen
        return
    with pytest.raises(UsageError) as caught:
        one.check()
    assert told.format(master=master) in str(caught.value)


def test_all_slots_of_a_flink_are_taken_unless_the_user_says_otherwise(master: str) -> None:
    def parallelism(*flags: str) -> str | None:
        return value(runner("FlinkRunner", *flags).arguments(), "--parallelism")

    assert parallelism(f"--flink_master={master}") == "6"
    assert parallelism(f"--flink_master={master}", "--parallelism=3") == "3"
    assert parallelism(f"--flink_master={NOWHERE}") is None
    cores = len(os.sched_getaffinity(0))
    assert parallelism() == str(min(4 * cores, cores + 16))  # a Flink in the job server


def test_no_cluster_is_asked_for_the_flags_of_a_plan(master: str) -> None:
    one = runner("FlinkRunner", f"--flink_master={master}")
    offline = one.arguments(ask=False)
    assert value(offline, "--flink_version") is value(offline, "--parallelism") is None  # what it would have answered
    assert (value(one.arguments(), "--flink_version"), value(one.arguments(), "--parallelism")) == ("1.19", "6")


def test_each_job_on_flink_has_a_name_of_its_own_unless_the_user_names_it() -> None:
    names = {value(runner("FlinkRunner").arguments(), "--job_name") for _ in range(2)}
    assert len(names) == 2
    assert all(str(name).startswith("beam-curate-") for name in names)
    assert value(runner("FlinkRunner", "--job_name=mine").arguments(), "--job_name") == "mine"


def test_the_user_overrides_defaults_but_not_the_runner() -> None:
    arguments = runner("PrismRunner", "--prism_log_kind=json").arguments()
    assert value(arguments, "--prism_log_kind") == "json"
    assert value(arguments, "--runner") == "PrismRunner"


@pytest.mark.parametrize(("threads", "in_hand"), [(1, 4), (3, 12), (16, 32), (64, 80)])
def test_units_in_hand_of_the_direct_runner(threads: int, in_hand: int) -> None:
    assert f"--direct_num_workers={in_hand}" in runner("DirectRunner", threads=threads).arguments()


def test_threads_of_the_direct_runner() -> None:
    assert runner("DirectRunner").threads == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("sizes", "deals_out"),
    [
        ([], False),
        ([60], True),
        ([60, 60], True),  # one each of two cores: their chunks are shared
        ([60] * 4, False),
        ([60] * 9, False),
        ([3600, *[60] * 9], True),
        ([240, *[60] * 20], False),  # of 1,440, a core has 720
    ],
)
def test_chunks_are_dealt_out_where_a_video_is_long_for_the_others(sizes: list[int], deals_out: bool) -> None:
    videos = [Video(f"/in/{number}.mp4", f"{number}.mp4", size, "17") for number, size in enumerate(sizes)]
    assert runner("DirectRunner", threads=2).deals_out_chunks(videos) is deals_out
    for name in ("PrismRunner", "FlinkRunner"):  # where that holds nothing back
        assert runner(name, threads=2).deals_out_chunks(videos)


@pytest.mark.parametrize(
    ("name", "flags", "elsewhere"),
    [
        ("DirectRunner", [], False),
        ("PrismRunner", [], False),
        ("FlinkRunner", [], False),
        ("FlinkRunner", ["--flink_master=host:8081", "--environment_type=LOOPBACK"], False),
        ("FlinkRunner", ["--flink_master=host:8081", "--environment_type=EXTERNAL"], True),
        ("FlinkRunner", ["--environment_type=PROCESS"], True),
        ("PortableRunner", ["--job_endpoint=host:8099"], True),
        ("PortableRunner", ["--job_endpoint=host:8099", "--environment_type=LOOPBACK"], False),
        ("my.module.OwnRunner", [], True),
    ],
)
def test_where_the_workers_are(name: str, flags: list[str], elsewhere: bool) -> None:
    assert runner(name, *flags).workers_elsewhere is elsewhere


@pytest.mark.parametrize("flag", ["--experiments", "--experiment"])
@pytest.mark.parametrize("value", ["data_buffer_time_limit_ms=1000", "beam_fn_api,data_buffer_time_limit_ms=1"])
@pytest.mark.parametrize("name", [*RUNNERS, "my.module.OwnRunner"])
def test_a_timer_that_loses_elements_is_refused(flag: str, value: str, name: str) -> None:
    with pytest.raises(UsageError, match="--experiments=data_buffer_time_limit_ms"):
        runner(name, f"{flag}={value}").check()


def test_no_step_on_prism_is_without_an_output() -> None:
    """A step on workers without one makes Prism wait in a loop that takes a core; what ends there takes no time."""
    pipeline = beam.Pipeline()
    recorded = pipeline | beam.Create(["/in/a.mp4"]) | "Work" >> beam.Map(str)
    make_runner(RunnerSettings("PrismRunner")).end(recorded)
    transforms = pipeline.to_runner_api().components.transforms.values()
    (output,) = next(one for one in transforms if one.unique_name == "Work").outputs.values()
    after = [one.spec.urn for one in transforms if output in one.inputs.values()]
    assert "beam:transform:reshuffle:v1" in after


def test_a_class_of_the_user_s_own_is_run(tmp_path: Path) -> None:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    own = runner("apache_beam.runners.portability.fn_api_runner.FnApiRunner")
    own.check()
    with own.running(PipelineOptions(own.arguments()), LocalStore(tmp_path)) as beam_runner:
        assert isinstance(beam_runner, FnApiRunner)
