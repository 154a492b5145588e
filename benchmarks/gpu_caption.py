"""Captioning on a GPU: a Qwen2.5-VL of the size of 7B with random weights, through the real captioner.

It is compared with a plain loop that decodes and captions one window after the other. A random model never ends by
itself, so each answer has the same number of tokens. Without a GPU it says so and does nothing; `--tiny` tries the
same on the processor with a tiny model, which says nothing of speed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from common import report, timed
from footage import make_footage
from footage_clips import RATE, chunks_of
from transformers import AutoConfig, AutoProcessor, Qwen2_5_VLForConditionalGeneration

from beam_curate import counters
from beam_curate.captions.frames import FrameSampling
from beam_curate.captions.prompts import Prompts
from beam_curate.captions.vlm_captioner import VlmCaptioner
from beam_curate.captions.windows import WindowRules
from beam_curate.engines.base import SamplingParams
from beam_curate.engines.transformers_engine import TransformersEngine
from beam_curate.models.slot import ModelRef
from tests.support.output import Output
from tests.support.plans import Placed
from tests.support.tiny_models import make_qwen2_5_vl

# Of Qwen2.5-VL-7B's config.json.
TEXT = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 128000,
    "max_window_layers": 28,
    "rope_scaling": {"type": "mrope", "rope_type": "mrope", "mrope_section": [16, 24, 24]},
}
VISION = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 3584,
    "fullatt_block_indexes": [7, 15, 23, 31],
    "tokens_per_second": 2,
}


@dataclasses.dataclass(frozen=True)
class Size:
    """How much work there is."""

    picture: tuple[int, int]
    frames: int
    chunks: int
    output_tokens: int


FULL = Size((1280, 720), 1536, 8, 256)  # 6 windows a clip
TINY = Size((160, 90), 64, 2, 4)


def load(device: str, folder: Path, tiny: bool) -> TransformersEngine:
    """Makes a model on the device, with random weights; the processor and its tokens are those of the folder."""
    config = AutoConfig.from_pretrained(folder)
    if not tiny:
        ids = {name: value for name, value in config.to_dict().items() if name.endswith("_token_id")}
        ends = {name: getattr(config.text_config, name) for name in ("eos_token_id", "pad_token_id")}
        config = type(config)(text_config=TEXT | ends, vision_config=VISION, **ids)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if tiny else torch.bfloat16)
    try:
        with torch.device(device):
            model = Qwen2_5_VLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    model.generation_config.eos_token_id = config.text_config.eos_token_id
    return TransformersEngine(AutoProcessor.from_pretrained(folder), model, device)


class Busy:
    """How busy the GPU is, by nvidia-smi twice a second."""

    def __init__(self) -> None:
        self.shares: list[int] = []

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watches it inside the block; nothing happens where there is no nvidia-smi."""
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(ended,))
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _watch(self, ended: threading.Event) -> None:
        query = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")
        while shutil.which("nvidia-smi") and not ended.wait(0.5):
            done = subprocess.run(query, stdout=subprocess.PIPE, text=True, check=False)
            with contextlib.suppress(ValueError, IndexError):
                self.shares.append(int(done.stdout.split()[0]))


def main() -> int:
    """Prints the figures of both sides, and the line of the result."""
    tiny = "--tiny" in sys.argv[1:]
    if not tiny and not torch.cuda.is_available():
        print("gpu_caption: there is no GPU here")
        return 0
    size = TINY if tiny else FULL
    with tempfile.TemporaryDirectory() as folder:
        layout = Output(Path(folder) / "out")
        seconds = size.frames / RATE
        footage = make_footage(Path(folder) / "footage.mp4", size=size.picture, rate=RATE, seconds=seconds)
        chunks = chunks_of(layout, footage, size.picture, size.frames, size.chunks)
        model = make_qwen2_5_vl(Path(folder) / "model")
        captioner = VlmCaptioner(
            windows=WindowRules() if not tiny else WindowRules(32, 32),
            algorithm="qwen",
            model=ModelRef("random 7B", functools.partial(load, folder=model, tiny=tiny)),
            prompts=Prompts("What happens?"),
            sampling=SamplingParams(size.output_tokens, min_tokens=size.output_tokens),
            frame_sampling=FrameSampling(2.0, 28),
            batch_tokens=32768,
        )
        worker = Placed(captioner, layout)
        worker.run(chunks[0])  # makes the model and warms the device up

        windows = size.chunks * len(captioner.windows.divide(size.frames))

        def loop() -> None:
            alone = worker.having(batch_tokens=1)
            for chunk in chunks:
                alone.run(chunk)

        def batched() -> None:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(worker.run, chunks))

        loop_s = measured("one at a time", loop, windows)
        captioner_s = measured("captioner", batched, windows)
    report("gpu_caption_tiny" if tiny else "gpu_caption", loop_s / captioner_s, "none", "a plain loop, batch 1")
    return 0


def measured(name: str, work: Callable[[], object], windows: int) -> float:
    """Does some work, prints its figures, and returns the seconds it took."""
    counters.reset()
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    busy = Busy()
    with busy.watched():
        seconds = timed(work)
    written = counters.counts()["caption output tokens"]
    figures = [f"{windows / seconds:.2f} windows/s", f"{written / seconds:.0f} output tokens/s"]
    if busy.shares:
        figures.append(f"GPU busy {sum(busy.shares) / len(busy.shares):.0f} %")
    if on_gpu:
        figures.append(f"peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")
    print(f"{name}: {', '.join(figures)}", flush=True)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
