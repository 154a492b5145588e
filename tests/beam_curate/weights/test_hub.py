"""Connections to the hub: proxies, certificates, mirrors with short lists, login pages."""

from __future__ import annotations

import datetime
import importlib.util
import inspect
import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from huggingface_hub import file_download

from beam_curate.weights.check import MARKER, check
from tests.support.hub_server import Hub, serving
from tests.support.hub_user import QWEN, SHARDS, captioner, download

NOBODY = "http://127.0.0.1:9"
ELSEWHERE = "http://hub.invalid"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_PROXY".upper(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving({QWEN.model_id: captioner()}) as hub:
        yield hub


@pytest.mark.parametrize("name", ["HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize("proxy", [NOBODY, "socks5://127.0.0.1:9", "nonsense://"])
def test_a_hub_on_this_machine_is_reached_directly(tmp_path: Path, hub: Hub, name: str, proxy: str) -> None:
    download(hub, tmp_path, QWEN, environment={name: proxy})
    assert check(QWEN, str(tmp_path), hashes=True) == []


def test_a_hub_elsewhere_is_reached_through_the_proxy(tmp_path: Path, hub: Hub) -> None:
    download(hub, tmp_path, QWEN, environment={"HF_ENDPOINT": ELSEWHERE, "HTTP_PROXY": hub.url})
    assert check(QWEN, str(tmp_path), hashes=True) == []


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"HTTP_PROXY": NOBODY}, ["hub.invalid", "through the proxy in HTTP_PROXY", "NO_PROXY"]),
        ({"all_proxy": NOBODY}, ["through the proxy in all_proxy"]),
        ({"ALL_PROXY": "socks4://h:1"}, ["ALL_PROXY names a proxy with the unsupported scheme socks4"]),
        ({"HTTP_PROXY": "http://"}, ["HTTP_PROXY does not hold a proxy's address"]),
        ({"HF_ENDPOINT": "hub.invalid"}, ["HF_ENDPOINT must have the form https://HOST"]),
        (
            {"SSL_CERT_FILE": "/nowhere/ca.pem"},
            ["SSL_CERT_FILE=/nowhere/ca.pem", "No such file", "correct the variable"],
        ),
        ({"SSL_CERT_FILE": os.devnull}, ["SSL_CERT_FILE=/dev/null", "correct the variable"]),
    ],
)
def test_the_cause_of_a_failed_connection_is_named(
    tmp_path: Path, hub: Hub, environment: dict[str, str], words: list[str]
) -> None:
    printed = download(hub, tmp_path, QWEN, expect=1, environment={"HF_ENDPOINT": ELSEWHERE} | environment)
    assert all(word in printed for word in words), printed


@pytest.mark.skipif(importlib.util.find_spec("socksio") is not None, reason="SOCKS proxies can be used here")
@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
def test_a_socks_proxy_names_its_variable_and_the_package(tmp_path: Path, hub: Hub, kind: str) -> None:
    environment = {"HF_ENDPOINT": ELSEWHERE, "ALL_PROXY": f"{kind}://127.0.0.1:9"}
    printed = download(hub, tmp_path, QWEN, expect=1, environment=environment)
    assert "the environment variable ALL_PROXY names a SOCKS proxy" in printed
    assert "pip install socksio" in printed


