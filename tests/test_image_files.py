"""The Dockerfile and its lock file agree with the rest of the project."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import engines

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED = dict(re.findall(r"^([\w.\[\],-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))


def test_every_dependency_is_locked_to_a_version_that_it_allows() -> None:
    versions = {canonicalize_name(name.partition("[")[0]): version for name, version in LOCKED.items()}
    for line in PROJECT["dependencies"]:
        wanted = Requirement(line)
        version = versions.get(canonicalize_name(wanted.name))
        assert version is not None, f"{wanted.name} is not in requirements.lock: make lock"
        assert wanted.specifier.contains(version), f"{wanted} and {version} in requirements.lock: make lock"


def test_every_locked_package_has_hashes() -> None:
    entries = re.split(r"^(?=\S+==)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    assert all("--hash=sha256:" in entry for entry in entries if entry.strip())


def test_beam_is_of_one_version_everywhere() -> None:
    assert f"BEAM_IMAGE=apache/beam_python3.11_sdk:{engines.BEAM}\n" in DOCKERFILE
    assert LOCKED["apache-beam"] == engines.BEAM


def test_the_base_has_the_python_of_the_lock_file() -> None:
    assert "BASE_IMAGE=python:3.11-slim" in DOCKERFILE
    assert PROJECT["requires-python"].startswith(">=3.11")


def test_no_image_is_without_a_version() -> None:
    assert "latest" not in DOCKERFILE
    for image in re.findall(r"_IMAGE=(\S+)", DOCKERFILE):
        assert re.search(r":\d", image), image


def test_the_context_has_what_the_dockerfile_copies_and_no_more() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    }
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)
