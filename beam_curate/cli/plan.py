"""The command `plan`: what a run with the same flags would submit, where it would run, and what it would cost."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from beam_curate.buckets.base import scheme_of
from beam_curate.cli import exit_status
from beam_curate.errors import UsageError
from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED
from beam_curate.options.flags import Group, LocalPath, flag
from beam_curate.options.parse import parse

if TYPE_CHECKING:
    from rich.console import Console

    from beam_curate.elements import Video
    from beam_curate.plan.plan import Plan
    from runners.base import Runner
    from runners.plan_job import Part

_DESCRIPTION = """\
Says what beam-curate split would do with the same flags, without doing it: what runs where, how steps are fused, what
it may take and cost, and what is wrong. It asks nobody: neither the network nor a server, and lists the input only if
it is on this computer. Exit status: 0; 1 when the job would fail; 2 mistakes in the flags."""

_FILES = ("job.json", "pipeline.pb")


@dataclasses.dataclass(frozen=True)
class PlanOptions(Group):
    """Planning."""

    plan_path: LocalPath = flag(
        "beam_curate_plan",
        "The folder for the files of the plan: pipeline.pb, the graph, and for Dataflow job.json, the job as Beam "
        "would submit it.",
        metavar="FOLDER",
    )
    estimate_hours_of_video: float | None = flag(
        None,
        "How much footage the estimate is for, if the input is in an object store or is not there yet. It is taken to "
        "be 1920x1080 at 30 frames/s.",
        unit="hours",
        gt=0,
        le=1_000_000_000,
        shown_default="the input, if it is on this computer",
    )
    price_table: LocalPath | None = flag(
        None,
        "A YAML or JSON file with prices and assumptions for the estimate.",
        metavar="FILE",
        shown_default="list prices that come with the program",
    )


def main(argv: Sequence[str], prog: str = "beam-curate plan") -> int:
    """Runs the command; returns its exit status."""
    return exit_status.run(lambda: _run(argv, prog))


def _run(argv: Sequence[str], prog: str) -> int:
    start = time.monotonic()
    parsed = parse(argv, prog=prog, description=_DESCRIPTION, more=PlanOptions)
    options = parsed.more
    assert isinstance(options, PlanOptions)
    from beam_curate.plan.plan import make_plan
    from beam_curate.progress import terminal
    from runners.registry import make_runner

    plan = make_plan(parsed)
    runner, videos, console = make_runner(plan.runner), _videos(plan), terminal.console()
    wrong = [*runner.mistakes(plan), *_wrong_here(plan, runner)]
    costs = list(_estimate(plan, runner, videos, options))  # a mistake in the table comes before the files
    folder = _folder(options)
    parts = _write(plan, runner, videos, folder, submittable=not wrong)
    _print_job(console, plan, runner, parts)
    for line in costs:
        console.print(line)
    for doubt in runner.doubts(plan):
        console.print(f"warning: {doubt}")
    for mistake in wrong:
        console.print(f"error: {mistake}")
    written = ", ".join(name for name in _FILES if (folder / name).exists())
    console.print(f"{folder}: {written} ({time.monotonic() - start:.1f} s)")
    return EXIT_FAILED if wrong else EXIT_DONE


def _videos(plan: Plan) -> list[Video]:
    """Lists the input where it is on this computer; nothing where it is elsewhere, or not there."""
    from beam_curate.sources.listing import list_videos

    path, list_path = plan.sources.path, plan.sources.list_path
    if list_path is not None or path is None or scheme_of(path):
        return []
    try:
        return list(list_videos(path, None, frozenset(plan.sources.extensions), plan.output.location()).videos)
    except UsageError:
        return []


def _wrong_here(plan: Plan, runner: Runner) -> Iterator[str]:
    """Yields which models a run on this computer lacks."""
    if not runner.is_local or not plan.required:
        return
    from runners import preflight

    try:
        preflight.check_models(plan)
    except UsageError as error:
        yield from str(error).splitlines()


def _folder(options: PlanOptions) -> Path:
    folder = Path(options.plan_path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"--plan-path {folder} cannot be written ({error.strerror}); name another folder") from error
    return folder


def _write(plan: Plan, runner: Runner, videos: list[Video], folder: Path, *, submittable: bool) -> list[Part]:
    from runners.beam_import import import_beam

    import_beam(runner)
    from runners.plan_job import plan_job

    return plan_job(plan, runner, folder, submittable=submittable, deal_out_chunks=runner.deals_out_chunks(videos))


def _print_job(console: Console, plan: Plan, runner: Runner, parts: list[Part]) -> None:
    from beam_curate.report.dry_run import in_memory
    from runners import preflight

    console.print(f"Plan for {plan.runner.name}, from {plan.sources.path or plan.sources.list_path} to ", end="")
    console.print(plan.output.location())
    for name, value in runner.describe():
        console.print(f"  {name:<12} {value}")
    console.print("Steps that are fused, so that each video or chunk passes them in one go:")
    for number, part in enumerate(parts, 1):
        where = f"  on workers with {part.accelerator}" if part.accelerator else ""
        console.print(f"  {number}. {' > '.join(part.steps)}{where}")
    if plan.runner.name != "DirectRunner":
        console.print(
            f"  (as Beam's local runner fuses them; {plan.runner.name} has the same rules and may divide further)"
        )
    if memory := in_memory(plan, preflight.barriers(plan)):
        console.print(memory)


def _estimate(plan: Plan, runner: Runner, videos: list[Video], options: PlanOptions) -> Iterator[str]:
    from beam_curate.report import workload

    if options.estimate_hours_of_video:
        work = workload.of_hours(options.estimate_hours_of_video, plan)
        what = f"{options.estimate_hours_of_video:,g} hours of video, taken to be {workload.ASSUMED}"
    elif videos:
        work = workload.of_videos(videos, plan)
        what = f"{len(videos):,} videos of {work.hours_of_video:,.1f} hours"
    else:
        yield "No estimate: the input is not on this computer; --estimate-hours-of-video H says how much it is."
        return
    yield f"Estimate for {what}:"
    yield from (f"  {line}" for line in runner.estimate(plan, work, options.price_table))
