"""Captions from model servers: the program as a process against a server that misbehaves, and against a real one.

The real one is `transformers serve` with a tiny Qwen2.5-VL. vLLM itself needs a GPU; where the engine ``vllm`` is
tested here, ``--vllm-command`` names that server, or `misbehaving_server.py` as a stand-in.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_curate.dataset.verify.verify import verify
from beam_curate.engines.base import Completion, Request, SamplingParams
from beam_curate.engines.endpoint import Endpoint, EndpointEngine, RequestPolicy
from beam_curate.engines.vllm import VllmEngine, VllmServer
from tests.support import misbehaving_server
from tests.support.media import make_video, read_frame_number
from tests.support.misbehaving_server import BLOCKED, BROKEN, MisbehavingServer, Reply, chat_completion, pictures_of
from tests.support.program import command, dataset_stems, run, start, started_by, summary, supervisors_of, wait_for
from tests.support.tiny_models import PLAIN, make_qwen2_5_vl

TRANSFORMERS = shlex.join([str(Path(sys.executable).with_name("transformers")), "serve"])
STAND_IN = shlex.join([sys.executable, misbehaving_server.__file__])
POLICY = RequestPolicy(concurrency=4, retries=1, delay_s=0.1, timeout_s=60.0)
KEY = "sk-this-is-a-secret-0123456789"
# Four clips of one window each, and each of them a chunk: what is computed and redone together.
STRIDE = ("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", "10", "--clip-re-chunk-size", "1")
QUICK = ("--openai-caption-retries", "1", "--openai-retry-delay-seconds", "0.01")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    make_video(folder / "one.mp4", frames=480, rate=Fraction(12))
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    make_qwen2_5_vl(folder / "models" / "Qwen" / "Qwen2.5-VL-7B-Instruct", says=PLAIN)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _a_cache_without_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


def windows(output: Path) -> dict[int, dict[str, Any]]:
    """The records of the windows, by the first frame of their clip in the video."""
    metas = [json.loads(path.read_text()) for path in (output / "metas" / "v0").glob("*.json")]
    return {meta["frame_span"][0]: meta["windows"][0] for meta in metas}


def first_frame(body: dict[str, Any]) -> int:
    return read_frame_number(pictures_of(body)[0])


def gone(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def offspring(pid: int) -> list[int]:
    return [found for child in started_by(pid) for found in (child, *offspring(child))]


def test_a_run_against_a_server_that_misbehaves(footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips begin at the frames 0, 120, 240 and 360: captioned, blocked, failing once, and failing for ever."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    output = tmp_path / "out"
    seen: list[int] = []
    mended = False

    def otherwise(body: dict[str, Any]) -> Reply:
        number = first_frame(body)
        seen.append(number)
        if number == 120:
            return BLOCKED
        if not mended and (number == 360 or (number == 240 and seen.count(240) == 1)):
            return BROKEN
        return Reply(body=chat_completion(f"It begins at {number}."))

    with MisbehavingServer(otherwise=otherwise).running() as server:
        flags = (*STRIDE, *QUICK, "--captioning-algorithm", "openai", "--captioning-endpoint", server.url)
        printed = run(footage, output, *flags)
        assert sorted(seen) == [0, 120, 240, 240, 360, 360]
        first = windows(output)
        assert {number: window["caption_status"] for number, window in first.items()} == {
            0: "success",
            120: "blocked",
            240: "success",
            360: "error",
        }
        assert "ModelServerError" in printed
        assert "HTTP 500: internal error" in printed
        assert len(dataset_stems(output)) == 2

        mended = True
        seen.clear()
        printed += run(footage, output, *flags)
        assert seen == [360]
        seen.clear()
        printed += run(footage, output, *flags)
        assert seen == []
    second = windows(output)
    assert second[360]["openai_caption"] == "It begins at 360."
    assert second[120]["caption_status"] == "blocked"
    assert len(dataset_stems(output)) == 3
    assert verify(output / "cosmos_predict2_video2world_dataset", allow_random_embeddings=True).ok
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert KEY not in printed
    for path in output.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_server_that_cannot_be_used_ends_the_run_before_the_first_video(footage: Path, tmp_path: Path) -> None:
    with MisbehavingServer(models=()).running() as server:
        flags = ("--captioning-algorithm", "openai", "--captioning-endpoint", server.url)
        printed = run(footage, tmp_path / "out", *STRIDE, *flags, expect=2)
    assert "--captioning-endpoint-model" in printed
    assert not server.requests


def test_transformers_serve_answers_and_comes_back_when_it_is_killed(workspace: Path) -> None:
    folder = str(workspace / "models" / "Qwen" / "Qwen2.5-VL-7B-Instruct")
    pictures = np.random.default_rng(0).integers(0, 255, (4, 56, 84, 3), np.uint8)
    request = Request("What happens?", pictures, 2.0, 0, 95)
    engine = VllmEngine(VllmServer(TRANSFORMERS, start_timeout_s=120.0), folder, POLICY, "cpu")
    try:
        url = engine._ensure_running().url
        check_what_a_real_server_answers(EndpointEngine(Endpoint(url, folder), POLICY), request)
        short = SamplingParams(5)
        expected = engine.generate([request], short)
        assert isinstance(expected[0], Completion)
        (supervisor,) = supervisors_of(os.getpid())
        (server,) = started_by(supervisor)

        later: list[Any] = []
        thread = threading.Thread(target=lambda: later.extend(engine.generate([request] * 12, short)))
        thread.start()
        wait_for(
            lambda: sum("POST" in line for line in engine._ensure_running().server.lines) > 6
        )  # in the middle of its work
        os.kill(server, signal.SIGKILL)
        thread.join()
        assert later == expected * 12
        processes = offspring(supervisor) + supervisors_of(os.getpid())
    finally:
        engine.close()
    assert all(gone(pid) for pid in processes if b"serve" in cmdline(pid))


def cmdline(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def check_what_a_real_server_answers(engine: EndpointEngine, request: Request) -> None:
    """Counts tokens, says when an answer was cut off, and is asked without what it refuses."""
    whole, cut = (engine.generate([request], SamplingParams(most))[0] for most in (100, 5))
    assert isinstance(whole, Completion) and isinstance(cut, Completion)
    assert (whole.text, whole.finish, cut.finish) == (PLAIN, "stop", "length")
    assert PLAIN.startswith(cut.text)
    assert cut.output_tokens == 5
    assert whole.prompt_tokens == cut.prompt_tokens > 4 * 6  # 2 x 3 tokens a picture
    # It knows neither field, which is learnt from what it refuses.
    (adapted,) = engine.generate([request], SamplingParams(100, repetition_penalty=1.05, min_tokens=16))
    assert adapted == whole


def test_a_run_that_starts_a_real_server_leaves_none_behind(footage: Path, workspace: Path, tmp_path: Path) -> None:
    flags = ("--captioning-algorithm", "qwen", "--captioning-engine", "vllm", "--vllm-command", TRANSFORMERS)
    output = tmp_path / "out"
    run(footage, output, *STRIDE, *QUICK, *flags, "--workspace", str(workspace))
    assert {window["qwen_caption"] for window in windows(output).values()} == {PLAIN}
    assert summary(output)["beam_curate"]["counts_of_this_run"]["models loaded: qwen2.5_vl"] == 1
    assert not [path for path in Path("/proc").glob("[0-9]*") if str(workspace).encode() in cmdline(int(path.name))]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_leaves_no_server_behind(
    number: signal.Signals, footage: Path, workspace: Path, tmp_path: Path
) -> None:
    flags = ("--captioning-algorithm", "qwen", "--captioning-engine", "vllm", "--workspace", str(workspace))
    hanging = f"{STAND_IN} --hangs --child"
    program = start(command(footage, tmp_path / "out", *STRIDE, *flags, "--vllm-command", hanging))
    try:
        wait_for(lambda: any(b"sleep" in cmdline(pid) for pid in offspring(program.pid)), program)
        processes = [pid for pid in offspring(program.pid) if b"sleep" in cmdline(pid) or b"--hangs" in cmdline(pid)]
        assert len(processes) == 3  # the supervisor, the server, and what that started
        program.send_signal(number)
        program.communicate(timeout=30)
        wait_for(lambda: all(gone(pid) for pid in processes), within_s=30)
    finally:
        program.kill()
