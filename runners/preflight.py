"""What can be known before the first video is checked before the first video.

Each check raises a UsageError with one message: the problem, the flag, the remedy.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from beam_curate.buckets.base import BucketError, scheme_of
from beam_curate.elements import Video
from beam_curate.engines.endpoint import Endpoint
from beam_curate.engines.vllm import VllmServer
from beam_curate.errors import UsageError
from beam_curate.models import requirements
from beam_curate.models.devices import gpus_gb, has_bfloat16, memory_gb
from beam_curate.plan.plan import Plan
from beam_curate.plan.settings import RunnerSettings
from beam_curate.store import disk_errors
from beam_curate.store.base import Store
from beam_curate.video.encode import Encoding
from beam_curate.weights.check import check, how_to_fix
from runners import model_servers
from runners.registry import make_runner

# Output and cached results of a video take about this much of its size at the default quality; long
# sources that are cut whole come near it.
_OUTPUT_PER_INPUT = 1.5
# Measured with --threads 2 and 8 on the local runner: 61 and 180 threads and child processes at most.
_THREADS_PER_WORKER = 20
_MORE_THREADS = 32


def check_folders(input_root: str, output: str) -> None:
    """Checks that input and output do not overlap: a rerun would take its own clips for sources.

    >>> check_folders("/footage", "/footage/out")
    Traceback (most recent call last):
        ...
    beam_curate.errors.UsageError: --output-clip-path /footage/out lies inside the input folder /footage; ...
    """
    source, target = (place if scheme_of(place) else os.path.realpath(place) for place in (input_root, output))
    for inner, outer, how in ((target, source, "lies inside"), (source, target, "contains")):
        if inner == outer:
            raise UsageError(f"--output-clip-path {output} is the input folder; name another folder")
        if inner.startswith(outer.rstrip("/") + "/"):
            raise UsageError(f"--output-clip-path {output} {how} the input folder {input_root}; name one beside it")


def check_reachable(output: Store) -> None:
    """Checks that what is in the output can be read; nothing is written.

    >>> from beam_curate.store.local import LocalStore
    >>> check_reachable(LocalStore(Path("/no/such/folder")))  # it will be made
    """
    try:
        output.check_reachable()
    except BucketError as error:
        raise UsageError(f"--output-clip-path: {error}") from error


def check_output(output: Store) -> str | None:
    """Creates the output folder and checks that files can be written there. Returns a warning, or None.

    >>> import tempfile
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_output(LocalStore(Path(folder, "out")))
    ...     Path(folder, "out").is_dir()
    True
    """
    try:
        return output.check_writable()
    except BucketError as error:
        raise UsageError(f"--output-clip-path cannot be written: {error}") from error
    except OSError as error:
        help_for = disk_errors.remedy(error) or "name another folder or change its permissions"
        where = output.location()
        raise UsageError(f"--output-clip-path {where} cannot be written ({error.strerror}); {help_for}") from error


def check_packages() -> None:
    """Checks that the three packages lie in one folder: another one named ``transforms`` could shadow ours.

    >>> check_packages()  # nothing shadows them
    """
    places = {}
    for name in ("beam_curate", "transforms", "runners"):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise UsageError(f"the package {name} of beam-curate is not installed; run: pip install beam-curate")
        places[name] = Path(spec.origin).parent.parent
    if len(set(places.values())) > 1:
        raise UsageError(
            f"another package shadows one of beam-curate's: {', '.join(f'{n} in {p}' for n, p in places.items())}; "
            "run from another folder"
        )


def check_models(plan: Plan) -> list[str]:
    """Checks that the files of the models of a run are there, and that the models fit into memory.

    Files that are missing are fine where workers can take them from ``--model-weights-path``.

    Returns:
        Warnings, a sentence each.

    Raises:
        UsageError: Files are missing or broken, or a model does not fit into the GPU.
    """
    workspace, weights = plan.models.workspace, plan.models.weights
    is_local = make_runner(plan.runner).is_local
    for required in plan.required:
        model = required.model
        wrong = check(model, workspace)
        if not wrong:
            continue
        what = f"{required.flag} needs {model.model_id}"
        if weights is None:
            raise UsageError(f"{what}: {'; '.join(wrong)}; {how_to_fix(model, workspace)}")
        if is_local and not scheme_of(weights.path) and not (Path(weights.path) / model.model_id).is_dir():
            raise UsageError(f"{what}, which is neither in {workspace} nor in --model-weights-path {weights}")
    if not is_local or not plan.required:
        return []
    gpu_gb = _smallest_gpu_gb()
    if gpu_gb is None:
        return list(requirements.without_gpu(plan.required, memory_gb(), bfloat16=has_bfloat16()))
    if wrong := list(requirements.too_large(plan.required, gpu_gb)):
        raise UsageError("\n".join(wrong))
    return []


def check_runner(plan: Plan) -> None:
    """Checks that a plan can be carried out by its runner, and that what the runner needs is there.

    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> check_runner(make_plan(parse(["--input-video-path=in", "--output-clip-path=out"])))  # threads of this process

    Raises:
        UsageError: With all that would make the job fail, a line each.
    """
    runner = make_runner(plan.runner)
    if wrong := list(runner.mistakes(plan)):
        raise UsageError("\n".join(wrong))
    runner.check()


def check_sources(plan: Plan, videos: Iterable[Video]) -> None:
    """Checks that workers can reach the videos of a list."""
    if make_runner(plan.runner).shares_folders:
        return
    if local := next((video.uri for video in videos if not scheme_of(video.uri)), None):
        raise UsageError(
            f"{local} is on this computer, where the workers of --runner={plan.runner.name} cannot reach it: list "
            "gs:// or s3:// URLs"
        )


def barriers(plan: Plan) -> frozenset[str]:
    """Returns the stages that begin when all chunks have passed those before, since their models do not fit together.

    Of the GPUs of other computers only the runner or ``--gpu-memory-gb`` tells; else each model has them to itself.

    >>> from beam_curate.options.parse import parse
    >>> from beam_curate.plan.plan import make_plan
    >>> barriers(make_plan(parse(["--input-video-path=in", "--output-clip-path=out"])))
    frozenset()
    """
    models = [(planned.name, planned.stage.model) for planned in plan.stages if planned.stage.model is not None]
    on_gpu = [(stage, model.gpu_gb) for stage, model in models]
    if sum(gigabytes > 0 for _, gigabytes in on_gpu) < 2:
        return frozenset()
    runner = make_runner(plan.runner)
    gpu_gb = runner.gpu_gb or (_smallest_gpu_gb() if runner.is_local else 0.0)
    if gpu_gb is None:
        return requirements.barriers([(stage, model.ram_gb) for stage, model in models], memory_gb())
    return requirements.barriers(on_gpu, gpu_gb)


def _smallest_gpu_gb() -> float | None:
    """Returns the memory of the GPU with the least, in GB (10^9 bytes), or None without one."""
    return min(gpus_gb().values(), default=None)


def check_model_server(plan: Plan) -> None:
    """Checks the model server that writes captions, or the command that starts it, where workers are on this computer.

    Raises:
        UsageError: The server does not answer, refuses the key, lacks the model; or there is no such command.
    """
    if not make_runner(plan.runner).is_local:
        return
    if isinstance(plan.model_server, Endpoint):
        model_servers.check_endpoint(plan.model_server)
    elif isinstance(plan.model_server, VllmServer):
        model_servers.check_command(plan.model_server.command)


def check_threads(settings: RunnerSettings) -> None:
    """Checks that a local run can start the threads it needs: a runner that cannot waits for them forever.

    >>> check_threads(RunnerSettings(threads=1))  # they can be started
    """
    runner = make_runner(settings)
    if not runner.is_local:
        return
    needed = _THREADS_PER_WORKER * runner.units_in_hand + _MORE_THREADS
    end = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(needed):
            thread = threading.Thread(target=end.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise UsageError(
            f"--threads {runner.threads} needs about {needed} threads and processes, and only {len(started)} more can "
            "be started here: raise the limit (ulimit -u, or pids.max of the container), or lower --threads"
        ) from error
    finally:
        end.set()
        for thread in started:
            thread.join()


def check_encoder(encoding: Encoding, output: Store) -> None:
    """Encodes one frame with the chosen encoder: A100 and H100, for two, have none on the GPU.

    >>> import tempfile
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_encoder(Encoding("no_such_encoder"), LocalStore(Path(folder)))
    Traceback (most recent call last):
        ...
    beam_curate.errors.UsageError: --transcode-encoder no_such_encoder does not work here ...

    Raises:
        UsageError: The encoder does not work, or the output folder does not take its file.
    """
    from beam_curate.video.encode import not_working, try_encoding

    with output.scratch() as folder:
        path = folder / "probe.mp4"
        try:
            try_encoding(encoding, path)
        except (OSError, ValueError) as error:
            # An encoder that fails has an errno, too: what names the file is about the disk.
            if isinstance(error, OSError) and error.errno in disk_errors.OF_THE_PLACE and error.filename == str(path):
                raise UsageError(f"--output-clip-path {output.location()}: {disk_errors.explained(error)}") from error
            raise UsageError(not_working(encoding, "here", error)) from error


def check_disk(output: Store, videos: Iterable[Video]) -> str | None:
    """Returns a warning when the output may not fit on its disk, or None.

    >>> import tempfile
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_disk(LocalStore(Path(folder)), [Video("/in/a.mp4", "a.mp4", 10**18, "17")])
    'the output may need 1,500,000,000,000 MB and ... MB are free on its disk; free some, or take --limit ...'
    """
    needed = sum(video.size_bytes for video in videos) * _OUTPUT_PER_INPUT
    free = output.free_bytes()
    if free is None or needed <= free:
        return None
    return (
        f"the output may need {needed / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free on its disk; "
        "free some, or take --limit to work in portions"
    )
