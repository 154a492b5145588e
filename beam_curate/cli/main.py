"""The command `beam-curate`: curate, verify a dataset, get models, clean up."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from beam_curate.cli import exit_status
from beam_curate.cli.models import add_commands, farewell
from beam_curate.cli.split import main as run
from beam_curate.errors import UsageError
from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED
from beam_curate.options.clips import SplitOptions
from beam_curate.options.dataset import TRAINER_MIN_FRAMES
from beam_curate.options.flags import MOST_FRAMES, Flag, flags_of
from beam_curate.processes import signals
from beam_curate.progress.terminal import console, shown

MIN_FRAMES = Flag(
    "fewest frames of a video: the trainer reads 93 and fails on a video of exactly 93",
    name="min_frames",
    kind=int,
    unit="frames",
    minimum=1,
    maximum=MOST_FRAMES,
)

# Of the run's flags, which verify has as well, and what they mean there.
_VERIFY_LIMITS = {
    "decode_timeout_s": "a video is unreadable when reading it makes no progress for so many seconds",
    "decode_memory_mb": "a video is unreadable when reading it needs more MiB of memory",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["split"]:
        return run(arguments[1:])  # its flags are those of `python -m beam_curate.run`
    with signals.answered(farewell):
        return exit_status.status_of(lambda: _command(arguments))


def _command(arguments: list[str]) -> int:
    parsed = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    return command(parsed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="beam-curate",
        description="Source videos in, a Cosmos-Predict fine-tuning dataset out. beam-curate COMMAND --help says more.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("split", help="curate videos; the same as python -m beam_curate.run", add_help=False)
    _add_verify(commands)

    models = commands.add_parser(
        "models",
        help="list, download and check models",
        description="Models: list, download, check.",
    )
    add_commands(models)

    clean = commands.add_parser(
        "clean",
        help="remove remembered results of other options, and leftovers",
        description="Removes from an output folder what only runs with other options would use again, and temporary "
        "files of runs that were killed. Clips, records and the dataset stay. Not while a run works on the folder. "
        "Exit status: 0 done, 1 something could not be removed, 2 mistakes.",
    )
    clean.add_argument("output", type=Path, metavar="OUTPUT", help="an output folder")
    clean.set_defaults(command=_clean)
    return parser


def _add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verify = commands.add_parser(
        "verify",
        help="check every item of a dataset before a trainer meets it",
        description="Checks every item of a Cosmos-Predict2 dataset: names, videos, captions, text embeddings, and "
        "that they belong together. Prints each fault with its file. What is missing or damaged is made again by the "
        "command that made the dataset, with --repair. Exit status: 0 clean, 1 faults, 2 mistakes.",
    )
    verify.add_argument(
        "dataset",
        metavar="DATASET",
        help="folder with videos/, metas/ and t5_xxl/, or with train/ and val/ of that form",
    )
    verify.add_argument(
        "--min-frames",
        type=MIN_FRAMES.checked,
        metavar="N",
        default=TRAINER_MIN_FRAMES,
        help=f"{MIN_FRAMES.help_text} ({MIN_FRAMES.bounds}; default: %(default)s)",
    )
    verify.add_argument(
        "--allow-random-embeddings",
        action="store_true",
        help="accept a dataset made with --text-encoder t5_random, which is for trying out",
    )
    verify.add_argument(
        "--workspace",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="workspace with google-t5/t5-11b, to compare token counts of captions and embeddings; else they are not "
        "compared",
    )
    verify.add_argument(
        "--quarantine",
        type=Path,
        default=None,
        metavar="DIR",
        help="move the files of faulty items there; nothing is deleted",
    )
    for flag in flags_of(SplitOptions):
        if flag.name in _VERIFY_LIMITS:
            words = f"{_VERIFY_LIMITS[flag.name]} ({flag.bounds}; default: %(default)s)"
            verify.add_argument(flag.option, type=flag.checked, metavar="N", default=flag.default, help=words)
    verify.set_defaults(command=_verify)


def _verify(parsed: argparse.Namespace) -> int:
    from beam_curate.dataset.verify.faults import print_report, quarantine
    from beam_curate.dataset.verify.verify import verify
    from beam_curate.models.catalog import T5_XXL
    from beam_curate.store.layout import NOT_FOR_TRAINING
    from beam_curate.text_embeddings.t5 import token_counter
    from beam_curate.video.decoder_pool import Limits
    from beam_curate.weights.check import how_to_fix

    dataset = Path(parsed.dataset)
    if not parsed.dataset.strip():
        raise UsageError("DATASET is empty: name the folder to check")
    if not dataset.is_dir():
        raise UsageError(f"{dataset}: no such folder")
    count_tokens = None
    if any((dataset / root / NOT_FOR_TRAINING).exists() for root in ("", "train", "val")):
        count_tokens = token_counter("t5_random", "") if parsed.allow_random_embeddings else None
    elif parsed.workspace is not None:
        tokenizer = T5_XXL.folder(str(parsed.workspace)) / "tokenizer.json"
        if not tokenizer.is_file():
            raise UsageError(f"--workspace: {tokenizer} is missing; {how_to_fix(T5_XXL, str(parsed.workspace))}")
        count_tokens = token_counter("t5_11b", str(parsed.workspace))
    report = verify(
        dataset,
        min_frames=parsed.min_frames,
        allow_random_embeddings=parsed.allow_random_embeddings,
        count_tokens=count_tokens,
        limits=Limits(parsed.decode_timeout_s, parsed.decode_memory_mb),
    )
    printer = console()
    print_report(report, printer)
    if parsed.quarantine is not None and not report.ok:
        moved = quarantine(report, parsed.quarantine)
        printer.print(shown(f"{len(moved)} files moved to {parsed.quarantine}"))
    return EXIT_DONE if report.ok else EXIT_FAILED


def _clean(parsed: argparse.Namespace) -> int:
    from beam_curate.store.clean import clean
    from beam_curate.store.local import LocalStore

    cleaned = clean(LocalStore(parsed.output.resolve()))
    for note in cleaned.notes:
        print(f"note: {shown(note)}")
    print(f"{cleaned.files} files removed, {cleaned.size_bytes / 1e6:.1f} MB that nothing else used freed")
    return 0


def entry() -> NoReturn:
    """Is the console script."""
    signals.end(main())


if __name__ == "__main__":
    entry()
