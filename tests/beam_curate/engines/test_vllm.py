"""The server that a worker starts for its GPU: flags, environment, its end, and that nothing is left behind.

vLLM itself needs a GPU: `misbehaving_server.py` stands in for it here, and `transformers serve` with a real model in
tests/integration/test_model_servers.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_curate import counters
from beam_curate.engines import vllm
from beam_curate.engines.base import Completion, Request, SamplingParams
from beam_curate.engines.endpoint import RequestPolicy
from beam_curate.engines.vllm import VllmEngine, VllmServer
from beam_curate.errors import ModelServerError
from beam_curate.models.catalog import by_name
from beam_curate.models.slot import ModelSlots
from tests.support import misbehaving_server
from tests.support.program import started_by, supervisors_of, wait_for

GREEDY = SamplingParams(max_output_tokens=100)
POLICY = RequestPolicy(concurrency=4, retries=0, delay_s=0.01, timeout_s=60.0)
FOLDER = "/models/tiny"
STAND_IN = f"{shlex.quote(sys.executable)} {shlex.quote(misbehaving_server.__file__)}"


@pytest.fixture(autouse=True)
def _nothing_failed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    vllm._failures.clear()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the logs of those that fail stay
    yield
    assert not servers_of(os.getpid())


def make_server(*flags: str, **changes: Any) -> VllmServer:
    return VllmServer(**{"command": " ".join((STAND_IN, *flags)), "start_timeout_s": 60.0} | changes)


@contextlib.contextmanager
def engine(*flags: str, device: str = "cpu", **changes: Any) -> Iterator[VllmEngine]:
    made = VllmEngine(make_server(*flags, **changes), FOLDER, POLICY, device)
    try:
        yield made
    finally:
        made.close()


def make_request() -> Request:
    return Request("What happens?", np.zeros((2, 28, 28, 3), np.uint8), 2.0, 0, 23)


def texts(completions: list[Completion | Exception]) -> list[str]:
    return [completion.text if isinstance(completion, Completion) else str(completion) for completion in completions]


def servers_of(pid: int) -> list[int]:
    """The servers that a process has started, without their supervisors."""
    return [child for supervisor in supervisors_of(pid) for child in started_by(supervisor)]


def is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_vllm_gets_its_flags_and_the_user_has_the_last_word() -> None:
    words = make_server(command="/opt/bin/vllm serve --max-model-len=65536 --seed 7", fp8=True, media="mp4").arguments(
        FOLDER, 8123
    )
    assert words[:3] == ["/opt/bin/vllm", "serve", "--max-model-len=65536"]
    assert words[5:10] == [FOLDER, "--host", "127.0.0.1", "--port", "8123"]
    given = dict(zip(words[10::2], words[11::2], strict=True))
    assert given["--dtype"] == "bfloat16"
    assert given["--quantization"] == "fp8"
    assert json.loads(given["--limit-mm-per-prompt"]) == {"image": 768, "video": 1}
    assert json.loads(given["--media-io-kwargs"]) == {"video": {"num_frames": -1}}
    assert not {"--max-model-len", "--seed"} & given.keys()


def test_another_server_gets_folder_host_and_port_alone() -> None:
    assert make_server(command="transformers serve").arguments(FOLDER, 8123) == [
        "transformers", "serve", FOLDER, "--host", "127.0.0.1", "--port", "8123",
    ]  # fmt: skip


def test_a_server_answers_under_the_name_of_its_folder_and_is_gone_when_it_is_closed() -> None:
    with engine("--child") as asked:
        assert texts(asked.generate([make_request()] * 3, GREEDY)) == [FOLDER] * 3
        (pid,) = servers_of(os.getpid())
        (child,) = started_by(pid)
    assert not is_running(pid)
    assert not is_running(child)


def test_nothing_is_started_before_the_first_question() -> None:
    with engine():
        assert not servers_of(os.getpid())


def test_a_server_sees_its_gpu_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("VLLM_API_KEY", "sk-other")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # where nobody listens
    with engine("--tells-environment", device="cuda:1") as asked:
        environment = json.loads(*texts(asked.generate([make_request()], GREEDY)))
    assert environment["CUDA_VISIBLE_DEVICES"] == "6"
    assert not {"OPENAI_API_KEY", "VLLM_API_KEY"} & environment.keys()


def test_a_server_outlives_the_thread_that_started_it() -> None:
    with engine() as asked:
        thread = threading.Thread(target=asked.generate, args=([make_request()], GREEDY))
        thread.start()
        thread.join()
        before = servers_of(os.getpid())
        assert texts(asked.generate([make_request()], GREEDY)) == [FOLDER]
        assert servers_of(os.getpid()) == before


def test_what_a_dying_server_took_with_it_is_asked_again() -> None:
    # Seven questions reach it before, of which at least four are answered: four at a time are on their way.
    with engine("--dies-at", "8") as asked:
        assert texts(asked.generate([make_request()] * 8, GREEDY)) == [FOLDER] * 8
    assert len(vllm._failures["cpu"]) == 1


def test_a_server_that_was_killed_is_started_again_for_the_next_question() -> None:
    with engine() as asked:
        asked.generate([make_request()], GREEDY)
        (first,) = servers_of(os.getpid())
        os.kill(first, signal.SIGKILL)
        assert texts(asked.generate([make_request()], GREEDY)) == [FOLDER]
        (second,) = servers_of(os.getpid())
        assert second != first


def test_threads_share_the_server_and_its_restart() -> None:
    completions: list[str] = []
    with engine("--dies-at", "9") as asked:
        threads = [
            threading.Thread(target=lambda: completions.extend(texts(asked.generate([make_request()] * 3, GREEDY))))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert completions == [FOLDER] * 12
    assert len(vllm._failures["cpu"]) == 1


def test_a_server_that_always_dies_is_given_up_after_three_restarts() -> None:
    with engine("--dies-at", "1") as asked:
        (completion,) = asked.generate([make_request()], GREEDY)
        (later,) = asked.generate([make_request()], GREEDY)
    for error in (completion, later):
        assert isinstance(error, ModelServerError)
        assert error.retriable
        assert "failed 4 times" in str(error)
        assert "exit status 3" in str(error)


def test_a_server_that_does_not_start_says_what_it_printed_and_where_the_rest_is() -> None:
    with engine("--fails") as asked:
        (error,) = asked.generate([make_request()], GREEDY)
    assert isinstance(error, ModelServerError)
    assert "no kernel image is available" in str(error)
    assert "exit status 1" in str(error)
    (log,) = (word.rstrip(":") for word in str(error).split() if word.endswith(".log:"))
    assert "serving /models/tiny" in Path(log).read_text()


def test_a_server_that_breaks_at_its_questions_tells_its_own_reason_and_its_log_stays() -> None:
    with engine("--breaks") as asked:
        first, other = asked.generate([make_request()] * 2, GREEDY)
        assert servers_of(os.getpid())  # it is alive
    for error in (first, other):
        assert isinstance(error, ModelServerError)
        assert "HTTP 500: internal error" in str(error)
        assert "RuntimeError: CUDA error: no kernel image is available" in str(error)
    (log,) = {word.rstrip(":") for word in str(first).split() if word.endswith(".log:")}
    assert "Traceback" in Path(log).read_text()


def test_a_server_that_answers_otherwise_leaves_no_log(tmp_path: Path) -> None:
    with engine() as asked:
        asked.generate([make_request()], GREEDY)
    assert not list(tmp_path.glob("*.log"))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "nothing"),
        (["loading", "ready"], "loading | ready"),
        (
            ["ValueError: no such frame", 'INFO "POST / HTTP/1.1" 500 Internal Server Error'],
            "ValueError: no such frame",
        ),
        (
            ["ERROR 07-03 [core.py:1] torch.OutOfMemoryError: CUDA out of memory.", "EngineDeadError: see (above)"],
            "ERROR 07-03 [core.py:1] torch.OutOfMemoryError: CUDA out of memory.",
        ),
        (["KeyError: 'a'", "closed"], "KeyError: 'a'"),
        (["A" * 10_000], "A" * 300),
    ],
)
def test_the_reason_among_the_lines_of_a_server(lines: list[str], reason: str) -> None:
    assert vllm.error_line(lines) == reason


def test_a_command_that_is_not_there_is_named() -> None:
    with engine(command="no-such-program serve") as asked:
        (error,) = asked.generate([make_request()], GREEDY)
    assert "no-such-program cannot be started" in str(error)


def test_a_server_that_is_not_ready_in_time_is_stopped() -> None:
    with engine("--never-ready", start_timeout_s=5.0) as asked:
        (error,) = asked.generate([make_request()], GREEDY)
        assert not servers_of(os.getpid())
    assert isinstance(error, ModelServerError)
    assert "--vllm-start-timeout-s" in str(error)
    (log,) = (word.rstrip(":") for word in str(error).split() if word.endswith(".log:"))
    assert "serving /models/tiny" in Path(log).read_text()


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit()", "os._exit(1)"])
def test_nothing_is_left_behind_however_the_worker_ends(end: str) -> None:
    program = f"""
