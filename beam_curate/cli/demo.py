"""The command `demo`: makes a sample video, curates it and verifies the dataset."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from beam_curate.cli.command import Commands, add_command
from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED
from beam_curate.options.dataset import DatasetOptions, TextOptions
from beam_curate.options.flags import Group, LocalPath, flag
from beam_curate.options.parse import Options, Parsed
from beam_curate.options.run import RunOptions
from beam_curate.options.sources import InputOptions


@dataclasses.dataclass(frozen=True)
class DemoOptions(Group):
    """Demonstration."""

    output_clip_path: LocalPath = flag(
        "beam_curate_demo", "The folder for the sample video and for what is made of it.", metavar="FOLDER"
    )
    dry_run: bool = flag(False, "Say what would be done, and stop.")
    verbose: bool = flag(False, "Say more while running, and show full error traces.")


def add(commands: Commands) -> None:
    """Adds the command."""
    add_command(
        commands,
        "demo",
        _demo,
        group=DemoOptions,
        summary="Make a sample video, curate it and verify the dataset.",
        description="Makes a sample video of 41 seconds, curates it into a dataset with random text embeddings, and "
        "verifies the dataset. It needs no models and no footage. Exit status: 0 done, 1 the run failed or the dataset "
        "has faults, 2 mistakes.",
    )


def _demo(parsed: argparse.Namespace) -> int:
    options: DemoOptions = parsed.options
    from beam_curate.cli.sample_video import make_sample_video
    from beam_curate.curate import curate
    from beam_curate.plan.plan import make_plan
    from beam_curate.progress import terminal

    console = terminal.console()
    folder = Path(options.output_clip_path)
    sample, output = folder / "videos" / "sample.mp4", folder / "curated"
    if not sample.is_file():
        if options.dry_run:
            console.print(
                f"A sample video would be made, {sample}, curated into {output} and verified. Nothing was written."
            )
            return EXIT_DONE
        console.print(f"Making a sample video: {sample}")
        sample.parent.mkdir(parents=True, exist_ok=True)
        make_sample_video(sample)
    run = Options(
        input=InputOptions(input_video_path=str(sample.parent), output_clip_path=str(output)),
        dataset=DatasetOptions(generate_cosmos_predict_dataset="predict2"),
        text=TextOptions(text_encoder="t5_random"),
        run=RunOptions(dry_run=options.dry_run, verbose=options.verbose),
    )
    status = curate(make_plan(Parsed(run)))
    return status if status != EXIT_DONE or options.dry_run else _verify(run)


def _verify(run: Options) -> int:
    """Verifies the dataset of the demonstration, and says how to go on."""
    from beam_curate.dataset.verify.faults import print_report
    from beam_curate.dataset.verify.verify import verify
    from beam_curate.progress import terminal
    from beam_curate.store.layout import DATASET
    from beam_curate.text_embeddings.t5 import token_counter

    console, output = terminal.console(), run.input.output_clip_path
    report = verify(
        Path(output) / DATASET,
        min_frames=run.dataset.predict2_min_frames,
        allow_random_embeddings=True,
        count_tokens=token_counter("t5_random", run.run.workspace),
    )
    print_report(report, console)
    console.print(
        f"\nLook at {output}/clips, and at {output}/metas/v0 for what is known of each clip."
        "\nFor your own videos:"
        "\n  beam-curate split --input-video-path YOUR_VIDEOS/ --output-clip-path OUTPUT/ --no-generate-embeddings "
        "--generate-cosmos-predict-dataset predict2 --transnetv2-min-length-frames 120 --text-encoder t5_random"
        "\nFor a dataset to train on: --text-encoder t5_11b instead, with google-t5/t5-11b in the workspace "
        "(beam-curate models download --models t5_xxl)."
    )
    return EXIT_DONE if report.ok else EXIT_FAILED
