"""The filter ``aesthetic``: clips that people would not like to look at, by a model that learned from their marks.

CLIP ViT-L/14 describes a frame in 768 numbers, and a small network makes a mark of these, about 1 to 10 (Schuhmann,
improved-aesthetic-predictor; weights sac+logos+ava1-l14-linearMSE).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from beam_curate.filters.base import ClipFilter
from beam_curate.filters.pictures import square_pictures
from beam_curate.models.catalog import AESTHETIC_SCORER, CLIP_VIT
from beam_curate.models.oom_backoff import OomBackoff
from beam_curate.models.slot import ModelRef
from beam_curate.processes.permits import CORES
from beam_curate.weights.fetch import WeightsSource, load_from_folder

if TYPE_CHECKING:
    import torch

FPS = 1.0
"""Frames/s of a clip that are marked, as in cosmos-curate."""

SCORE_ONLY = -1.0
"""A threshold up to here rejects nothing: cosmos-curate gives a clip that it cannot mark this one."""

_WIDTHS = (768, 1024, 128, 64, 16, 1)  # of the network, from CLIP's features to the mark; nothing but matrices
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's training pictures


@dataclasses.dataclass(frozen=True)
class AestheticFilter(ClipFilter):
    """Marks a frame of each second, and rejects clips below a mark.

    Attributes:
        model: The scorer.
        threshold: Smallest mark.
        reduction: Which mark of a clip counts: its frames' smallest, or their mean.
    """

    model: ModelRef
    threshold: float
    reduction: Literal["min", "mean"]

    name: ClassVar[str] = "aesthetic"
    version: ClassVar[int] = 1
    rule: ClassVar[frozenset[str]] = ClipFilter.rule | {"threshold"}
    transient: ClassVar[frozenset[str]] = rule

    def score(self, clip: Path) -> Mapping[str, Any]:
        """Returns ``score``, the mark of the clip, and the number of ``frames`` that it rests on."""
        with CORES.one():
            pictures = square_pictures(clip, FPS)
        with self.model.use() as scorer:
            marks = scorer.marks(pictures)
        return {"score": float(marks.min() if self.reduction == "min" else marks.mean()), "frames": len(marks)}

    def judge(self, values: Mapping[str, Any]) -> str | None:
        """Returns that the mark is below the threshold.

        >>> filter = AestheticFilter(True, ModelRef("scorer", str), threshold=3.5, reduction="min")
        >>> filter.judge({"score": 3.25, "frames": 10})
        'its mark 3.25 is below --aesthetic-threshold 3.5'
        """
        if values["score"] < self.threshold:
            return f"its mark {values['score']:.3g} is below --aesthetic-threshold {self.threshold:g}"
        return None


class AestheticScorer:
    """CLIP's picture model with the network behind it, in float32.

    Args:
        clip: A `CLIPModel` with features of 768 numbers; its text model is not used.
        layers: Matrices and offsets of the network, in order.
        device: What torch calls the device that both are moved to.
    """

    def __init__(self, clip: Any, layers: list[tuple[torch.Tensor, torch.Tensor]], device: str = "cpu") -> None:
        self._tower, self._projection = (part.to(device).eval() for part in (clip.vision_model, clip.visual_projection))
        self._layers = [(weight.to(device), bias.to(device)) for weight, bias in layers]
        self._device = device
        self._fitting = OomBackoff()

    def marks(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the mark of each picture: uint8 RGB [n, 224, 224, 3] to float32 [n].

        Raises:
            ModelMemoryError: A single picture does not fit into the memory of the device.
        """
        found = self._fitting.compute(list(pictures), len, self._compute)
        if failed := next((one for one in found if isinstance(one, Exception)), None):
            raise failed
        return np.array(found, dtype=np.float32)

    def _compute(self, pictures: Any) -> list[float]:
        import torch

        pixels = torch.from_numpy(np.stack(pictures)).to(self._device).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(values, device=self._device).view(3, 1, 1) for values in (_MEAN, _STD))
        with torch.inference_mode():
            features = self._projection(self._tower(pixel_values=(pixels - mean) / std).pooler_output)
            features = features / features.norm(dim=-1, keepdim=True)
            for weight, bias in self._layers:
                features = torch.nn.functional.linear(features, weight, bias)
        marks: list[float] = features[:, 0].tolist()
        return marks


def reference(workspace: str, weights: WeightsSource | None = None) -> ModelRef:
    """Returns a reference to the scorer.

    >>> reference("/workspace").name
    'aesthetic_scorer'

    Args:
        workspace: Where its files lie.
        weights: Where they are fetched from when they are missing.
    """
    load = functools.partial(_load, workspace=workspace, weights=weights)
    identity = f"{CLIP_VIT.identity} {AESTHETIC_SCORER.identity}"
    gigabytes = CLIP_VIT.memory_gb() + AESTHETIC_SCORER.memory_gb()
    return ModelRef(AESTHETIC_SCORER.name, load, identity, gpu_gb=gigabytes, ram_gb=gigabytes)


def _load(device: str, workspace: str, weights: WeightsSource | None) -> AestheticScorer:
    clip = load_from_folder(CLIP_VIT, workspace, weights, _load_clip)
    layers = load_from_folder(AESTHETIC_SCORER, workspace, weights, _load_layers)
    return AestheticScorer(clip, layers, device)


def _load_clip(folder: Path) -> Any:
    import torch
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    if model.config.projection_dim != _WIDTHS[0]:
        raise ValueError(f"its features have {model.config.projection_dim} numbers, and {_WIDTHS[0]} are needed")
    return model


def _load_layers(folder: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Reads the network, whose matrices are told apart by their shapes."""
    from safetensors.torch import load_file

    found = load_file(folder / AESTHETIC_SCORER.files[0])
    by_shape = {tuple(tensor.shape): name for name, tensor in found.items() if tensor.ndim == 2}
    layers = []
    for before, after in itertools.pairwise(_WIDTHS):
        name = by_shape.get((after, before))
        bias = found.get(str(name).removesuffix("weight") + "bias")
        if name is None or bias is None:
            raise ValueError(f"it has no layer from {before} to {after} numbers")
        layers.append((found[name].float(), bias.float()))
    return layers