import os, signal, sys
from beam_curate.engines.endpoint import RequestPolicy
from beam_curate.engines.vllm import VllmEngine, VllmServer
engine = VllmEngine({make_server("--child")!r}, {FOLDER!r}, {POLICY!r}, "cpu")
engine._ensure_running()
print("ready", flush=True)
sys.stdin.readline()
{end}
"""
    worker = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdin is not None and worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    (pid,) = servers_of(worker.pid)
    (child,) = started_by(pid)
    worker.communicate("\n")
    wait_for(lambda: not is_running(pid) and not is_running(child), within_s=60)


def test_a_supervisor_that_is_killed_takes_the_server_with_it() -> None:
    with engine() as asked:
        asked.generate([make_request()], GREEDY)
        (pid,) = servers_of(os.getpid())
        os.kill(asked._running.server.pid, signal.SIGKILL)
        wait_for(lambda: not is_running(pid), within_s=60)
        assert texts(asked.generate([make_request()], GREEDY)) == [FOLDER]


def test_a_reference_survives_pickling_and_names_the_folder_of_the_model(tmp_path: Path) -> None:
    reference = vllm.reference(by_name("cosmos_reason1"), VllmServer(STAND_IN), POLICY, str(tmp_path))
    one, other = (pickle.loads(pickle.dumps(reference)) for _ in range(2))
    slots = ModelSlots(lambda: {"cpu": 16.0})
    counters.reset()
    with slots.borrow(one) as first, slots.borrow(other) as second:
        completions = first.generate([make_request()], GREEDY) + second.generate([make_request()], GREEDY)
    assert texts(completions) == [str(tmp_path / "models" / "nvidia" / "Cosmos-Reason1-7B")] * 2
    assert counters.counts()[f"models loaded: {one.name}"] == 1
    slots.clear()
