"""The engine ``transformers``: models of the Qwen2.5-VL and Qwen3-VL families, such as Cosmos-Reason, in the worker."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beam_curate.engines import positions, sampling
from beam_curate.engines.base import Completion, Request, SamplingParams
from beam_curate.errors import ModelContextError, ModelOutputError
from beam_curate.models.catalog import Model
from beam_curate.models.devices import has_bfloat16
from beam_curate.models.oom_backoff import OomBackoff
from beam_curate.models.slot import ModelRef
from beam_curate.weights.fetch import WeightsSource, load_from_folder

_NOT_FINITE = (
    "the model produced NaN or infinite logits: its weights may be corrupt (run beam-curate models check --hash) "
    "or unsuitable for this precision"
)
_VIDEO = "<|vision_start|><|video_pad|><|vision_end|>"


@dataclasses.dataclass(frozen=True)
class _Prompt:
    """The tensors of a request, as a batch of one on the device."""

    inputs: dict[str, Any]
    length: int
    seed: int


class TransformersEngine:
    """A model with its processor.

    Args:
        processor: A transformers processor whose tokenizer has a chat template.
        model: What `AutoModelForImageTextToText` loads.
        device: torch's name of the model's device.

    Raises:
        ValueError: The processor has no chat template.
    """

    def __init__(self, processor: Any, model: Any, device: str = "cpu") -> None:
        self._processor = processor
        self._model = model.eval()
        self._device = device
        self._dtype = model.dtype
        self._fitting = OomBackoff()
        self._vision = model.config.vision_config
        self._context: int = model.config.get_text_config().max_position_embeddings
        if not isinstance(processor.chat_template, str):
            raise ValueError("there is no chat template: chat_template.json or chat_template.jinja is missing")
        # Qwen3-VL's processor puts a start and an end around each pair of frames, as the model was trained, but in
        # transformers 5 it leaves those of the template around all of them.
        self._template: str = processor.chat_template
        if type(processor).__name__.startswith("Qwen3"):
            self._template = self._template.replace(_VIDEO, "<|video_pad|>")
        ends = model.generation_config.eos_token_id
        self._ends: list[int] = ends if isinstance(ends, list) else [ends]
        self._pad: int = processor.tokenizer.pad_token_id
        sampling.forget_recommended(model, self._ends, self._pad)

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> list[Completion | Exception]:
        """Returns completions, computed in one batch, or in halves of it when out of memory; see `Engine`."""
        prompts = [self._read(request) for request in requests]
        fitting = [prompt for prompt in prompts if isinstance(prompt, _Prompt)]
        work: Any = functools.partial(self._generate, params=params)
        completions = iter(self._fitting.compute(fitting, _padded, work) if fitting else [])
        return [next(completions) if isinstance(prompt, _Prompt) else prompt for prompt in prompts]

    def _read(self, request: Request) -> _Prompt | Exception:
        """Turns a request into tensors; an exception is the failure of this request alone."""
        try:
            inputs = dict(self._inputs(request))
        except Exception as error:  # noqa: BLE001 - it becomes the failure of the request
            return error.with_traceback(None)
        length = int(inputs["input_ids"].shape[1])
        if length >= self._context:
            return ModelContextError(
                f"prompt and frames take {length:,} tokens, and the model's context is {self._context:,}: lower "
                "--captioning-sampling-fps or --captioning-window-size, or shorten --captioning-prompt-text"
            )
        return _Prompt(inputs, length, request.seed)

    def _inputs(self, request: Request) -> Any:
        import torch

        # The processor runs on the model's device: on a GPU it takes no time, and only bytes are copied there.
        video = torch.from_numpy(request.frames).permute(0, 3, 1, 2).to(self._device)
        content = [{"type": "video", "video": video}, {"type": "text", "text": request.prompt}]
        messages = [{"role": "user", "content": content}]
        if request.system is not None:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": request.system}]})
        inputs = self._processor.apply_chat_template(
            [messages],
            chat_template=self._template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            sanitize_control_tokens=True,  # a user's text is text, even if it looks like a special token
            processor_kwargs={
                "video_metadata": [[_video_metadata(request)]],
                "do_sample_frames": False,
                "do_resize": False,
            },
        )
        inputs["position_ids"] = self._positions(inputs, request)
        inputs = inputs.to(self._device)
        # The model would convert them itself, but until then they take twice the memory.
        inputs["pixel_values_videos"] = inputs["pixel_values_videos"].to(self._dtype)
        return inputs

    def _positions(self, inputs: Any, request: Request) -> Any:
        """Returns token positions, int64 [4, 1, num_tokens]: in the text, in time, height and width."""
        import torch

        (types,) = inputs["mm_token_type_ids"].tolist()
        (grid,) = inputs["video_grid_thw"].tolist()
        temporal = np.arange(grid[0])
        if "second_per_grid_ts" in inputs:
            seconds = _grid_seconds(request, grid[0], self._processor.video_processor.temporal_patch_size)
            temporal = positions.temporal_positions(seconds, self._vision.tokens_per_second)
        found = positions.video_positions(types, tuple(grid), self._vision.spatial_merge_size, temporal)
        return torch.from_numpy(np.concatenate([np.arange(len(types))[None], found])[:, None])

    def _generate(self, prompts: Sequence[_Prompt], params: SamplingParams) -> list[Completion | Exception]:
        import torch

        longest = max(prompt.length for prompt in prompts)
        room = self._context - longest
        most = min(params.max_output_tokens or room, room)
        watch = sampling.FiniteWatch(self._ends[0])
        with torch.inference_mode(), sampling.seeded(prompts[0].seed, self._device, params.temperature > 0):
            written = self._model.generate(
                **_batch([prompt.inputs for prompt in prompts], longest, self._pad),
                **sampling.arguments(params, most, longest, watch),
            )
        rows: list[list[int]] = written[:, longest:].tolist()
        completions = [self._completion(row, prompt, most) for row, prompt in zip(rows, prompts, strict=True)]
        return [
            ModelOutputError(_NOT_FINITE, "not_finite") if failed else completion
            for failed, completion in zip(watch.failed(len(completions)), completions, strict=True)
        ]

    def _completion(self, row: list[int], prompt: _Prompt, most: int) -> Completion:
        end = next((position for position, token in enumerate(row) if token in self._ends), None)
        tokens = row[:end]
        text = self._processor.tokenizer.decode(tokens, skip_special_tokens=True)
        return Completion(text, prompt.length, len(tokens), "length" if end is None and len(row) >= most else "stop")


def reference(model: Model, workspace: str, weights: WeightsSource | None = None, dtype: str | None = None) -> ModelRef:
    """Returns a reference to a model of the catalog.

    >>> from beam_curate.models.catalog import by_name
    >>> reference(by_name("qwen2.5_vl"), "/workspace").name
    'qwen2.5_vl'

    Args:
        model: The model.
        workspace: Where its folder lies.
        weights: Where workers without the folder fetch it from.
        dtype: ``float32`` or ``bfloat16``; None for bfloat16 if the device supports it.
    """
    load = functools.partial(_load, model=model, workspace=workspace, weights=weights, dtype=dtype)
    gpu_gb, ram_gb = model.memory_gb(), model.memory_gb("float32")
    return ModelRef(model.name, load, identity=f"transformers {model.identity}", gpu_gb=gpu_gb, ram_gb=ram_gb)


def _load(
    device: str, model: Model, workspace: str, weights: WeightsSource | None, dtype: str | None
) -> TransformersEngine:
    return load_from_folder(model, workspace, weights, functools.partial(load_folder, device=device, dtype=dtype))


def load_folder(folder: Path, device: str, dtype: str | None = None) -> TransformersEngine:
    """Loads a model from a folder in the layout of the Hugging Face hub.

    Raises:
        ValueError: Weights or the chat template are missing, or weights have the wrong shape.
        Exception: Whatever transformers raises for missing or corrupt files.
    """
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    on_gpu = device.startswith("cuda")
    precision = dtype or ("bfloat16" if on_gpu or has_bfloat16() else "float32")
    flash = on_gpu and importlib.util.find_spec("flash_attn") is not None
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    model, found = AutoModelForImageTextToText.from_pretrained(
        folder,
        local_files_only=True,
        dtype=getattr(torch, precision),
        attn_implementation="flash_attention_2" if flash else "sdpa",
        output_loading_info=True,
    )
    missing = [*found["missing_keys"], *found["mismatched_keys"]]  # transformers would initialise them at random
    if missing:
        raise ValueError(f"{len(missing)} weights are missing or have the wrong shape, such as {missing[0]}")
    return TransformersEngine(processor, model.to(device), device)


def _video_metadata(request: Request) -> dict[str, Any]:
    """Returns the metadata of a video with sampled frames: their indices in the original, and its frame rate.

    For a variable frame rate, an index is what a frame at that time would have at the mean rate.
    """
    total = request.last_frame - request.first_frame + 1
    # As exact as 24 and 30000/1001: a time given to the model in tenths of a second must not be rounded differently.
    rate = float(Fraction(total * request.frame_rate / len(request.frames)).limit_denominator(1001))
    return {
        "fps": rate,
        "duration": total / rate,
        "total_num_frames": total,
        "frames_indices": [round(second * rate, 6) for second in request.seconds],
        "height": request.frames.shape[1],
        "width": request.frames.shape[2],
    }


def _grid_seconds(request: Request, number: int, frames: int) -> NDArray[np.float64]:
    """Returns the start times of a video's grids, in s after the first.

    Evenly spaced frames are as far apart as in the maker's processor, whose rate counts the time after the last frame.

    Args:
        request: Request with the video.
        number: Number of grids.
        frames: Frames per grid.
    """
    if request.is_even:
        return np.arange(number) * frames / request.frame_rate
    seconds = np.asarray(request.seconds)[::frames]
    return seconds - seconds[0]


def _padded(prompts: Sequence[_Prompt]) -> int:
    return len(prompts) * max(prompt.length for prompt in prompts)


def _batch(inputs: Sequence[dict[str, Any]], length: int, pad: int) -> dict[str, Any]:
    """Makes one batch of prompts: token tensors are padded on the left, frame tensors concatenated."""
    import torch

    fill = {"input_ids": pad, "attention_mask": 0, "mm_token_type_ids": 0, "position_ids": 0}
    batch: dict[str, Any] = {}
    for name in inputs[0]:
        rows = [torch.as_tensor(one[name]) for one in inputs]
        if name in fill:
            rows = [torch.nn.functional.pad(row, (length - row.shape[-1], 0), value=fill[name]) for row in rows]
        batch[name] = torch.cat(rows, dim=1 if name == "position_ids" else 0)
    return batch
