"""What it brings that one thread prepares the next batch while another has the model.

A small vision-language model on the processor, one thread for it and one for the decoder; it writes so much that a
window takes as long to decode and resize as to caption. Two threads run the captioner, against one thread that
decodes, captions, decodes, captions. At best that is twice as fast.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from common import in_turn, report, timed
from footage import make_footage
from footage_clips import RATE, chunks_of

from beam_curate.captions import frames
from beam_curate.captions.frames import FrameSampling
from beam_curate.captions.prompts import Prompts
from beam_curate.captions.vlm_captioner import VlmCaptioner
from beam_curate.captions.windows import WindowRules
from beam_curate.engines import transformers_engine
from beam_curate.engines.base import Request, SamplingParams
from beam_curate.models.slot import ModelRef
from tests.support.output import Output
from tests.support.plans import Placed
from tests.support.tiny_models import make_qwen2_5_vl

SIZE = (1280, 720)
FRAMES = 240
CHUNKS = 12  # the first is decoded before the model has anything to do


def load(device: str, folder: Path) -> transformers_engine.TransformersEngine:
    """Loads the model."""
    return transformers_engine.load_folder(folder, device, "float32")


def tokens_for(worker: VlmCaptioner, request: Request, seconds: float) -> int:
    """Returns how many tokens to write so that captioning a window takes so many seconds, at least one."""

    def captioning_s(tokens: int) -> float:
        with worker.model.use() as engine:
            return min(timed(lambda: engine.generate([request], SamplingParams(tokens))) for _ in range(3))

    few, many = captioning_s(1), captioning_s(33)
    return max(1, round(1 + 32 * (seconds - few) / (many - few)))


def main() -> int:
    """Prints the line of the result."""
    torch.set_num_threads(1)
    frames.THREADS = "NONE"
    with tempfile.TemporaryDirectory() as folder:
        layout = Output(Path(folder) / "out")
        footage = make_footage(Path(folder) / "footage.mp4", size=SIZE, rate=RATE, seconds=FRAMES / RATE)
        chunks = chunks_of(layout, footage, SIZE, FRAMES, CHUNKS)
        model = make_qwen2_5_vl(Path(folder) / "model", width=256)
        captioner = VlmCaptioner(
            windows=WindowRules(FRAMES, FRAMES),
            algorithm="qwen",
            model=ModelRef("tiny", functools.partial(load, folder=model)),
            prompts=Prompts("What happens?"),
            sampling=SamplingParams(1),
            frame_sampling=FrameSampling(0.5, 28),
            batch_tokens=32768,
        )
        worker = Placed(captioner, layout)
        worker.run(chunks[0])  # loads the model
        media = chunks[0].clips[0].media
        assert media is not None
        seen = frames.sample_window(media, (0, FRAMES - 1), captioner.frame_sampling)
        decoding_s = min(timed(lambda: list(frames.sample_frames(footage, [seen]))) for _ in range(3))
        (pictures,) = frames.sample_frames(footage, [seen])
        request = Request(captioner.prompts.first, pictures, seen.frame_rate, 0, FRAMES - 1)
        worker = worker.having(sampling=SamplingParams(tokens_for(captioner, request, decoding_s)))
        both_s = timed(lambda: worker.run(chunks[0]))

        def one_after_the_other() -> None:
            for chunk in chunks:
                worker.run(chunk)

        def overlapped() -> None:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(worker.run, chunks))

        serial_s, overlapped_s = in_turn(one_after_the_other, overlapped)
    shares = f"decoding {decoding_s:.2f} s of {both_s:.2f} s a window, {CHUNKS} windows"
    report("caption_overlap", serial_s / overlapped_s, ">=1.6", shares)
    return 0


if __name__ == "__main__":
    sys.exit(main())
