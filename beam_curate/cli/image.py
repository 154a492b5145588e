"""The commands `beam-curate image build | check`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from beam_curate.cli.command import Commands, add_command, show_help
from beam_curate.errors import UsageError
from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED
from beam_curate.options.flags import Group, flag
from beam_curate.options.run import default_workspace
from beam_curate.progress import terminal
from beam_curate.versions import versions

if TYPE_CHECKING:
    from beam_curate.cli.worker_check import Finding

_ENGINES = ("docker", "podman", "buildah")
_CHECK = ("beam-curate", "image", "check", "--json")


@dataclasses.dataclass(frozen=True)
class EngineOptions(Group):
    """Program."""

    engine: Literal["auto", "docker", "podman", "buildah"] = flag(
        "auto", "What builds and runs images; auto is the first of the others that is there."
    )


@dataclasses.dataclass(frozen=True)
class BuildOptions(EngineOptions):
    """Image."""

    tag: str = flag("", "Name of the image, with the registry that workers take it from: REGISTRY/beam-curate:VERSION.")
    context: str = flag(".", "A checkout of beam-curate.", metavar="FOLDER")
    base_image: str = flag(
        "", "A Debian or Ubuntu with Python.", shown_default="the slim image of Python that the Dockerfile names"
    )
    beam_image: str = flag(
        "", "An image with Beam's boot program.", shown_default="Beam's own image that the Dockerfile names"
    )
    run_as: str = flag(
        "",
        "User of the container. Workers of Dataflow have to be root.",
        metavar="USER",
        shown_default="1000:1000, without rights",
    )


@dataclasses.dataclass(frozen=True)
class CheckOptions(EngineOptions):
    """Check."""

    gpus: bool = flag(False, "Give the container all GPUs of this computer (docker and podman).")
    json: bool = flag(False, "Print versions and findings as JSON.")


def add(commands: Commands) -> None:
    """Adds the command with its own commands."""
    what = "Build and check the container image."
    parser = add_command(
        commands, "image", lambda _: EXIT_DONE, summary=what, description=f"{what} See docs/docker.md."
    )
    show_help(parser)
    parts = parser.add_subparsers(title="commands", metavar="build|check")
    add_command(
        parts,
        "build",
        _build,
        group=BuildOptions,
        summary="Build the image from a checkout.",
        description="Builds the image with docker, podman or buildah, and prints the command that it runs. Exit "
        "status: 0 built, 1 failed, 2 mistakes.",
    )
    checking = add_command(
        parts,
        "check",
        _check,
        group=CheckOptions,
        summary="Check that an image has what a worker needs.",
        description="Checks what a worker needs: versions, which have to be those of this computer, Beam's boot "
        "program, CUDA's libraries, the encoder, scratch space, models (which are not loaded). Without IMAGE, of the "
        "container in which it runs. Exit status: 0 a job can run, 1 it cannot, 2 mistakes.",
    )
    checking.add_argument("image", metavar="IMAGE", nargs="?", help="An image that the program has or can pull.")


def build_command(engine: str, options: BuildOptions) -> list[str]:
    """Returns the command that builds the image.

    >>> build_command("docker", BuildOptions(tag="me/beam-curate:1", run_as="root"))
    ['docker', 'build', '--tag', 'me/beam-curate:1', '--build-arg', 'RUN_AS=root', '--file', 'Dockerfile', '.']

    Raises:
        UsageError: There is no tag, it is ``latest``, or the folder is no checkout.
    """
    tag = options.tag
    if not tag:
        raise UsageError("--tag is missing: name the image, such as REGISTRY/beam-curate:1.0")
    if tag.endswith(":latest") or ":" not in tag.rpartition("/")[2]:
        raise UsageError(f"--tag {tag} is no version: workers would keep an older image; end it with :VERSION")
    dockerfile = Path(options.context, "Dockerfile")
    if not dockerfile.is_file():
        raise UsageError(f"there is no {dockerfile}: name a checkout of beam-curate with --context")
    arguments = {"BASE_IMAGE": options.base_image, "BEAM_IMAGE": options.beam_image, "RUN_AS": options.run_as}
    given = [word for name, value in arguments.items() if value for word in ("--build-arg", f"{name}={value}")]
    return [engine, "build", "--tag", tag, *given, "--file", str(dockerfile), options.context]


def _build(parsed: argparse.Namespace) -> int:
    command = build_command(_engine(parsed.options.engine), parsed.options)
    print(terminal.shown(shlex.join(command)), flush=True)
    return EXIT_FAILED if subprocess.run(command, check=False).returncode else EXIT_DONE


def _check(parsed: argparse.Namespace) -> int:
    from beam_curate.cli import worker_check

    options = parsed.options
    if parsed.image:
        there, found = _ask(_engine(options.engine), parsed.image, options.gpus)
        found += worker_check.compared(versions(), there)
    else:
        there, found = versions(), list(worker_check.findings(default_workspace()))
    if options.json:
        print(json.dumps({"versions": there, "findings": [dataclasses.asdict(one) for one in found]}))
    else:
        for one in found:
            print(terminal.shown(f"{one.level}: {one.text}"))
    return EXIT_FAILED if any(one.level == "error" for one in found) else EXIT_DONE


def _engine(name: str) -> str:
    """Returns the program that was asked for, or the first that is there."""
    names = _ENGINES if name == "auto" else (name,)
    for one in names:
        if shutil.which(one):
            return one
    raise UsageError(f"there is no program {' or '.join(names)}: install one, or name another with --engine")


def _ask(engine: str, image: str, gpus: bool) -> tuple[Mapping[str, str], list[Finding]]:
    """Runs the check in an image; returns the versions there, and what it found there and of the image itself."""
    from beam_curate.cli.worker_check import BOOT, Finding

    if engine == "buildah":
        inspected = json.loads(_run([engine, "inspect", "--type", "image", image]))
        starts = inspected["OCIv1"]["config"].get("Entrypoint")
        container = _run([engine, "from", image]).strip()
        try:
            printed = _run([engine, "run", container, "--", *_CHECK], may_fail=True)
        finally:
            _run([engine, "rm", container])
    else:
        with_gpus = ["--gpus", "all"] if gpus else []
        printed = _run(
            [engine, "run", "--rm", *with_gpus, "--entrypoint", _CHECK[0], image, *_CHECK[1:]], may_fail=True
        )
        starts = json.loads(_run([engine, "image", "inspect", "--format", "{{json .Config.Entrypoint}}", image]))
    there, found = _read(printed, image)
    if starts != [str(BOOT)]:
        needed = f"runners need {json.dumps([str(BOOT)])} alone"
        found.append(Finding("error", f"the ENTRYPOINT of the image is {json.dumps(starts)}: {needed}"))
    return there, found


def _read(printed: str, image: str) -> tuple[Mapping[str, str], list[Finding]]:
    """Returns what the check printed as JSON, in the last line."""
    from beam_curate.cli.worker_check import Finding

    last = (printed.strip().splitlines() or ["nothing"])[-1]
    try:
        said = json.loads(last)
        return said["versions"], [Finding(**one) for one in said["findings"]]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{image} could not be checked; it said: {last}. An image of workers has beam-curate of this version: "
            "build it with beam-curate image build"
        ) from error


def _run(command: Sequence[str], *, may_fail: bool = False) -> str:
    """Returns what a command printed, or what it said of its failure where that is no reason to stop."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and not may_fail:
        raise UsageError(f"`{shlex.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout if done.stdout.strip() else done.stderr
