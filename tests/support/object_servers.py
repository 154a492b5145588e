"""Object stores on this computer, on free ports: MinIO, which speaks S3, and a fake Google Cloud Storage."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import secrets
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from beam_curate.processes.server import Server, free_ports
from tests.support.relay import Relay
from tools import engines

REGION = "us-east-1"  # MinIO's own
_START_S = 60


class ObjectServer:
    """A server that can be stopped and started again, with the same address and content.

    Attributes:
        endpoint: Its URL, without a path.
    """

    def __init__(self, port: int, command: Sequence[str], environment: Mapping[str, str], health: str) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self._command = command
        self._environment = os.environ | environment
        self._health = health

    def start(self) -> None:
        """Starts it and waits until it answers."""
        name = Path(self._command[0]).name
        self._server = Server(name, self._command, environment=self._environment, grace_s=2)
        self._server.wait_until_ready(self._is_ready, _START_S)

    def stop(self) -> None:
        """Stops it: connections are refused from now on."""
        self._server.stop()

    def close(self) -> None:
        """Ends it for good."""
        self._server.stop()

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(self.endpoint + self._health, timeout=5):
            return True
        return False


class Minio(ObjectServer):
    """A MinIO server with keys of its own.

    Attributes:
        access_key: The access key of its one user.
        secret_key: The secret of that key.
    """

    def __init__(self, folder: Path) -> None:
        self.access_key, self.secret_key = secrets.token_hex(8), secrets.token_hex(16)
        port, console = free_ports(2)
        command = [str(engines.MINIO), "server", str(folder), "--quiet", "--address", f"127.0.0.1:{port}"]
        command += ["--console-address", f"127.0.0.1:{console}"]
        user = {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key}
        environment = user | {
            "MINIO_PROMETHEUS_AUTH_TYPE": "public",
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_REGION_NAME": REGION,
        }
        super().__init__(port, command, environment, "/minio/health/ready")
        self.start()

    def client(self) -> Any:
        """Returns boto3's S3 client of it, for what a test prepares or looks at."""
        import boto3  # here, since tests that need no server import this module as well
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            # On a busy machine it says that it is ready before it is.
            config=Config(retries={"mode": "standard", "total_max_attempts": 10}),
        )

    def make_bucket(self, name: str = "") -> str:
        """Creates a bucket, with a name of its own by default; returns its name."""
        name = name or _fresh_name()
        self.client().create_bucket(Bucket=name)
        return name

    def profile_file(self, path: Path, name: str, **settings: str) -> Path:
        """Adds a profile for this server to an AWS credentials file, which is created where it is missing.

        Args:
            path: The file.
            name: Of the profile.
            settings: More settings of the profile, or others.
        """
        profiles = configparser.RawConfigParser()
        profiles.read(path)
        profiles[name] = {
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "endpoint_url": self.endpoint,
            "region": REGION,
            **settings,
        }
        with path.open("w") as file:
            profiles.write(file)
        return path


class FakeGcs(ObjectServer):
    """A server that answers as Google Cloud Storage does, without credentials.

    It holds its objects in memory, since it keeps them on a disk as files, which cannot have the names of all objects.
    For an outage it is out of reach instead.

    Attributes:
        environment: The variables that make google-cloud-storage use it.
    """

    def __init__(self) -> None:
        port, hidden = free_ports(2)
        command = [str(engines.FAKE_GCS), "-scheme", "http", "-host", "127.0.0.1", "-port", str(hidden)]
        command += ["-public-host", f"127.0.0.1:{port}", "-backend", "memory", "-log-level", "warn"]
        super().__init__(port, command, {}, "/_internal/healthcheck")
        self.environment = {"STORAGE_EMULATOR_HOST": self.endpoint}
        self._relay = Relay(port, hidden)
        self._relay.open()
        super().start()

    def start(self) -> None:
        """Lets it be reached again."""
        self._relay.open()

    def stop(self) -> None:
        """Breaks all connections; others are refused from now on."""
        self._relay.close()

    def make_bucket(self, name: str = "") -> str:
        """Creates a bucket, with a name of its own by default; returns its name."""
        name = name or _fresh_name()
        data = json.dumps({"name": name}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.endpoint}/storage/v1/b?project=tests", data, headers)
        with urllib.request.urlopen(request, timeout=10):
            return name


@contextlib.contextmanager
def minio(folder: Path) -> Iterator[Minio]:
    """Runs a MinIO server with its objects in a folder, and stops it at the end."""
    with contextlib.closing(Minio(folder)) as server:
        yield server


@contextlib.contextmanager
def fake_gcs() -> Iterator[FakeGcs]:
    """Runs a fake Google Cloud Storage, and stops it at the end."""
    with contextlib.closing(FakeGcs()) as server:
        yield server


def _fresh_name() -> str:
    return f"bucket-{secrets.token_hex(6)}"