def self_signed(path: Path, address: str = "127.0.0.1", days: int = 9) -> Path:
    """Makes a self-signed certificate, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "inspected")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=20))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem))
    return path


def test_an_untrusted_certificate_is_named_and_can_be_provided(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path / "ca.pem")
    with serving({QWEN.model_id: captioner()}, certificate) as hub:
        printed = download(hub, tmp_path, QWEN, expect=1)
        assert f"the certificate of {hub.url.removeprefix('https://')} is not trusted: self-signed" in printed
        assert "SSL_CERT_FILE=FILE" in printed
        assert "no network" not in printed
        download(hub, tmp_path, QWEN, environment={"SSL_CERT_FILE": str(certificate)})
    assert check(QWEN, str(tmp_path), hashes=True) == []


@pytest.mark.parametrize(
    ("wrong", "words"), [({"days": -9}, "expired"), ({"address": "127.0.0.2"}, "IP address mismatch")]
)
def test_the_problem_of_a_certificate_is_named(tmp_path: Path, wrong: dict[str, int], words: str) -> None:
    certificate = self_signed(tmp_path / "ca.pem", **wrong)  # type: ignore[arg-type]
    with serving({QWEN.model_id: captioner()}, certificate) as hub:
        printed = download(hub, tmp_path, QWEN, expect=1, environment={"SSL_CERT_FILE": str(certificate)})
    assert "the certificate of" in printed
    assert words in printed


@pytest.mark.parametrize(
    "left_out",
    [
        {"blobId", "lfs"},
        {"size", "blobId", "lfs"},
        {"size"},
        {"lfs"},
        {"blobId", "lfs.sha256"},
        {"lfs.sha256"},
        {"lfs.pointerSize"},
        {"blobId", "lfs.sha256", "lfs.pointerSize", "lfs.size"},
    ],
    ids=lambda left_out: " ".join(sorted(left_out)),
)
def test_a_mirror_that_lists_little_is_enough(tmp_path: Path, hub: Hub, left_out: set[str]) -> None:
    repository = hub.repositories[QWEN.model_id]
    repository.unlisted = frozenset(left_out)
    printed = download(hub, tmp_path, QWEN)
    folder = QWEN.folder(str(tmp_path))
    for name in SHARDS:
        assert (folder / name).read_bytes() == repository.files[name]
    unchecked = next((line for line in printed.splitlines() if "unchecked" in line), "")
    assert bool(unchecked) == ("blobId" in left_out and bool({"lfs", "lfs.sha256"} & left_out))
    assert all(name in unchecked for name in SHARDS) or not unchecked
    assert check(QWEN, str(tmp_path), hashes=True) == []
    hub.sent.clear()
    (folder / "config.json").unlink()
    os.truncate(folder / SHARDS[1], 1000)
    download(hub, tmp_path, QWEN)
    assert sorted(hub.names()) == ["config.json", SHARDS[1]]
    assert check(QWEN, str(tmp_path), hashes=True) == []


def test_a_lost_connection_to_a_mirror_without_hashes_does_no_harm(tmp_path: Path, hub: Hub) -> None:
    repository = hub.repositories[QWEN.model_id]
    repository.unlisted, repository.cut = frozenset({"size", "blobId", "lfs"}), {SHARDS[0]: 1 << 20}
    download(hub, tmp_path, QWEN)
    assert (QWEN.folder(str(tmp_path)) / SHARDS[0]).read_bytes() == repository.files[SHARDS[0]]


def test_complete_files_from_a_mirror_without_hashes_are_kept_after_an_interruption(tmp_path: Path, hub: Hub) -> None:
    hub.repositories[QWEN.model_id].unlisted = frozenset({"size", "blobId", "lfs"})
    download(hub, tmp_path, QWEN)
    folder = QWEN.folder(str(tmp_path))
    (folder / MARKER).unlink()
    (folder / SHARDS[1]).rename(folder / f".{SHARDS[1]}.unchecked.partial")
    hub.sent.clear()
    download(hub, tmp_path, QWEN)
    assert hub.sent == [(SHARDS[1], 0)]


def test_a_login_page_is_not_taken_for_the_hub(tmp_path: Path, hub: Hub) -> None:
    hub.page = b"<html>Welcome to the hotel</html>"
    printed = download(hub, tmp_path, QWEN, expect=1)
    assert "did not return a list of the files" in printed
    assert "HF_ENDPOINT" in printed


def test_http_get_of_huggingface_hub_takes_the_arguments_used_here() -> None:
    """`http_get` is not public: an upgrade that changes it must fail here, not in the middle of 45 GB."""
    parameters = inspect.signature(file_download.http_get).parameters
    used = {"resume_size", "headers", "expected_size", "displayed_filename"}
    assert [*parameters][:2] == ["url", "temp_file"] and used <= parameters.keys()
