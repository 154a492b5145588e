"""`beam-curate image`: the commands that build and check an image, and what a check finds in an environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from beam_curate.cli import worker_check
from beam_curate.cli.image import BuildOptions, build_command
from beam_curate.cli.main import main
from beam_curate.cli.worker_check import BOOT
from beam_curate.errors import UsageError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> str:
    (tmp_path / "Dockerfile").touch()
    return str(tmp_path)


def test_the_build_command_has_only_the_arguments_that_were_given(checkout: str) -> None:
    options = BuildOptions(tag="registry:5000/me/curate:1.2", context=checkout, base_image="local/base:1")
    words = ["podman", "build", "--tag", "registry:5000/me/curate:1.2", "--build-arg", "BASE_IMAGE=local/base:1"]
    assert build_command("podman", options) == [*words, "--file", f"{checkout}/Dockerfile", checkout]


@pytest.mark.parametrize(
    ("tag", "told"),
    [
        ("", "--tag is missing"),
        ("curate", "is no version"),
        ("registry:5000/curate", "is no version"),
        ("curate:latest", "is no version"),
    ],
)
def test_an_image_has_a_version(checkout: str, tag: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        build_command("docker", BuildOptions(tag=tag, context=checkout))


def test_a_folder_that_is_no_checkout_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name a checkout of beam-curate with --context"):
        build_command("docker", BuildOptions(tag="a:1", context=str(tmp_path)))


def test_no_program_for_images(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["image", "check", "a:1"]) == 2
    assert "there is no program docker or podman or buildah" in capsys.readouterr().err
    assert main(["image", "check", "a:1", "--engine", "podman"]) == 2
    assert "there is no program podman: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ({"Python": "3.12"}, "Python is 3.12 there and 3.11 here"),
        ({"Apache Beam": "2.76.0"}, "Apache Beam is 2.76.0 there and 2.77.0 here"),
        ({"beam-curate": "missing"}, "beam-curate is missing there and 1.0 here"),
        ({"machine": "aarch64"}, "machine is aarch64 there and x86_64 here"),
    ],
)
def test_versions_that_differ_are_errors(there: dict[str, str], told: str) -> None:
    here = {"Python": "3.11", "machine": "x86_64", "Apache Beam": "2.77.0", "beam-curate": "1.0", "torch": "2.9"}
    (found,) = worker_check.compared(here, here | there)
    assert found.level == "error" and told in found.text
    (found,) = worker_check.compared(here, here | {"torch": "2.10"})
    assert found.level == "ok"


def test_an_environment_without_beams_program_and_python_is_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT", raising=False)
    monkeypatch.setattr(worker_check, "BOOT", tmp_path / "boot")
    (tmp_path / "boot").touch()
    told = errors(tmp_path)
    assert f"{tmp_path}/boot cannot be executed" in told
    assert "the variable RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT is not set" in told
    assert "there is no program python on the PATH" in told
    (tmp_path / "boot").unlink()
    (tmp_path / "python").write_text("#!/bin/sh\necho ModuleNotFoundError: no apache_beam >&2; exit 1\n")
    (tmp_path / "python").chmod(0o755)
    told = errors(tmp_path)
    assert f"{tmp_path}/boot is missing" in told
    assert "cannot import what a worker runs: ModuleNotFoundError: no apache_beam" in told


def test_an_environment_with_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT", "1")
    monkeypatch.setattr(worker_check, "BOOT", Path("/bin/true"))
    assert errors(tmp_path) == ""


def errors(workspace: Path) -> str:
    return "\n".join(one.text for one in worker_check.findings(str(workspace)) if one.level == "error")


# What docker is asked for; a script in its place runs the command here, in this environment.
DOCKER = f"""#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
case "$1" in
    run) while [ "$1" != image ]; do shift; done; exec "{sys.executable}" -m beam_curate.cli.main "$@" ;;
    image) cat "$(dirname "$0")/entrypoint" ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "entrypoint").write_text(json.dumps([str(BOOT)]))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_docker_runs_the_check_in_the_image(docker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "check", "me/curate:1", "--gpus"]) == (0 if BOOT.exists() else 1)
    printed = capsys.readouterr().out
    assert "ok: versions are those of this computer: Python 3." in printed
    assert "ok: encoder libx264" in printed and "ENTRYPOINT" not in printed
    asked = (docker / "asked").read_text().splitlines()
    assert asked[0] == "run --rm --gpus all --entrypoint beam-curate me/curate:1 image check --json"


def test_another_entry_point_is_an_error(docker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (docker / "entrypoint").write_text('["/entry.sh", "/opt/apache/beam/boot"]')
    assert main(["image", "check", "me/curate:1"]) == 1
    assert 'error: the ENTRYPOINT of the image is ["/entry.sh", "/opt/apache/beam/boot"]' in capsys.readouterr().out


def test_an_image_without_the_program(docker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = 'exec: "beam-curate": executable file not found in $PATH: unknown.'
    (docker / "docker").write_text(
        f"#!/bin/sh\n[ $1 = run ] && echo '{said}' >&2 && exit 127\ncat {docker}/entrypoint\n"
    )
    assert main(["image", "check", "python:3.11"]) == 2
    told = capsys.readouterr().err
    assert "python:3.11 could not be checked" in told and "executable file not found" in told


def test_a_build_that_fails_is_status_1(docker: Path, checkout: str, capfd: pytest.CaptureFixture[str]) -> None:
    (docker / "docker").write_text("#!/bin/sh\necho no space left; exit 5\n")
    assert main(["image", "build", "--tag", "a:1", "--context", checkout]) == 1
    assert capfd.readouterr().out == f"docker build --tag a:1 --file {checkout}/Dockerfile {checkout}\nno space left\n"


def test_nothing_heavy_is_imported_to_build() -> None:
    code = "import sys, beam_curate.cli.main as m; m.main(['image', 'build']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not {"torch", "apache_beam", "av"} & set(done.stdout.split())
