"""The engine ``vllm``: a vLLM server on this computer, which the worker starts for its GPU and stops."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import os
import shlex
import threading
from collections.abc import Sequence
from pathlib import Path

from beam_curate.engines.base import Answer, Generation, Question
from beam_curate.engines.endpoint import Asking, EndpointEngine
from beam_curate.errors import ModelServerError
from beam_curate.models.catalog import CAPTIONERS, Model, by_name
from beam_curate.models.slot import ModelRef
from beam_curate.options.captions import CaptionOptions
from beam_curate.processes.server import ServerProcess, free_port
from beam_curate.weights import fetch

# As cosmos-curate runs these models in vLLM; pictures are allowed as well, as many as a window has frames at most.
_FLAGS = {
    "--dtype": "bfloat16",
    "--max-model-len": "32768",
    "--gpu-memory-utilization": "0.85",
    "--limit-mm-per-prompt": json.dumps({"image": 768, "video": 1}),
    "--generation-config": "vllm",  # what our flags say, not what the model's folder does
    "--seed": "0",
}
# vLLM would take 32 frames of a video that has more.
_ALL_FRAMES = {"--media-io-kwargs": json.dumps({"video": {"num_frames": -1}})}
_FP8 = {"--quantization": "fp8"}
# The server shall not want a key, nor know ours.
_KEYS = ("OPENAI_API_KEY", "VLLM_API_KEY")
_MOST_RESTARTS = 3
_MOMENT_S = 1.0

_failures: collections.defaultdict[str, list[str]] = collections.defaultdict(list)
"""How servers ended by themselves or did not start, in this process, by device."""


@dataclasses.dataclass(frozen=True)
class Launch:
    """How a server is started.

    Attributes:
        command: Value of ``--vllm-command``.
        folder: The model's folder, which is also the name under which the server knows it.
        media: What it is sent, ``frames`` or ``mp4``.
        fp8: Whether weights become 8-bit floating point while they are loaded.
        timeout_s: Longest wait until it is ready, in s.
    """

    command: str
    folder: str
    media: str
    fp8: bool
    timeout_s: float

    @property
    def is_vllm(self) -> bool:
        """Whether the command starts vLLM."""
        return any(Path(word).name == "vllm" or word.startswith("vllm.") for word in shlex.split(self.command))

    def arguments(self, port: int) -> list[str]:
        """Returns the whole command; vLLM gets its flags, save those that the command has already."""
        words = shlex.split(self.command)
        line = [*words, self.folder, "--host", "127.0.0.1", "--port", str(port)]
        if not self.is_vllm:
            return line
        flags = _FLAGS | (_ALL_FRAMES if self.media == "mp4" else {}) | (_FP8 if self.fp8 else {})
        given = {word.partition("=")[0] for word in words}
        return [*line, *(word for name, value in flags.items() if name not in given for word in (name, value))]


@dataclasses.dataclass(frozen=True)
class _Life:
    """A server from its start to its end, and what asks it."""

    process: ServerProcess
    engine: EndpointEngine


class ServerEngine:
    """Asks a server of its own, and starts it: for the first question, and again when it has ended.

    Args:
        launch: How it is started.
        asking: How it is asked.
        device: What torch calls the device that it shall use.
    """

    def __init__(self, launch: Launch, asking: Asking, device: str) -> None:
        self._launch = launch
        self._asking = asking
        self._device = device
        self._lock = threading.Lock()
        self._life: _Life | None = None

    def answer(self, questions: Sequence[Question], generation: Generation) -> list[Answer | Exception]:
        """Answers questions; see `Engine`. Those that a server took with it when it ended are asked again."""
        try:
            life = self._living()
        except ModelServerError as error:
            return [error.with_traceback(None)] * len(questions)
        answers = life.engine.answer(questions, generation)
        lost = [position for position, answer in enumerate(answers) if isinstance(answer, ModelServerError)]
        if lost and life.process.has_ended(within_s=_MOMENT_S):
            again = self.answer([questions[position] for position in lost], generation)
            for position, answer in zip(lost, again, strict=True):
                answers[position] = answer
        elif lost:
            reason = life.process.own_reason()
            life.process.keep_log()
            for position in lost:
                answers[position] = ModelServerError(
                    f"{answers[position]}; the server's own reason, from {life.process.log}: {reason}"
                )
        return answers

    def close(self) -> None:
        """Stops the server."""
        with self._lock:
            self._end()

    def _living(self) -> _Life:
        """Returns the server, started anew where it has ended; it waits until the server is ready.

        Raises:
            ModelServerError: It does not start, or has failed too often in this process.
        """
        with self._lock:
            if self._life is not None and not self._life.process.has_ended():
                return self._life
            failures = _failures[self._device]
            if self._life is not None:
                failures.append(self._life.process.how_it_ended())
                self._end()
            if len(failures) > _MOST_RESTARTS:
                raise ModelServerError(
                    f"the model server failed {len(failures)} times and is not started again in this process; at last "
                    f"{failures[-1]}"
                )
            self._life = self._start()
            return self._life

    def _start(self) -> _Life:
        port = free_port()
        process = ServerProcess(self._launch.arguments(port), port, _environment(self._device))
        try:
            process.wait_until_ready(self._launch.timeout_s)
        except ModelServerError as error:
            _failures[self._device].append(str(error))
            raise
        known = True if self._launch.is_vllm else None
        return _Life(process, EndpointEngine(process.url, self._launch.folder, self._asking, None, True, known))

    def _end(self) -> None:
        if self._life is not None:
            self._life.engine.close()
            self._life.process.stop()
            self._life = None


def reference(options: CaptionOptions, workspace: str, weights_path: str | None = None) -> ModelRef:
    """Returns a reference to a model of the catalog that a vLLM server runs.

    Args:
        options: The model's algorithm, how its server is started and asked.
        workspace: Where the model's folder lies.
        weights_path: Value of ``--model-weights-path``: where a worker that lacks it takes it from.
    """
    model = by_name(CAPTIONERS[options.captioning_algorithm])
    launch = Launch(
        options.vllm_command,
        str(model.folder(workspace)),
        options.captioning_endpoint_media,
        options.qwen_use_fp8_weights,
        options.vllm_start_timeout_s,
    )
    load = functools.partial(
        _load, launch=launch, asking=Asking.of(options), model=model, workspace=workspace, weights_path=weights_path
    )
    return ModelRef(model.name, load, shared=True)


def _load(
    device: str, launch: Launch, asking: Asking, model: Model, workspace: str, weights_path: str | None
) -> ServerEngine:
    if weights_path is not None:
        fetch.ensure(model, workspace, weights_path)
    return ServerEngine(launch, asking, device)


def _environment(device: str) -> dict[str, str]:
    """Returns the environment of a server: without keys, and of the GPUs the one that is meant."""
    environment = {name: value for name, value in os.environ.items() if name not in _KEYS}
    kind, _, index = device.partition(":")
    if kind == "cuda" and index:
        # torch counts the GPUs that this process sees.
        seen = environment.get("CUDA_VISIBLE_DEVICES", "")
        environment["CUDA_VISIBLE_DEVICES"] = seen.split(",")[int(index)] if seen else index
    return environment
