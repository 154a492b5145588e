"""The demonstration: with no input at all, a sample video is made, curated and verified."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from beam_curate.cli.sample_video import make_sample_video
from beam_curate.curate import curate
from beam_curate.dataset.verify.faults import print_report
from beam_curate.dataset.verify.verify import verify
from beam_curate.exit_codes import EXIT_DONE, EXIT_FAILED
from beam_curate.options.parse import Parsed
from beam_curate.progress import terminal
from beam_curate.store.layout import DATASET
from beam_curate.text_embeddings.t5 import token_counter


def run_demo(parsed: Parsed) -> int:
    """Makes a sample video below the output folder, curates it beside, and verifies the dataset."""
    console = terminal.console()
    options = parsed.options
    folder = Path(options.input.output_clip_path)
    sample = folder / "videos" / "sample.mp4"
    output = folder / "curated"
    if options.run.dry_run and not sample.is_file():
        console.print(
            f"No input was named, so a sample video would be made, {sample}, curated into {output} and verified. "
            "Nothing was written."
        )
        return EXIT_DONE
    if not sample.is_file():
        console.print(f"No input was named, so here is a demonstration: making a sample video, {sample}")
        sample.parent.mkdir(parents=True, exist_ok=True)
        make_sample_video(sample)
    demo = dataclasses.replace(
        options,
        input=dataclasses.replace(options.input, input_video_path=str(sample.parent), output_clip_path=str(output)),
        dataset=dataclasses.replace(options.dataset, generate_cosmos_predict_dataset="predict2"),
        text=dataclasses.replace(options.text, text_encoder="t5_random"),
    )
    status = curate(dataclasses.replace(parsed, options=demo))
    if status != EXIT_DONE or options.run.dry_run:
        return status
    report = verify(
        output / DATASET,
        min_frames=options.dataset.predict2_min_frames,
        allow_random_embeddings=True,
        count_tokens=token_counter("t5_random", options.run.workspace),
    )
    print_report(report, console)
    console.print(
        f"\nLook at {output}/clips, and at {output}/metas/v0 for what is known of each clip."
        "\nFor your own videos:"
        "\n  python -m beam_curate.run --runner=DirectRunner --input-video-path YOUR_VIDEOS/ "
        "--output-clip-path OUTPUT/ --no-generate-embeddings --generate-cosmos-predict-dataset predict2 "
        "--transnetv2-min-length-frames 120 --text-encoder t5_random"
        "\nand --text-encoder t5_11b instead, with google-t5/t5-11b in the workspace, for a dataset to train on."
    )
    return EXIT_DONE if report.ok else EXIT_FAILED
