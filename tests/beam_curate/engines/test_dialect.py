"""A server that is vLLM is told that the frames of a video were sampled already; no other server hears of it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers.video_utils import VideoMetadata

from beam_curate.engines.base import Completion, Request, SamplingParams
from beam_curate.engines.dialect import KEEP_ALL_FRAMES
from beam_curate.engines.endpoint import Endpoint, EndpointEngine, RequestPolicy
from beam_curate.engines.transformers_engine import load_folder
from beam_curate.engines.vllm import VllmEngine, VllmServer
from tests.support import misbehaving_server
from tests.support.misbehaving_server import MisbehavingServer, Reply, refusal
from tests.support.tiny_models import make_qwen3_vl

GREEDY = SamplingParams(100)
REQUEST = Request("Hi.", np.zeros((4, 56, 56, 3), np.uint8), 2.0, 0, 47)
VERSION = Reply(body={"version": "0.11.0"})
NO_PAGE = refusal(404, "no such page")


def listing(*owners: str | None, ids: tuple[str, ...] = ("served", "other", "third")) -> Reply:
    """A list of models; an owner that is None is not named."""
    models = [
        {"id": name} | ({} if owner is None else {"owned_by": owner}) for name, owner in zip(ids, owners, strict=False)
    ]
    return Reply(body={"object": "list", "data": models})


POLICY = RequestPolicy(concurrency=4, retries=0, delay_s=0.01, timeout_s=5.0)


def make_engine(url: str, model: str | None = "served", media: str = "mp4", **known: Any) -> EndpointEngine:
    return EndpointEngine(Endpoint(url, model, media), POLICY, **known)


def told(server: MisbehavingServer, media: str = "mp4", model: str | None = "served") -> list[Any]:
    """What each of three requests says of the processor."""
    completions = make_engine(server.url, model, media).generate([REQUEST] * 3, GREEDY)
    assert all(isinstance(completion, Completion) for completion in completions), completions
    return [body.get("mm_processor_kwargs") for body in server.requests]


@pytest.mark.parametrize(
    ("models", "version", "is_vllm"),
    [
        (listing("vllm"), NO_PAGE, True),
        (listing("vllm"), VERSION, True),
        (listing("vllm", "openai"), NO_PAGE, True),
        (listing(None), VERSION, True),  # some routers before vLLM name no owner
        (listing(), VERSION, True),
        (NO_PAGE, VERSION, True),
        (Reply(body="<html>"), VERSION, True),
        (Reply(body=[1]), VERSION, True),
        (listing(None), NO_PAGE, False),
        (listing(None), Reply(body="<html>"), False),
        (listing(None), Reply(body={"version": "1.0", "name": "other"}), False),
        (listing(None), Reply(body=["version"]), False),
        (listing("openai"), VERSION, False),
        (listing("sglang"), VERSION, False),
        (listing("llamacpp"), VERSION, False),
        (listing("library"), VERSION, False),
        (listing("organization_owner"), VERSION, False),
        (listing("mistralai", "vllm"), VERSION, False),  # a router, and the model that is asked for is another server's
        (Reply(body={"data": "none"}), NO_PAGE, False),
        (refusal(500, "broken"), refusal(500, "broken"), False),
    ],
)
def test_who_is_told(models: Reply, version: Reply, is_vllm: bool) -> None:
    with MisbehavingServer(models=models, version=version).running() as server:
        assert told(server) == [{"do_sample_frames": False} if is_vllm else None] * 3


def test_pictures_are_no_video() -> None:
    with MisbehavingServer(models=listing("vllm")).running() as server:
        assert told(server, media="frames") == [None] * 3


def test_the_only_model_of_a_server_is_asked_for() -> None:
    with MisbehavingServer(models=listing("vllm")).running() as server:
        assert told(server, model=None) == [{"do_sample_frames": False}] * 3


@pytest.mark.parametrize("host", ["api.openai.com", "example.openai.azure.com"])
def test_openai_itself_is_never_told_nor_asked(host: str) -> None:
    engine = make_engine(f"https://{host}/v1", "gpt", is_vllm=True)
    assert not engine._kind.is_vllm("gpt")


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(status: int) -> None:
    busy = MisbehavingServer(models=refusal(status, "starting"))
    with busy.running():
        engine = make_engine(busy.url)
        engine.generate([REQUEST], GREEDY)
        busy._models = listing("vllm")
        engine.generate([REQUEST], GREEDY)
    assert [body.get("mm_processor_kwargs") for body in busy.requests] == [None, {"do_sample_frames": False}]


def test_a_server_that_cannot_be_asked_now_is_asked_again() -> None:
    with MisbehavingServer(models=listing("vllm")).running() as server:
        engine = make_engine("http://127.0.0.1:9/v1")
        assert not engine._kind.is_vllm("served")
        engine._kind._client = make_engine(server.url)._client
        assert engine._kind.is_vllm("served")


def test_a_vllm_that_was_started_here_is_known(tmp_path: Path) -> None:
    """A program of that name stands in for it, which says nothing of what it is and repeats what it is told."""
    program = tmp_path / "vllm"
    stand_in = shlex.join([sys.executable, "-c", ECHO, misbehaving_server.__file__])
    program.write_text(f'#!/bin/sh\nwhile [ "$1" != --port ]; do shift; done\nexec {stand_in} "$2"\n')
    program.chmod(0o755)
    server = VllmServer(str(program), "mp4")
    assert server.is_vllm
    engine = VllmEngine(server, "/models/tiny", POLICY, "cpu")
    try:
        (completion,) = engine.generate([REQUEST], GREEDY)
    finally:
        engine.close()
    assert isinstance(completion, Completion) and completion.text == "{'do_sample_frames': False}"


ECHO = """
import runpy, sys, threading
module = runpy.run_path(sys.argv[1])
reply = lambda body: module["Reply"](body=module["chat_completion"](str(body.get("mm_processor_kwargs"))))
with module["MisbehavingServer"](otherwise=reply, port=int(sys.argv[2])).running():
    threading.Event().wait()
"""


@pytest.mark.parametrize("command", ["transformers serve", "python server.py", "/opt/vllm-tools/serve"])
def test_another_program_is_asked_what_it_is(command: str) -> None:
    assert not VllmServer(command).is_vllm


@pytest.mark.parametrize(("frames", "rate", "again"), [(40, 4.0, 20), (40, 2.0, 40), (60, 10.0, 12), (6, 30.0, 4)])
def test_what_it_is_told_keeps_all_frames(tmp_path: Path, frames: int, rate: float, again: int) -> None:
    """The processor of Qwen3-VL, as vLLM calls it with all frames of a video and its rate."""
    processor = load_folder(make_qwen3_vl(tmp_path), "cpu", "float32")._processor
    video = np.zeros((frames, 3, 64, 64), np.uint8)

    def grids(**told: Any) -> int:
        facts = VideoMetadata(total_num_frames=frames, fps=rate, frames_indices=list(range(frames)))
        seen = processor.video_processor(videos=[video], video_metadata=[facts], do_resize=False, **told)
        return int(seen["video_grid_thw"][0][0])

    assert grids(do_sample_frames=True) == again // 2
    assert grids(**KEEP_ALL_FRAMES["mm_processor_kwargs"]) == frames // 2
