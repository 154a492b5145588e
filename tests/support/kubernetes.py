"""A Kubernetes without nodes, etcd and the API server alone, and what Helm makes of the chart."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from beam_curate.processes.server import Server, free_ports
from runners.flink import CHART
from tools import engines

NAMESPACE = "curation"
"""A namespace that admits only pods of the level "restricted" of the Pod Security Standards."""

_START_S = 120
_NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
}
_RUNTIME_CLASS = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "nvidia"},
    "handler": "nvidia",
}


class ApiServer:
    """An API server that knows Flink's custom resources; asked over REST as kubectl asks.

    Attributes:
        url: Its address.
    """

    def __init__(self, folder: Path) -> None:
        port, clients, peers = free_ports(3)
        self.url = f"https://127.0.0.1:{port}"
        self._certificate = folder / "apiserver.crt"
        self._token = secrets.token_hex(16)
        (folder / "tokens.csv").write_text(f"{self._token},test,test,system:masters\n")
        key = _service_account_key(folder / "key.pem")
        etcd, peer = f"http://127.0.0.1:{clients}", f"http://127.0.0.1:{peers}"
        storage = {
            "data-dir": folder / "etcd",
            "listen-client-urls": etcd,
            "advertise-client-urls": etcd,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",
        }
        serving = {
            "etcd-servers": etcd,
            "bind-address": "127.0.0.1",
            "secure-port": port,
            "cert-dir": folder,  # it makes a certificate there
            "token-auth-file": folder / "tokens.csv",
            "authorization-mode": "RBAC",
            "service-account-issuer": "https://test",
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "service-cluster-ip-range": "10.0.0.0/24",
            # Controllers, of which there are none here, would make the service accounts that pods name.
            "disable-admission-plugins": "ServiceAccount",
        }
        self._servers = [
            Server(program.name, [str(program), *(f"--{name}={value}" for name, value in options.items())])
            for program, options in ((engines.ETCD, storage), (engines.KUBE_APISERVER, serving))
        ]

    def prepare(self) -> None:
        """Waits until it answers, and gives it Flink's schema, the namespace and a class for pods with GPUs."""
        self._servers[-1].wait_until_ready(self._is_ready, _START_S)
        for resource in (yaml.safe_load(engines.FLINK_CRD.read_text()), _NAMESPACE, _RUNTIME_CLASS):
            assert self.create(resource, dry_run=False) == ""
        self._servers[-1].wait_until_ready(lambda: self._serves("flink.apache.org/v1beta1"), _START_S)

    def create(self, resource: Mapping[str, Any], *, dry_run: bool = True) -> str:
        """Asks for a resource to be created, with its fields checked strictly; returns why not, or nothing."""
        folder = self._folder(resource["apiVersion"])
        kinds = json.loads(self._ask(folder))["resources"]
        (found,) = (kind for kind in kinds if kind["kind"] == resource["kind"] and "/" not in kind["name"])
        place = f"/namespaces/{NAMESPACE}" if found["namespaced"] else ""
        query = "fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        try:
            self._ask(f"{folder}{place}/{found['name']}?{query}", json.dumps(resource).encode())
        except urllib.error.HTTPError as error:
            return json.load(error)["message"]
        return ""

    def names(self, version: str, plural: str) -> list[str]:
        """Returns the names of the resources of a kind in the namespace."""
        listed = json.loads(self._ask(f"{self._folder(version)}/namespaces/{NAMESPACE}/{plural}"))["items"]
        return [item["metadata"]["name"] for item in listed]

    def kubeconfig(self, path: Path) -> Path:
        """Writes a file by which Helm reaches it."""
        cluster = {"server": self.url, "certificate-authority": str(self._certificate)}
        content = {
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": self._token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def stop(self) -> None:
        """Ends both servers."""
        for server in reversed(self._servers):
            server.stop()

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self._certificate.exists() and self._ask("/readyz") == b"ok"
        return False

    def _serves(self, version: str) -> bool:
        with contextlib.suppress(OSError):
            return bool(json.loads(self._ask(self._folder(version)))["resources"])
        return False

    @staticmethod
    def _folder(version: str) -> str:
        return f"/apis/{version}" if "/" in version else f"/api/{version}"

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        context = ssl.create_default_context(cafile=str(self._certificate))
        request = urllib.request.Request(f"{self.url}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            return answer.read()


@contextlib.contextmanager
def api_server(folder: Path) -> Iterator[ApiServer]:
    """Runs an API server, and stops it at the end."""
    server = ApiServer(folder)
    try:
        server.prepare()
        yield server
    finally:
        server.stop()


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Helm, without its user's settings and without leaving caches in the home folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE", "XDG_"))}
    with tempfile.TemporaryDirectory() as home:
        command = [str(engines.HELM), *arguments]
        environment["HOME"] = home
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def template(folder: Path, values: Mapping[str, Any], release: str = "curate") -> subprocess.CompletedProcess[str]:
    """Renders the chart with a file of values, as `helm install` does."""
    options = ("--namespace", NAMESPACE, "--values", file_of(values, folder))
    return helm("template", release, str(CHART), *options)


def file_of(values: Mapping[str, Any], folder: Path) -> str:
    """Writes a file of values; returns its path."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(dict(values)))
    return str(file)


def rendered(folder: Path, values: Mapping[str, Any], release: str = "curate") -> list[dict[str, Any]]:
    """The resources that the chart makes of values."""
    done = template(folder, values, release)
    assert done.returncode == 0, done.stderr
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


def only(resources: Sequence[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one resource of a kind."""
    (found,) = (resource for resource in resources if resource["kind"] == kind)
    return found


def pods(resources: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The pods that come of resources, by component.

    Those of Flink are completed by what its operator adds: image and resources of the main container.
    """
    templates = []
    for resource in resources:
        spec = resource.get("spec", {})
        if resource["kind"] == "FlinkDeployment":
            for part in ("jobManager", "taskManager"):
                pod = json.loads(json.dumps(spec[part]["podTemplate"]))
                (main,) = (one for one in pod["spec"]["containers"] if one["name"] == "flink-main-container")
                memory = spec[part]["resource"]["memory"].upper() + "i"  # Flink's m and g
                size = {"cpu": str(spec[part]["resource"]["cpu"]), "memory": memory}
                main |= {"image": spec["image"], "resources": {"requests": size, "limits": size}}
                templates.append(pod)
        elif "template" in spec:
            templates.append(spec["template"])
    return {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": pod["metadata"] | {"name": "pod"},
            "spec": pod["spec"],
        }
        for pod in templates
    }


def operated(resources: Sequence[Sequence[dict[str, Any]]], folder: Path) -> list[list[dict[str, Any]]]:
    """The deployments that Flink's operator makes of each FlinkDeployment, of JobManager and TaskManagers.

    Its own code makes them, as far as it can be had without its image. One Java does all, since it starts slowly.
    """
    files = []
    for number, each in enumerate(resources):
        for part in ("jobManager", "taskManager"):
            template = {"apiVersion": "v1", "kind": "Pod"} | only(each, "FlinkDeployment")["spec"][part]["podTemplate"]
            files.append(folder / f"{part}-{number}.json")
            files[-1].write_text(json.dumps(template))
    program = Path(__file__).with_name("FlinkOperator.java")
    command = ["java", "-cp", f"{engines.FLINK_OPERATOR_LIB}/*", str(program), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    made = [resource for resource in yaml.safe_load_all(done.stdout) if resource]
    return [made[start : start + 2] for start in range(0, len(made), 2)]


def containers(pod: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All containers of a pod by name."""
    return {one["name"]: one for one in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])}


def _service_account_key(path: Path) -> Path:
    """Writes a key, without which the API server does not start."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    path.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    return path
