"""What can be known before the first video is checked before the first video.

Each check raises a UsageError with one message: the problem, the flag, the mend.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from beam_curate.elements import Video
from beam_curate.errors import UsageError
from beam_curate.layout import Layout
from beam_curate.models.catalog import T5_XXL
from beam_curate.options import Options

# Either format will do; a model in several files has an index of them.
_WEIGHTS = ("pytorch_model.bin", "model.safetensors")
# Output and remembered results of a video take about this much of its size at the default quality; long
# sources that are cut whole come near it.
_OUTPUT_PER_INPUT = 1.5


def check_folders(input_root: str, output: str) -> None:
    """Checks that input and output are apart: else a rerun would take its own clips for sources."""
    source, target = os.path.realpath(input_root), os.path.realpath(output)
    for inner, outer, how in ((target, source, "lies inside"), (source, target, "contains")):
        if inner == outer:
            raise UsageError(f"--output-clip-path {output} is the input folder; name another folder")
        if inner.startswith(outer.rstrip("/") + "/"):
            raise UsageError(f"--output-clip-path {output} {how} the input folder {input_root}; name one beside it")


def check_output(output: str) -> None:
    """Makes the output folder and checks that files can be written there."""
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
        probe = Path(output) / f".beam_curate_{uuid.uuid4().hex}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"--output-clip-path {output} cannot be written ({error.strerror}); name another folder or "
            "change its permissions"
        ) from error


def check_packages() -> None:
    """Checks that the three packages come from one place: a folder named ``transforms`` could shadow ours."""
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


def check_models(options: Options) -> None:
    """Checks that the files of the models that the options name are there."""
    needs_text = options.dataset.generate_cosmos_predict_dataset == "predict2"
    if needs_text and options.text.text_encoder == "t5_11b":
        T5_XXL.require(options.run.workspace, "--text-encoder t5_11b")
        folder = T5_XXL.folder(options.run.workspace)
        if not any((folder / f"{name}{index}").is_file() for name in _WEIGHTS for index in ("", ".index.json")):
            raise UsageError(
                f"--text-encoder t5_11b needs {T5_XXL.model_id} and its weights, {' or '.join(_WEIGHTS)}, are missing "
                f"from {folder}; get them with: hf download {T5_XXL.model_id} --revision {T5_XXL.revision} "
                f"--local-dir {folder}"
            )


def check_encoder(options: Options) -> None:
    """Encodes one frame with the chosen encoder: A100 and H100, for two, have none on the GPU."""
    import av

    from beam_curate.plan import encoding_of
    from beam_curate.video.encode import ClipWriter

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.mp4"
        frame = av.VideoFrame(256, 256, "yuv420p")
        try:
            with ClipWriter(path, encoding_of(options), Fraction(24), Fraction(1, 24), Fraction(1), None) as writer:
                writer.write(frame, 0)
        except (av.error.FFmpegError, ValueError) as error:
            raise UsageError(
                f"--transcode-encoder {options.transcode.transcode_encoder} does not work here ({error}); "
                "take --transcode-encoder libx264"
            ) from error


def check_disk(layout: Layout, videos: Iterable[Video]) -> str | None:
    """Returns a warning when the output may not fit on its disk, or None."""
    needed = sum(video.size_bytes for video in videos) * _OUTPUT_PER_INPUT
    free = shutil.disk_usage(layout.root).free
    if needed <= free:
        return None
    return (
        f"the output may need {needed / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free on its disk; "
        "free some, or take --limit to work in portions"
    )
