"""The main job on a Flink cluster whose workers are other processes: JobManager, TaskManager and worker pool."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from beam_curate import __version__
from beam_curate.follow import status
from beam_curate.processes.server import Server, free_ports, listens
from beam_curate.store.local import LocalStore
from runners.flink import rest
from tests.support.flink_cluster import SLOTS, FlinkCluster, flink_cluster
from tests.support.kubernetes import containers, only, pods, rendered
from tests.support.needed import need
from tests.support.program import (
    FIXED_STRIDE,
    cli,
    command,
    run,
    snapshot,
    start,
    summary,
    table,
    told,
    wait_for,
    without_elapsed,
)
from tools import engines

WITHIN_S = 200
RESTARTS = "restart-strategy.type: fixed-delay\nrestart-strategy.fixed-delay.delay: 2 s\n"
RESTARTS += "restart-strategy.fixed-delay.attempts: 5\n"
SHOTS = ("--splitting-algorithm", "transnetv2", "--transnetv2-min-length-frames", "94")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    need("java", engines.FLINK_LIB, engines.JOB_SERVER_JAR, engines.BOOT)
    with flink_cluster(tmp_path_factory.mktemp("flink")) as started:
        yield started


def test_the_output_equals_direct_runners(videos: Path, tmp_path: Path, cluster: FlinkCluster) -> None:
    output = tmp_path / "out"
    expected_lines = run(videos, output, *SHOTS)
    expected, expected_counts = snapshot(output), counts(output)
    shutil.rmtree(output)
    with cluster.explained():
        printed = run(videos, output, *SHOTS, *cluster.flags)
        assert snapshot(output) == expected
        counted, models = counts(output), [name for name in expected_counts if name.startswith("models loaded")]
        loads, expected_loads = ([taken.pop(name) for name in models] for taken in (counted, expected_counts))
        assert counted == expected_counts
        assert expected_loads == [1, 1]
        assert max(loads) <= SLOTS  # stages that overlap would load their models in turns
        assert without_elapsed(printed) == without_elapsed(expected_lines)


def test_after_ctrl_c_and_the_loss_of_all_workers_the_same_command_goes_on(
    videos: Path, direct: tuple[Path, dict[str, str], str], cluster: FlinkCluster
) -> None:
    output, expected, _ = direct
    arguments = command(videos, output, *FIXED_STRIDE, *cluster.flags)
    with cluster.explained():
        process = start(arguments)
        wait_for(lambda: stored(output, "shots"), process, WITHIN_S)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 130, printed
        assert "Traceback" not in printed and "could not be cancelled" not in printed
        wait_for(
            lambda: "RUNNING" not in cluster.job_states() and "CANCELED" in cluster.job_states(), within_s=WITHIN_S
        )

        process = start(arguments)
        wait_for(lambda: stored(output, "clips"), process, WITHIN_S)
        cluster.kill_pool()
        printed, _ = process.communicate(timeout=200)
        assert process.returncode == 1, printed
        assert "error: the run was aborted: the Python workers are gone" in printed
        assert "run the same command again to resume" in printed
        assert "Traceback" not in printed

        finished = list((output / ".work" / "done").rglob("*@*"))
        unfinished = len(stored(output, "shots")) - len(finished)
        cluster.start_pool()
        printed = run(videos, output, *FIXED_STRIDE, *cluster.flags)
        assert snapshot(output) == expected
        assert f"4 videos found, {len(finished)} done before" in printed
        assert counts(output).get("shots: cached", 0) == unfinished
    shutil.rmtree(output)


def test_workers_with_other_versions_are_told(videos: Path, tmp_path: Path, cluster: FlinkCluster) -> None:
    facts = tmp_path / "first" / "beam_curate-0.0.9.dist-info" / "METADATA"
    facts.parent.mkdir(parents=True)
    facts.write_text("Metadata-Version: 2.1\nName: beam-curate\nVersion: 0.0.9\n")
    with pool_that_sees(cluster, tmp_path / "first"):
        printed = run(videos, tmp_path / "out", *FIXED_STRIDE, *cluster.flags, expect=1)
    assert f"has other versions (beam-curate is 0.0.9 there and {__version__} here): install there what" in printed
    assert "Traceback" not in printed


@pytest.mark.soak  # Flink waits for three minutes
def test_workers_without_the_package_are_told(videos: Path, tmp_path: Path, cluster: FlinkCluster) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['beam_curate'] = None")
    with pool_that_sees(cluster, tmp_path):
        printed = run(videos, tmp_path / "out", *FIXED_STRIDE, *cluster.flags, expect=1)
    assert "no Python worker took the work" in printed and "Its log says why" in printed
    assert "Traceback" not in printed


@contextlib.contextmanager
def pool_that_sees(cluster: FlinkCluster, folder: Path) -> Iterator[None]:
    """Restarts the pool with a folder in which Python looks first."""
    cluster.kill_pool()
    cluster.start_pool({"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])})
    try:
        yield
    finally:
        cluster.kill_pool()
        cluster.start_pool()


@pytest.mark.soak
@pytest.mark.parametrize("lost", ["TaskManager", "pool"])
def test_a_cluster_that_restarts_jobs_goes_on_when_a_part_of_it_is_lost_and_comes_back(
    videos: Path, direct: tuple[Path, dict[str, str], str], tmp_path: Path, lost: str
) -> None:
    output, expected, _ = direct
    with flink_cluster(tmp_path, more=RESTARTS) as cluster, cluster.explained():
        process = start(command(videos, output, *FIXED_STRIDE, *cluster.flags))
        wait_for(lambda: stored(output, "clips"), process, WITHIN_S)
        if lost == "pool":
            cluster.kill_pool()
            cluster.start_pool()
        else:
            cluster.kill_task_manager()
            cluster.start_task_manager()
        printed, _ = process.communicate(timeout=WITHIN_S)
        assert process.returncode == 0, printed
        assert snapshot(output) == expected
    shutil.rmtree(output)


def test_the_job_of_a_killed_driver_is_cancelled_by_the_next_run(
    videos: Path, direct: tuple[Path, dict[str, str], str], cluster: FlinkCluster
) -> None:
    output, expected, _ = direct
    with cluster.explained():
        start_and_kill(command(videos, output, *FIXED_STRIDE, *cluster.flags), output)
        name = told(output)["job"]["name"]
        assert "RUNNING" in cluster.job_states()
        printed = run(videos, output, *FIXED_STRIDE, *cluster.flags)
        assert f"note: the job {name} of a run whose driver is gone was still at work and was cancelled" in printed
        assert "another run is writing" not in printed
        assert snapshot(output) == expected
    shutil.rmtree(output)


def test_a_job_that_is_left_to_the_cluster_is_followed_and_summed_up(
    videos: Path, direct: tuple[Path, dict[str, str], str], cluster: FlinkCluster
) -> None:
    output, expected, of_direct = direct
    flags = (*FIXED_STRIDE, *cluster.flags)
    with cluster.explained():
        printed = run(videos, output, *flags, "--detach")
        assert f"goes on on http://{cluster.master} without this program" in printed
        seen = told(output)
        if seen["job"]["state"] == "running":
            assert seen["state"] == "running" and not seen["driver_is_alive"]
            assert "may still be at work" in cli("summarize", output, expect=2)
            assert "wait until it ends" in cli("clean", output, expect=2)
        wait_for(lambda: job_state(output) == "finished", within_s=WITHIN_S)
        seen = told(output)
        assert (seen["state"], seen["videos"]["done"], seen["videos"]["to_do"]) == ("finished", 4, 0)
        assert not (output / "summary.json").exists()
        assert table(cli("summarize", output)) == table(of_direct)
        assert snapshot(output) == expected
        of_direct_counts = {"clips: done", "captions: done", "windows: done", "videos done"}
        assert of_direct_counts <= counts(output).keys()
        assert told(output)["state"] == "ended"
        assert left(output) == []
        assert "Nothing to do" in run(videos, output, *flags)
        assert snapshot(output) == expected
    shutil.rmtree(output)


@pytest.mark.soak
def test_a_job_whose_driver_was_killed_is_followed_and_summed_up(
    videos: Path, direct: tuple[Path, dict[str, str], str], cluster: FlinkCluster
) -> None:
    output, expected, _ = direct
    flags = (*FIXED_STRIDE, *cluster.flags)
    with cluster.explained():
        start_and_kill(command(videos, output, *flags), output)
        seen = told(output)
        assert seen["state"] == "running" and not seen["driver_is_alive"] and not seen["detached"]
        wait_for(lambda: job_state(output) == "finished", within_s=WITHIN_S)
        cli("summarize", output)
        assert snapshot(output) == expected
        assert "4 videos found, 4 done before, 0 to do" in run(videos, output, *flags)
    shutil.rmtree(output)


@pytest.mark.soak
def test_what_a_job_left_undone_is_told_and_done_by_the_same_command(
    videos: Path, direct: tuple[Path, dict[str, str], str], cluster: FlinkCluster
) -> None:
    output, expected, _ = direct
    with cluster.explained():
        run(videos, output, *FIXED_STRIDE, *cluster.flags, "--detach")
        wait_for(lambda: stored(output, "clips"), within_s=WITHIN_S)
        assert rest.cancel(cluster.master, told(output)["job"]["name"])
        wait_for(lambda: job_state(output) == "cancelled", within_s=WITHIN_S)
        before = told(output)["videos"]
        assert before["to_do"]
        printed = cli("summarize", output, expect=1)
        assert "are not recorded and are still to do" in printed
        assert summary(output)["beam_curate"]["num_failed_videos"] >= before["to_do"]
        printed = run(videos, output, *FIXED_STRIDE)
        assert counts(output).get("shots: cached", 0) > 0
        assert snapshot(output) == expected
    shutil.rmtree(output)


def start_and_kill(arguments: list[str], output: Path) -> None:
    """Runs a driver until the first shots are found, and kills it."""
    process = start(arguments)
    wait_for(lambda: stored(output, "shots"), process, WITHIN_S)
    process.kill()
    process.communicate()


def job_state(output: Path) -> str | None:
    """What Flink says of the job of the last run."""
    found = status(LocalStore(output))
    return found and found.job_state


def left(output: Path) -> list[Path]:
    """What runs keep until they end."""
    folders = (output / ".work" / "tmp", output / ".work" / "runs")
    return [path for folder in folders if folder.exists() for path in folder.iterdir() if path.is_dir()]


@pytest.mark.soak
def test_the_commands_of_the_chart_do_the_work_also_after_a_lost_driver(
    videos: Path, direct: tuple[Path, dict[str, str], str], cluster: FlinkCluster, tmp_path: Path
) -> None:
    need(engines.HELM)
    output, expected, _ = direct
    config = {
        "input-video-path": str(videos),
        "output-clip-path": str(output),
        "generate-embeddings": False,
        "generate-cosmos-predict-dataset": "predict2",
        "captioning-algorithm": "describe",
        "text-encoder": "t5_random",
        "splitting-algorithm": "fixed-stride",
        "fixed-stride-split-duration": 5,
    }
    image = {"repository": "registry.example.com/beam-curate", "tag": "0.1.0"}
    resources = rendered(tmp_path, {"image": image, "run": {"config": config}, "taskManager": {"slots": SLOTS}})
    (tmp_path / "run.yaml").write_text(only(resources, "ConfigMap")["data"]["run.yaml"])
    jobs, artifacts = (str(port) for port in free_ports(2))
    here = {
        "curate-beam-curate-rest:8081": cluster.master,
        "curate-beam-curate-jobserver:": "localhost:",
        "localhost:50000": cluster.pool,
        "8099": jobs,
        "8098": artifacts,
        "/etc/beam-curate/run/": f"{tmp_path}/",
    }
    parts = pods(resources)
    serve = arguments_of(containers(parts["jobserver"])["jobserver"], here)
    wait = arguments_of(containers(parts["run"])["wait"], here)
    work = arguments_of(containers(parts["run"])["run"], here)
    with cluster.explained(), job_server(serve, f"localhost:{jobs}", tmp_path / "staged"):
        start_and_kill(work, output)
        assert "RUNNING" in cluster.job_states()

        done = subprocess.run(wait, capture_output=True, text=True, timeout=WITHIN_S)
        assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
        wait_for(lambda: "RUNNING" not in cluster.job_states(), within_s=WITHIN_S)

        done = subprocess.run(work, capture_output=True, text=True, timeout=WITHIN_S)
        assert done.returncode == 0, done.stdout + done.stderr
        assert snapshot(output) == expected
    assert not [path for path in tmp_path.glob("staged/**/*") if path.is_file()]
    shutil.rmtree(output)


def test_a_cluster_with_too_few_slots_is_given_up(cluster: FlinkCluster) -> None:
    command = [sys.executable, "-m", "runners.flink.ready", f"--flink_master={cluster.master}", "--wait-s=1"]
    command += [f"--slots={SLOTS + 1}", f"--job_endpoint={cluster.master}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 1
    assert done.stdout.startswith(
        f"waiting for Flink at {cluster.master}: {SLOTS} of {SLOTS + 1} slots\nerror: gave up"
    )


@contextlib.contextmanager
def job_server(arguments: list[str], endpoint: str, folder: Path) -> Iterator[None]:
    """Runs Beam's job server with a folder for temporary files that nobody else has, as in a pod."""
    folder.mkdir()
    command = ["java", f"-Djava.io.tmpdir={folder}", "-jar", str(engines.JOB_SERVER_JAR), *arguments]
    with Server("job server", command) as server:
        server.wait_until_ready(lambda: listens(endpoint), WITHIN_S)
        yield


def arguments_of(container: Mapping[str, Any], here: Mapping[str, str]) -> list[str]:
    """The command of a container, with names of a cluster replaced by what is on this computer."""
    words = [sys.executable if word == "python" else word for word in container.get("command", [])]
    for word in container["args"]:
        for name, place in here.items():
            word = word.replace(name, place)
        words.append(word)
    return words


def stored(output: Path, stage: str) -> list[Path]:
    return list((output / ".work" / stage).rglob("*.json"))


def counts(output: Path) -> dict[str, int]:
    return summary(output)["beam_curate"]["counts_of_this_run"]
