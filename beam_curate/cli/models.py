"""The commands `beam-curate models list | download | check`."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys

from beam_curate.errors import ModelFilesError, UsageError
from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED
from beam_curate.models.catalog import LARGE, MODELS, Model, needed
from beam_curate.options.parse import default_workspace, parse
from beam_curate.progress import terminal

DEFAULT = tuple(model for model in MODELS if model.used and model.name not in LARGE)
"""Downloaded without ``--models`` and ``--for``."""


def farewell(number: signal.Signals) -> None:
    """Says how a command goes on that a signal ends."""
    word = "Interrupted" if number == signal.SIGINT else f"Stopped by {number.name}"
    print(f"\n{word}. What is done is kept; the same command goes on from there.", flush=True)


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Adds the commands to a parser; the parsed namespace's ``command`` runs the one that was given."""
    commands = parser.add_subparsers(required=True, metavar="list|download|check")
    workspace = argparse.ArgumentParser(add_help=False)
    workspace.add_argument(
        "--workspace",
        metavar="FOLDER",
        help="the folder with models/ (default: ${COSMOS_CURATE_LOCAL_WORKSPACE_PREFIX:-$HOME}/"
        "cosmos_curate_local_workspace)",
    )
    choice = argparse.ArgumentParser(add_help=False)
    which = choice.add_mutually_exclusive_group()
    which.add_argument("--models", metavar="NAMES", help="their names, with commas; beam-curate models list shows them")
    which.add_argument(
        "--for",
        dest="flags",
        metavar="FLAGS",
        help="the models of a run with these flags, in quotes: --for='--captioning-algorithm cosmos_r1'",
    )

    listing = commands.add_parser(
        "list",
        parents=[workspace],
        help="show all models and which are there",
        description="Shows all models: sizes on disk and in the memory of a device, licences, and which are there.",
    )
    listing.set_defaults(command=_list)

    fetching = commands.add_parser(
        "download",
        parents=[workspace, choice],
        help="download models from the Hugging Face hub",
        description="Downloads models at their pinned revisions, goes on with a download that was broken off, and "
        "checks what came. Without --models and --for: "
        f"{', '.join(model.name for model in DEFAULT)} ({sum(model.download_gb for model in DEFAULT):.0f} GB). "
        f"{' and '.join(LARGE)} are large and are downloaded only when they are named. Exit status: 0 all there, "
        "1 something failed, 2 mistakes.",
    )
    fetching.add_argument(
        "--keep-original",
        action="store_true",
        help="keep T5-11B's own file of 45 GB beside the copy of its encoder, for cosmos-curate",
    )
    fetching.set_defaults(command=_download)

    checking = commands.add_parser(
        "check",
        parents=[workspace, choice],
        help="check that models are there and whole",
        description="Checks that all files of models are there and whole. Without --models and --for: of all models "
        "that have a folder. Exit status: 0 all whole, 1 faults, 2 mistakes.",
    )
    checking.add_argument("--hash", action="store_true", help="also read the files and compare their SHA-256")
    checking.set_defaults(command=_check)


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
        there = "yes" if not wrong else "broken" if model.folder(workspace).is_dir() else "no"
        facts = (model.name, model.model_id, model.revision[:12], model.licence, gated[model.gated])
        table.add_row(*facts, f"{model.disk_gb:.1f}", f"{model.memory_gb():.1f}", there)
    # A file or a pipe takes whole lines; a narrow terminal folds the cells.
    terminal.console(width=None if sys.stdout.isatty() else 200).print(table)
    return 0


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
        print(terminal.shown(f"{model.name}: {'; '.join(wrong) or 'whole'}"))
        if wrong:
            print(terminal.shown(f"  {how_to_fix(model, workspace)}"))
            failed = True
    return EXIT_FAILED if failed else EXIT_DONE


def _chosen(parsed: argparse.Namespace) -> tuple[list[Model] | None, str]:
    """Returns the models that were named, or None, and the workspace."""
    if parsed.flags is not None:
        try:
            options = parse(shlex.split(parsed.flags)).options
        except ValueError as error:
            raise UsageError(f"--for is {parsed.flags!r}: {error}") from error
        models = needed(options)
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
