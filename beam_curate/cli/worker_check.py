"""Whether what a worker needs is there; see `beam_curate.cli.image`. Models are looked for and not loaded."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from beam_curate.versions import SAME, differences

Level: TypeAlias = Literal["ok", "warning", "error"]

BOOT = Path("/opt/apache/beam/boot")
"""Where runners expect Beam's boot program in an image."""

_DEFAULT_ENVIRONMENT = "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT"
_SHARED_MEMORY_GB = 1.0  # docker gives 64 MB; vLLM's processes pass frames through it
_SCRATCH_GB = 20.0  # some sources and clips at once
_START_S = 120.0
_WORKER = "import apache_beam, beam_curate, runners, transforms"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        level: ``error`` for what fails a job, ``warning`` for what fails or slows some jobs.
        text: A sentence.
    """

    level: Level
    text: str


def compared(here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[Finding]:
    """Yields what differs between the versions of the submitter and those of a worker, which have to be the same.

    >>> of_both = {"Python": "3.11", "machine": "x86_64", "Apache Beam": "2.77.0", "beam-curate": "1.0"}
    >>> [one.text for one in compared(of_both, of_both | {"Python": "3.12"})]
    ['Python is 3.12 there and 3.11 here: workers need the same']
    >>> [one.level for one in compared(of_both, of_both)]
    ['ok']

    Args:
        here: Of the submitter.
        there: Of a worker.
    """
    if different := differences(here, there):
        yield from (Finding("error", f"{one}: workers need the same") for one in different)
    else:
        yield Finding(
            "ok", "versions are those of this computer: " + ", ".join(f"{name} {here[name]}" for name in SAME)
        )


def findings(workspace: str) -> Iterator[Finding]:
    """Yields what is there and what is missing in this environment.

    Args:
        workspace: The folder with ``models/``.
    """
    yield from _boot()
    yield from _python()
    yield from _gpu()
    yield _encoder()
    yield from _places()
    yield from _models(workspace)


def _boot() -> Iterator[Finding]:
    if not BOOT.exists():
        yield Finding("error", f"{BOOT} is missing, Beam's boot program, by which runners start workers in an image")
    elif not os.access(BOOT, os.X_OK):
        yield Finding("error", f"{BOOT} cannot be executed")
    else:
        yield Finding("ok", f"boot program {BOOT}")


def _python() -> Iterator[Finding]:
    """The boot program starts ``python`` of the PATH, in an environment of its own making unless told otherwise."""
    if not os.environ.get(_DEFAULT_ENVIRONMENT):
        why = "without it the boot program makes another Python environment for each worker"
        yield Finding("error", f"the variable {_DEFAULT_ENVIRONMENT} is not set: {why}")
    try:
        done = subprocess.run(["python", "-c", _WORKER], capture_output=True, text=True, timeout=_START_S, check=False)
    except FileNotFoundError:
        yield Finding("error", "there is no program python on the PATH, which the boot program starts")
        return
    except subprocess.TimeoutExpired:
        yield Finding("error", f"python did not import apache_beam and beam_curate within {_START_S:.0f} s")
        return
    said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    where = shutil.which("python")
    yield (
        Finding("error", f"{where} cannot import what a worker runs: {said}")
        if done.returncode
        else Finding("ok", f"{where} imports apache_beam and beam_curate")
    )


def _gpu() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library of CUDA is missing
        yield Finding("error", f"torch cannot be imported ({error})")
        return
    if not torch.version.cuda:
        yield Finding("warning", f"torch {torch.__version__} was built without CUDA: models run on the processor")
        return
    yield Finding("ok", f"torch {torch.__version__} with the libraries of CUDA {torch.version.cuda}")
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        yield Finding("warning", "no driver of a GPU (libcuda.so.1): start a container with --gpus all to have one")
        return
    try:
        torch.cuda.init()
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        yield Finding("ok", f"GPU: {names}")
    except (RuntimeError, AssertionError) as error:
        why = str(error).strip().splitlines()[0]
        yield Finding("error", f"the driver of the GPU does not do for CUDA {torch.version.cuda}: {why}")


def _encoder() -> Finding:
    from beam_curate.video.encode import Encoding, try_encoding

    with tempfile.TemporaryDirectory() as folder:
        try:
            try_encoding(Encoding(), Path(folder, "a.mp4"))
        except (OSError, ValueError) as error:
            return Finding("error", f"the encoder {Encoding().encoder} does not work ({error})")
    return Finding("ok", f"encoder {Encoding().encoder}")


def _places() -> Iterator[Finding]:
    scratch = tempfile.gettempdir()
    free_gb = shutil.disk_usage(scratch).free / 1e9
    many = free_gb >= _SCRATCH_GB
    more = "" if many else f": sources and clips want {_SCRATCH_GB:.0f} GB; mount a larger folder there, or set TMPDIR"
    yield Finding("ok" if many else "warning", f"scratch {scratch} has {free_gb:.0f} GB free{more}")
    if (home := os.path.expanduser("~")) and not os.access(home, os.W_OK):
        yield Finding("warning", f"the home folder {home} cannot be written: set HOME to one that can")
    try:
        shared_gb = shutil.disk_usage("/dev/shm").total / 1e9
    except OSError:
        shared_gb = 0.0
    if shared_gb < _SHARED_MEMORY_GB:
        what = f"/dev/shm has {shared_gb * 1e3:.0f} MB, too little for vLLM"
        yield Finding("warning", f"{what}: docker run --shm-size 8g, or a volume of memory")


def _models(workspace: str) -> Iterator[Finding]:
    from beam_curate.models.catalog import MODELS
    from beam_curate.weights.check import check

    there = [model for model in MODELS if model.folder(workspace).is_dir()]
    for model in there:
        wrong = check(model, workspace)
        yield Finding("error" if wrong else "ok", f"model {model.name}: {'; '.join(wrong) or 'intact'}")
    if not there:
        yield Finding(
            "warning", f"no models in {workspace}: mount the workspace there, or give workers --model-weights-path"
        )
