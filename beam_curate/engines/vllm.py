"""The engine ``vllm``: a vLLM server on this computer, which the worker starts for its GPU and stops."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import math
import os
import re
import shlex
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from beam_curate.engines.base import Completion, Request, SamplingParams
from beam_curate.engines.endpoint import Endpoint, EndpointEngine, RequestPolicy
from beam_curate.errors import ModelServerError
from beam_curate.models.catalog import Model
from beam_curate.models.requirements import VLLM_SHARE, vllm_gb
from beam_curate.models.slot import ModelRef, torch_devices
from beam_curate.processes.server import Server, ServerError, free_ports
from beam_curate.weights.fetch import WeightsSource, ensure

# As cosmos-curate runs these models in vLLM; images are allowed as well, up to the maximum number of sampled frames.
_FLAGS = {
    "--dtype": "bfloat16",
    "--max-model-len": "32768",
    "--limit-mm-per-prompt": json.dumps({"image": 768, "video": 1}),
    "--generation-config": "vllm",  # sampling follows our flags, not the model's folder
    "--seed": "0",
}
# By default vLLM samples 32 frames of longer videos.
_ALL_FRAMES = {"--media-io-kwargs": json.dumps({"video": {"num_frames": -1}})}
_FP8 = {"--quantization": "fp8"}
# The server must neither require a key nor see ours.
_KEYS = ("OPENAI_API_KEY", "VLLM_API_KEY")
_MOST_RESTARTS = 3
_MOMENT_S = 1.0
_PAGES = ("/health", "/v1/models")  # servers that lack the first have the second
_ERROR_LINE = re.compile(r"\b[A-Z]\w*(?:Error|Exception)\b|\bout of memory\b|\bCUDA error\b", re.IGNORECASE)
_NO_REASON = re.compile(r"HTTP/1|EngineDeadError|\(above\)|Exception in ASGI", re.IGNORECASE)
_LINES_SHOWN, _CHARACTERS_SHOWN = 15, 300

_failures: collections.defaultdict[str, list[str]] = collections.defaultdict(list)
"""Messages about servers that crashed or failed to start in this process, by device."""


@dataclasses.dataclass(frozen=True)
class VllmServer:
    """How a server for a model is started.

    >>> VllmServer().is_vllm, VllmServer("transformers serve").is_vllm
    (True, False)

    Attributes:
        command: Program and arguments, as in a shell; the model's folder, ``--host`` and ``--port`` follow.
        media: How frames are sent to it: ``frames`` as JPEG images, ``mp4`` as a video.
        fp8: Whether vLLM quantizes the weights to 8-bit floating point while loading.
        start_timeout_s: Longest wait until it is ready, in s.
        others_gb: GPU memory that the run's other models need, in GB (10^9 bytes).
    """

    command: str = "vllm serve"
    media: str = "frames"
    fp8: bool = False
    start_timeout_s: float = 1800.0
    others_gb: float = 0.0

    @property
    def is_vllm(self) -> bool:
        """Whether the command starts vLLM."""
        return any(Path(word).name == "vllm" or word.startswith("vllm.") for word in shlex.split(self.command))

    def arguments(self, folder: str, port: int, share: float = VLLM_SHARE) -> list[str]:
        """Returns the full command line; vLLM also gets the flags that the command does not set itself.

        >>> VllmServer("transformers serve").arguments("/models/tiny", 8000)
        ['transformers', 'serve', '/models/tiny', '--host', '127.0.0.1', '--port', '8000']

        Args:
            folder: The model's folder, which is also the model's name on the server.
            port: Port on 127.0.0.1.
            share: Part of the GPU's memory that vLLM takes for itself.
        """
        words = shlex.split(self.command)
        line = [*words, folder, "--host", "127.0.0.1", "--port", str(port)]
        if not self.is_vllm:
            return line
        flags = (
            _FLAGS
            | {"--gpu-memory-utilization": f"{share:.2f}"}
            | (_ALL_FRAMES if self.media == "mp4" else {})
            | (_FP8 if self.fp8 else {})
        )
        given = {word.partition("=")[0] for word in words}
        return [*line, *(word for name, value in flags.items() if name not in given for word in (name, value))]


@dataclasses.dataclass(frozen=True)
class _RunningServer:
    """A running server and the engine that sends requests to it."""

    server: Server
    url: str
    engine: EndpointEngine


class VllmEngine:
    """Sends requests to a server that it starts on the first request, and restarts after a crash.

    Args:
        server: How the server is started.
        folder: The model's folder.
        policy: Concurrency, retries and timeouts.
        device: torch's name of the device to use.
        share: Part of the device's memory that vLLM takes for itself.
    """

    def __init__(
        self, server: VllmServer, folder: str, policy: RequestPolicy, device: str, share: float = VLLM_SHARE
    ) -> None:
        self._server = server
        self._folder = folder
        self._policy = policy
        self._device = device
        self._share = share
        self._lock = threading.Lock()
        self._running: _RunningServer | None = None

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion | Exception]:
        """Returns completions; see `Engine`. Requests lost in a crash of the server are sent again."""
        try:
            running = self._ensure_running()
        except ModelServerError as error:
            return [error.with_traceback(None)] * len(requests)
        completions = running.engine.generate(requests, params)
        lost = [position for position, completion in enumerate(completions) if isinstance(completion, ModelServerError)]
        if lost and running.server.has_ended(within_s=_MOMENT_S):
            again = self.generate([requests[position] for position in lost], params)
            for position, completion in zip(lost, again, strict=True):
                completions[position] = completion
        elif lost:
            reason = f"error in the server's log, {running.server.save_log()}: {error_line(running.server.lines)}"
            for position in lost:
                completions[position] = ModelServerError(f"{completions[position]}; {reason}")
        return completions

    def close(self) -> None:
        """Stops the server."""
        with self._lock:
            self._end()

    def _ensure_running(self) -> _RunningServer:
        """Returns a server that is ready; starts it, or restarts it after a crash.

        Raises:
            ModelServerError: It does not start, or has crashed too often in this process.
        """
        with self._lock:
            if self._running is not None and not self._running.server.has_ended():
                return self._running
            failures = _failures[self._device]
            if self._running is not None:
                failures.append(self._running.server.how_it_ended())
                self._running.server.stop()
                self._running = None  # its client stays open for threads that are still using it
            if len(failures) > _MOST_RESTARTS:
                raise ModelServerError(
                    f"the model server failed {len(failures)} times and is not restarted here; last failure: "
                    f"{failures[-1]}"
                )
            self._running = self._start()
            return self._running

    def _start(self) -> _RunningServer:
        (port,) = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        command, environment = self._server.arguments(self._folder, port, self._share), _environment(self._device)
        server = Server("the model server", command, environment=environment)
        try:
            server.wait_until_ready(lambda: _is_healthy(url), self._server.start_timeout_s, "--vllm-start-timeout-s")
        except ServerError as error:
            _failures[self._device].append(str(error))
            raise ModelServerError(str(error)) from error
        endpoint = Endpoint(f"{url}/v1", self._folder, self._server.media)
        known = True if self._server.is_vllm else None
        return _RunningServer(server, endpoint.url, EndpointEngine(endpoint, self._policy, direct=True, is_vllm=known))

    def _end(self) -> None:
        if self._running is not None:
            self._running.engine.close()
            self._running.server.stop()
            self._running = None


def error_line(lines: Sequence[str]) -> str:
    """Returns the last of a server's lines that names an error, else its last lines in one.

    >>> error_line(["INFO loading", "ValueError: no such file", "INFO shutting down"])
    'ValueError: no such file'
    """
    errors = [line for line in lines if _ERROR_LINE.search(line) and not _NO_REASON.search(line)]
    return " | ".join(line.strip()[:_CHARACTERS_SHOWN] for line in errors[-1:] or lines[-_LINES_SHOWN:]) or "nothing"


def _is_healthy(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy leads to this computer
    for page in _PAGES:
        try:
            opener.open(url + page, timeout=5).close()
            return True
        except urllib.error.HTTPError as error:
            if error.code != 404:
                return False
        except OSError:
            return False
    return False


def reference(
    model: Model, server: VllmServer, policy: RequestPolicy, workspace: str, weights: WeightsSource | None = None
) -> ModelRef:
    """Returns a reference to a model of the catalog, run by a vLLM server.

    >>> from beam_curate.models.catalog import by_name
    >>> reference(by_name("qwen2.5_vl"), VllmServer(fp8=True), RequestPolicy(), "/workspace").identity
    'vllm Qwen/Qwen2.5-VL-7B-Instruct@..., frames, fp8'

    Args:
        model: The model.
        server: How its server is started.
        policy: Concurrency, retries and timeouts.
        workspace: Where the model's folder lies.
        weights: Where workers without the folder fetch it from.
    """
    load = functools.partial(_load, model=model, server=server, policy=policy, workspace=workspace, weights=weights)
    identity = f"vllm {model.identity}, {server.media}{', fp8' if server.fp8 else ''}"
    return ModelRef(model.name, load, identity, shared=True, gpu_gb=vllm_gb(model, fp8=server.fp8))


def _load(
    device: str, model: Model, server: VllmServer, policy: RequestPolicy, workspace: str, weights: WeightsSource | None
) -> VllmEngine:
    if weights is not None:
        ensure(model, workspace, weights)
    needed_gb = vllm_gb(model, fp8=server.fp8)
    share = _share(needed_gb, server.others_gb, torch_devices().get(device, 0.0)) if server.others_gb else VLLM_SHARE
    return VllmEngine(server, str(model.folder(workspace)), policy, device, share)


def _share(needed_gb: float, others_gb: float, device_gb: float) -> float:
    """Returns the part of a GPU's memory for vLLM: what the others leave, where they fit beside it."""
    fits = needed_gb + others_gb <= device_gb
    return min(VLLM_SHARE, math.floor(100 * (1 - others_gb / device_gb)) / 100) if fits else VLLM_SHARE


def _environment(device: str) -> dict[str, str]:
    """Returns the environment of a server: without API keys, and with only the GPU it must use."""
    environment = {name: value for name, value in os.environ.items() if name not in _KEYS}
    kind, _, index = device.partition(":")
    if kind == "cuda" and index:
        # torch numbers the GPUs that are visible to this process.
        seen = environment.get("CUDA_VISIBLE_DEVICES", "")
        environment["CUDA_VISIBLE_DEVICES"] = seen.split(",")[int(index)] if seen else index
    return environment
