"""A stand-in for the service of Dataflow: it takes jobs over its REST interface, and runs the staged graph here.

Beam's own client submits, asks for the state and cancels. What workers, machines and images would do is not in it.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator

# A worker in the place of Dataflow's: it gets nothing but the address of the graph in the bucket.
_WORKER = """
import sys
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from beam_curate.buckets.open import open_bucket
from runners.launch import switch_off_timed_flushes

switch_off_timed_flushes()
bucket, key = open_bucket(sys.argv[1], "default")
graph = beam_runner_api_pb2.Pipeline.FromString(bucket.get(key))
for environment in graph.components.environments.values():
    environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
FnApiRunner().run_via_runner_api(graph, PipelineOptions()).wait_until_finish()
"""
JOB_ID = "2026-11-30_00_00_00-1"


class Service(http.server.ThreadingHTTPServer):
    """The service.

    Attributes:
        works: Whether the graph is run; otherwise the job stays running until it fails or is cancelled.
        fails_with: The error of a job that fails; "" where it does not.
        job: The job as it was submitted; empty before.
        asked_for: States that were asked for, by the numbers of `google.cloud.dataflow.JobState`.
    """

    def __init__(self, *, works: bool, fails_with: str) -> None:
        super().__init__(("localhost", 0), _Handler)
        self.works, self.fails_with = works, fails_with
        self.job: dict = {}
        self.asked_for: list[int] = []
        self._worker: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://localhost:{self.server_port}"

    def create(self, job: dict) -> dict:
        self.job = job
        if self.works:
            graph = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
            self._worker = subprocess.Popen([sys.executable, "-c", _WORKER, graph])
        return self.shown("JOB_STATE_PENDING")

    def state(self) -> dict:
        if self.asked_for:
            return self.shown("JOB_STATE_CANCELLED")
        if self.fails_with:
            return self.shown("JOB_STATE_FAILED")
        status = self._worker.poll() if self._worker else None
        return self.shown({None: "JOB_STATE_RUNNING", 0: "JOB_STATE_DONE"}.get(status, "JOB_STATE_FAILED"))

    def shown(self, state: str) -> dict:
        known = {name: self.job[name] for name in ("name", "clientRequestId")}
        return known | {"id": JOB_ID, "currentState": state, "projectId": "footage-team", "location": "europe-west4"}

    def messages(self) -> dict:
        error = {"id": "1", "time": "2026-11-30T00:00:00Z", "messageImportance": "JOB_MESSAGE_ERROR"}
        return {"jobMessages": [error | {"messageText": self.fails_with}]} if self.fails_with else {}

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()
        self.shutdown()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self._answer(self.server.messages() if path.endswith("/messages") else self.server.state())

    def do_POST(self) -> None:
        self._answer(self.server.create(self._content()))

    def do_PUT(self) -> None:
        self.server.asked_for.append(self._content()["requestedState"])
        self._answer(self.server.state())

    def _content(self) -> dict:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def dataflow_service(*, works: bool = False, fails_with: str = "") -> Iterator[Service]:
    """Runs a service while the block lasts."""
    with Service(works=works, fails_with=fails_with) as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        try:
            yield service
        finally:
            service.stop()
            thread.join()
