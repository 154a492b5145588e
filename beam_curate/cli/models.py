"""The commands `beam-curate models list | download | check`."""

from __future__ import annotations

import argparse
import shlex
import sys

from beam_curate.cli.command import Commands, add_command, show_help
from beam_curate.errors import ModelFilesError, UsageError
from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED
from beam_curate.models.catalog import MODELS, ON_REQUEST, Model
from beam_curate.options.parse import parse
from beam_curate.options.run import WORKSPACE_SHOWN, default_workspace
from beam_curate.plan.requirements import required_models
from beam_curate.progress import terminal

DEFAULT = tuple(model for model in MODELS if model.used and model.name not in ON_REQUEST)
"""Downloaded without ``--models`` and ``--for``."""


def add(commands: Commands) -> None:
    """Adds the command with its own commands."""
    summary = "List, download and check models."
    parser = add_command(commands, "models", _list, summary=summary, description="Lists, downloads and checks models.")
    show_help(parser)
    parts = parser.add_subparsers(title="commands", metavar="list|download|check")
    listing = add_command(
        parts,
        "list",
        _list,
        summary="Show all models and which are there.",
        description="Shows all models: sizes on disk and in the memory of a device, licences, and which are there.",
    )
    fetching = add_command(
        parts,
        "download",
        _download,
        summary="Download models from the Hugging Face hub.",
        description="Downloads models at their pinned revisions, resumes interrupted downloads, and checks the files. "
        "Without --models and --for: "
        f"{', '.join(model.name for model in DEFAULT)} ({sum(model.download_gb for model in DEFAULT):.0f} GB). "
        f"{', '.join(ON_REQUEST)} are downloaded only when they are named or needed. Exit status: 0 all there, "
        "1 something failed, 2 mistakes.",
    )
    checking = add_command(
        parts,
        "check",
        _check,
        summary="Check that models are there and intact.",
        description="Checks that all files of models are there and intact. Without --models and --for: of all models "
        "that have a folder. Exit status: 0 all intact, 1 problems, 2 mistakes.",
    )
    for command in (listing, fetching, checking):
        command.add_argument(
            "--workspace", metavar="FOLDER", help=f"The folder with models/. (default: {WORKSPACE_SHOWN})"
        )
    for command in (fetching, checking):
        which = command.add_mutually_exclusive_group()
        which.add_argument(
            "--models", metavar="NAMES", help="Their names, separated by commas; beam-curate models list shows them."
        )
        which.add_argument(
            "--for",
            dest="flags",
            metavar="FLAGS",
            help="The models of a run with these flags, in quotes: --for='--captioning-algorithm cosmos_r1'.",
        )
    fetching.add_argument(
        "--keep-original",
        action="store_true",
        help="Keep T5-11B's own file of 45 GB beside the copy of its encoder, for cosmos-curate.",
    )
    checking.add_argument("--hash", action="store_true", help="Also read the files and compare their SHA-256.")


def _list(parsed: argparse.Namespace) -> int:
    from rich.table import Table

    from beam_curate.weights.check import check

    workspace = _workspace(parsed, None)
    table = Table(box=None, pad_edge=False, caption=f"Workspace: {workspace}", caption_justify="left")
    for heading in ("name", "id", "revision", "licence", "gated"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for heading in ("disk GB", "memory GB"):
        table.add_column(heading, justify="right")
    table.add_column("there", overflow="fold")
    gated = {True: "yes", False: "no", None: "see its page"}
    for model in MODELS:
        wrong = check(model, workspace)
        there = "yes" if not wrong else "corrupt" if model.folder(workspace).is_dir() else "no"
        facts = (model.name, model.model_id, model.revision[:12], model.licence, gated[model.gated])
        table.add_row(*facts, f"{model.disk_gb:.1f}", f"{model.memory_gb():.1f}", there)
    # A file or a pipe takes whole lines; a narrow terminal folds the cells.
    terminal.console(width=None if sys.stdout.isatty() else 200).print(table)
    return EXIT_DONE


def _download(parsed: argparse.Namespace) -> int:
    from beam_curate.weights.download import download

    models, workspace = _chosen(parsed)
    failed = False
    for model in DEFAULT if models is None else models:
        try:
            download(model, workspace, keep_original=parsed.keep_original, say=_say)
        except ModelFilesError as error:
            terminal.complain(error)
            failed = True
    return EXIT_FAILED if failed else EXIT_DONE


def _check(parsed: argparse.Namespace) -> int:
    from beam_curate.weights.check import check, how_to_fix

    models, workspace = _chosen(parsed)
    if models is None:
        models = [model for model in MODELS if model.folder(workspace).is_dir()]
        if not models:
            raise UsageError(f"there are no models in {workspace}: name another folder with --workspace")
    failed = False
    for model in models:
        wrong = check(model, workspace, hashes=parsed.hash)
        print(terminal.shown(f"{model.name}: {'; '.join(wrong) or 'intact'}"))
        if wrong:
            print(terminal.shown(f"  {how_to_fix(model, workspace)}"))
            failed = True
    return EXIT_FAILED if failed else EXIT_DONE


def _chosen(parsed: argparse.Namespace) -> tuple[list[Model] | None, str]:
    """Returns the models that were named, or None, and the workspace."""
    if parsed.flags is not None:
        try:
            options = parse(shlex.split(parsed.flags), for_run=False).options
        except ValueError as error:
            raise UsageError(f"--for is {parsed.flags!r}: {error}") from error
        models = [one.model for one in required_models(options)]
        if not models:
            print("A run with these flags needs no models in the workspace.")
        return models, _workspace(parsed, options.run.workspace)
    if parsed.models is None:
        return None, _workspace(parsed, None)
    known = {model.name: model for model in MODELS}
    names = [name.strip() for name in parsed.models.split(",") if name.strip()]
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--models: there is no {', '.join(unknown)}; choose among {', '.join(known)}")
    if not names:
        raise UsageError(f"--models is empty: choose among {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)], _workspace(parsed, None)


def _workspace(parsed: argparse.Namespace, of_flags: str | None) -> str:
    from pathlib import Path

    given: str | None = parsed.workspace
    return str(Path(given).expanduser().absolute()) if given else of_flags or default_workspace()


def _say(line: str) -> None:
    print(terminal.shown(line), flush=True)
