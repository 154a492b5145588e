"""The command `verify`: checks every item of a dataset."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from beam_curate.buckets.base import BucketError, scheme_of
from beam_curate.cli.command import Commands, add_command
from beam_curate.errors import UsageError
from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED
from beam_curate.options.clips import SplitOptions
from beam_curate.options.dataset import DatasetOptions
from beam_curate.options.flags import Group, LocalPath, flag, place, same_flag
from beam_curate.options.run import RunOptions
from beam_curate.options.sources import InputOptions
from beam_curate.progress.terminal import console, shown

if TYPE_CHECKING:
    from beam_curate.dataset.verify.files import Files


@dataclasses.dataclass(frozen=True)
class VerifyOptions(Group):
    """Checks."""

    min_frames: int = same_flag(
        DatasetOptions,
        "predict2_min_frames",
        "Fewest frames of a video: the trainer draws 93 and fails on a video of exactly 93.",
    )
    allow_random_embeddings: bool = flag(
        False, "Accept a dataset made with --text-encoder t5_random, which is for trying out."
    )
    workspace: LocalPath | None = flag(
        None,
        "Workspace with google-t5/t5-11b, to compare the token counts of captions and embeddings; without it they are "
        "not compared.",
        metavar="FOLDER",
    )
    quarantine: LocalPath | None = flag(
        None,
        "Move the files of faulty items into this folder; nothing is deleted. Only of a dataset on this computer.",
        metavar="FOLDER",
    )
    decode_timeout_s: float = same_flag(
        SplitOptions, "decode_timeout_s", "A video is unreadable when reading it makes no progress for this long."
    )
    decode_memory_mb: int = same_flag(
        SplitOptions, "decode_memory_mb", "A video is unreadable when reading it needs more memory than this."
    )
    input_s3_profile_name: str = same_flag(
        InputOptions,
        "input_s3_profile_name",
        "The profile of ~/.aws/credentials (or of the file that COSMOS_S3_PROFILE_PATH names) for a dataset in s3://.",
    )
    cache_path: LocalPath | None = same_flag(
        RunOptions, "cache_path", "The folder for copies of what is in an object store, while it is checked."
    )
    cache_gb: float = same_flag(RunOptions, "cache_gb", "How much that folder may hold.")


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "verify",
        _verify,
        group=VerifyOptions,
        summary="Check every item of a dataset before training.",
        description="Checks every item of a Cosmos-Predict2 dataset: names, videos, captions, text embeddings, and "
        "that they belong together. Prints each fault with its file. To restore what is missing or damaged, run the "
        "command that made the dataset again, with --repair. Exit status: 0 no faults, 1 faults, 2 mistakes.",
    )
    parser.add_argument(
        "dataset",
        metavar="DATASET",
        help="A folder with videos/, metas/ and t5_xxl/, or with train/ and val/ of that form; or s3://BUCKET/PREFIX "
        "or gs://BUCKET/PREFIX of one.",
    )


def _verify(parsed: argparse.Namespace) -> int:
    options: VerifyOptions = parsed.options
    from beam_curate.dataset.verify.faults import print_report, quarantine
    from beam_curate.dataset.verify.verify import verify
    from beam_curate.models.catalog import T5_XXL
    from beam_curate.store.layout import NOT_FOR_TRAINING
    from beam_curate.text_embeddings.t5 import token_counter
    from beam_curate.video.decoder_pool import Limits
    from beam_curate.weights.check import how_to_fix

    files, dataset = _opened(parsed.dataset, options)
    count_tokens = None
    if any(files.exists(dataset / root / NOT_FOR_TRAINING) for root in ("", "train", "val")):
        count_tokens = token_counter("t5_random", "") if options.allow_random_embeddings else None
    elif options.workspace is not None:
        tokenizer = T5_XXL.folder(options.workspace) / "tokenizer.json"
        if not tokenizer.is_file():
            raise UsageError(f"--workspace: {tokenizer} is missing; {how_to_fix(T5_XXL, options.workspace)}")
        count_tokens = token_counter("t5_11b", options.workspace)
    report = verify(
        dataset,
        files=files,
        min_frames=options.min_frames,
        allow_random_embeddings=options.allow_random_embeddings,
        count_tokens=count_tokens,
        limits=Limits(options.decode_timeout_s, options.decode_memory_mb),
    )
    printer = console()
    print_report(report, printer)
    if options.quarantine is not None and not report.ok:
        moved = quarantine(report, Path(options.quarantine))
        printer.print(shown(f"{len(moved)} files moved to {options.quarantine}"))
    return EXIT_DONE if report.ok else EXIT_FAILED


def _opened(text: str, options: VerifyOptions) -> tuple[Files, PurePath]:
    """Returns what reads a dataset, and its path there."""
    from beam_curate.buckets.file_cache import FileCache
    from beam_curate.buckets.open import open_bucket
    from beam_curate.dataset.verify.files import LOCAL, BucketFiles

    if not text.strip():
        raise UsageError("DATASET is empty: name the folder to check")
    try:
        dataset = place(text)
        if not scheme_of(dataset):
            files: Files = LOCAL
            path: PurePath = Path(dataset)
        else:
            bucket, key = open_bucket(dataset, options.input_s3_profile_name)
            bucket.check()
            files = BucketFiles(bucket, FileCache(options.cache_path or "", round(options.cache_gb * 1e9)))
            path = PurePosixPath(key.strip("/"))
    except ValueError as error:
        raise UsageError(f"DATASET is {text!r}: {error}") from error
    except BucketError as error:
        raise UsageError(str(error)) from error
    if not files.is_folder(path):
        raise UsageError(f"{dataset}: no such folder")
    if options.quarantine is not None and scheme_of(dataset):
        raise UsageError(
            f"--quarantine moves files of a folder, and {dataset} is in an object store: run the command that made it "
            "with --repair, or copy the dataset to this computer"
        )
    return files, path
