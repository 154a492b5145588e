"""Curates a small video from Python and reads the results, as one would in a notebook.

    python examples/curate_from_python.py [FOLDER]

It draws ten seconds of video into FOLDER (default: a new temporary folder), cuts them into clips, captions these from
measurements and writes a dataset with random text embeddings: no model, no GPU, no download.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import pyarrow as pa

from beam_curate.curate import curate
from beam_curate.dataset.embedding_file import load_embedding
from beam_curate.options.parse import parse
from beam_curate.plan.plan import make_plan

FRAMES_PER_S = 24
DATASET = "cosmos_predict2_video2world_dataset"


def draw_video(path: Path, seconds: int = 10, width: int = 320, height: int = 180) -> None:
    """Draws a bright disc that moves to the right."""
    rows, columns = np.mgrid[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_S)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(seconds * FRAMES_PER_S):
            distance = np.hypot(columns - (number + 40) % width, rows - height / 2)
            image = np.where(distance[..., None] < 30, [250, 210, 80], [20, 60, 110]).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def main(folder: Path) -> int:
    """Runs the example; returns the exit status of the run."""
    videos, output = folder / "videos", folder / "curated"
    videos.mkdir(parents=True, exist_ok=True)
    draw_video(videos / "disc.mp4")

    # The flags of `beam-curate split`. A plan holds the stages that they ask for, each with its settings.
    plan = make_plan(
        parse(
            [
                *("--input-video-path", str(videos)),
                *("--output-clip-path", str(output)),
                "--no-generate-embeddings",
                *("--splitting-algorithm", "fixed-stride", "--fixed-stride-split-duration", "5"),
                *("--captioning-algorithm", "describe"),
                *("--generate-cosmos-predict-dataset", "predict2", "--text-encoder", "t5_random"),
            ]
        )
    )
    print("stages:", ", ".join(planned.name for planned in plan.stages))
    status = curate(plan)

    # One JSON file per clip becomes one row of a table, which `to_pandas()` shows in a notebook.
    metas = [json.loads(path.read_bytes()) for path in (output / "metas" / "v0").glob("*.json")]
    rows = [
        {"start_s": meta["duration_span"][0], "frames": meta["num_frames"], "clip": meta["clip_location"]}
        for meta in metas
    ]
    clips = pa.Table.from_pylist(rows).sort_by("start_s")
    print(clips)

    # One item of the dataset: a video, its caption and the text embedding of the caption.
    for caption in sorted((output / DATASET / "metas").glob("*.txt")):
        embedding = load_embedding((output / DATASET / "t5_xxl" / f"{caption.stem}.pickle").read_bytes())
        print(f"{caption.stem}: embedding of shape {embedding.shape}; {caption.read_text()}")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())))
