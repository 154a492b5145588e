"""The network of TransNetV2 (Soucek and Lokoc, 2020) with its published weights, rearranged to be fast.

It computes the same sums as the published network in another order:

- batch normalisation is folded into the convolution before it, and the scale of pixels into the first one;
- the convolution over rows and columns and the one over time are both 2-D convolutions of the same memory, laid out as
  [time, row, column, channel]: the first one takes frames as images, the second one takes the window as one image of
  time by pixels;
- the two convolutions of the first layer, whose input has only three channels, are one 2-D convolution of three frames;
- the layers after the convolutions are computed for the requested frames only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import torch
from torch.nn import functional

# Parameters of the published network.
_DILATIONS = (1, 2, 4, 8)
_BLOCKS = 3
_BATCH_NORM_EPSILON = 1e-3
_LOOK_AROUND = 50  # a frame is compared with this many on either side
_BINS = 8  # per colour in a histogram
_MAX_PIXEL = 255.0


class TransNetV2:
    """The network.

    Args:
        state: The published weights by their published names.
        dtype: Of the convolutions from the second layer on, which take nearly all of the time. All else is float32:
            rounding the first layer's weights to bfloat16 would cost more accuracy than all other rounding.
        device: Torch's name of the device.

    Raises:
        KeyError: A weight is missing.
    """

    def __init__(self, state: Mapping[str, torch.Tensor], dtype: torch.dtype, device: str) -> None:
        self._dtype = dtype
        self._state = {name: weight.to(device) for name, weight in state.items() if not name.startswith("SDDCNN")}
        layers = [[_branches(state, f"SDDCNN.{block}.DDCNN.{layer}") for layer in (0, 1)] for block in range(_BLOCKS)]
        self._blocks: list[list[list[Callable[[torch.Tensor], torch.Tensor]]]]
        self._blocks = [[[branch.to(device, dtype) for branch in layer] for layer in block] for block in layers]
        self._blocks[0][0] = [branch.joined().to(device, torch.float32) for branch in layers[0][0]]

    @torch.inference_mode()
    def probabilities(self, frames: torch.Tensor, first: int, end: int) -> torch.Tensor:
        """Returns the probabilities that frames are shot changes: float32 [end - first].

        Args:
            frames: uint8 RGB [time, 27, 48, 3]; frames before ``first`` and from ``end`` on are context.
            first: The first frame requested.
            end: The frame after the last one requested.
        """
        x = frames.float()
        means = []
        for shallow, deep in self._blocks:
            shortcuts = [functional.relu_(branch(x)).to(self._dtype) for branch in shallow]
            x = torch.cat(shortcuts, 3)
            # Branches are concatenated after pooling, when they are small.
            x = torch.cat(
                [_halved(functional.relu_(branch(x)).add_(cut)) for branch, cut in zip(deep, shortcuts, strict=True)], 3
            )
            means.append(x.mean((1, 2), dtype=torch.float32))
        likeness = functional.normalize(self._linear("frame_sim_layer.projection", torch.cat(means, 1)))
        features = (
            self._compared("color_hist_layer", _histograms(frames), first, end),
            self._compared("frame_sim_layer", likeness, first, end),
            x[first:end].flatten(1).float(),
        )
        hidden = functional.relu(self._linear("fc1", torch.cat(features, 1)))
        return torch.sigmoid(self._linear("cls_layer1", hidden))[:, 0]

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self._state[f"{name}.weight"], self._state[f"{name}.bias"])

    def _compared(self, name: str, unit: torch.Tensor, first: int, end: int) -> torch.Tensor:
        """Compares frames, given as unit vectors, with those around them; frames outside the window count as 0."""
        similarities = functional.pad(unit[first:end] @ unit.T, (_LOOK_AROUND, _LOOK_AROUND))
        offsets = torch.arange(2 * _LOOK_AROUND + 1, device=unit.device)
        around = torch.arange(first, end, device=unit.device)[:, None] + offsets
        return functional.relu(self._linear(f"{name}.fc", similarities.gather(1, around)))


@dataclasses.dataclass(frozen=True)
class _Branch:
    """One of the four (2+1)D convolutions of a layer.

    Attributes:
        dilation: Distance in frames between the taps of the temporal convolution.
        spatial: Over rows and columns: [middle, channel in, 3, 3].
        temporal: Over time: [channel out, middle, 3, 1].
        bias: [channel out].
    """

    dilation: int
    spatial: torch.Tensor
    temporal: torch.Tensor
    bias: torch.Tensor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Returns [time, row, column, channel out] of [time, row, column, channel in]."""
        time, rows, columns, _ = x.shape
        x = _convolve(x, self.spatial, padding=1).reshape(1, time, rows * columns, -1)
        x = _convolve(x, self.temporal, self.bias, padding=(self.dilation, 0), dilation=(self.dilation, 1))
        return x.reshape(time, rows, columns, -1)

    def to(self, device: str, dtype: torch.dtype) -> _Branch:
        parts = (_ready(self.spatial, device, dtype), _ready(self.temporal, device, dtype))
        return _Branch(self.dilation, *parts, self.bias.to(device, dtype))

    def joined(self) -> _JoinedBranch:
        """Returns both convolutions as one, which also scales its input from 0 to 255 to 0 to 1."""
        weight = torch.einsum("omt,mcyx->otcyx", self.temporal[..., 0], self.spatial / _MAX_PIXEL)
        return _JoinedBranch(self.dilation, weight.flatten(1, 2), self.bias)


@dataclasses.dataclass(frozen=True)
class _JoinedBranch:
    """A branch as one convolution: [channel out, 3 times the channels in, 3, 3]."""

    dilation: int
    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Computes the same as `_Branch`."""
        padding = torch.zeros_like(x[: self.dilation])
        times = (torch.cat((padding, x))[: len(x)], x, torch.cat((x, padding))[self.dilation :])
        return _convolve(torch.cat(times, 3), self.weight, self.bias, padding=1)

    def to(self, device: str, dtype: torch.dtype) -> _JoinedBranch:
        return _JoinedBranch(self.dilation, _ready(self.weight, device, dtype), self.bias.to(device, dtype))


def _ready(weight: torch.Tensor, device: str, dtype: torch.dtype) -> torch.Tensor:
    return _rounded(weight, dtype).to(device, memory_format=torch.channels_last)


def _rounded(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Rounds the taps of each kernel and preserves their sum, which matters most since images are smooth.

    The rounding error of a tap is added to the next one. In bfloat16, this about halves the error of probabilities.
    """
    kernels = weight.flatten(2)
    rounded = torch.empty_like(kernels, dtype=dtype)
    error = torch.zeros_like(kernels[..., 0])
    for tap in range(kernels.shape[2]):
        exact = kernels[..., tap] + error
        rounded[..., tap] = exact
        error = exact - rounded[..., tap]
    return rounded.view_as(weight)


def _convolve(images: torch.Tensor, *weights: torch.Tensor, **options: object) -> torch.Tensor:
    """Convolves images [image, row, column, channel], torch's "channels last" layout."""
    return functional.conv2d(images.permute(0, 3, 1, 2), *weights, **options).permute(0, 2, 3, 1)


def _halved(x: torch.Tensor) -> torch.Tensor:
    """Averages over blocks of two by two pixels."""
    return functional.avg_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def _histograms(frames: torch.Tensor) -> torch.Tensor:
    """Returns the colour histogram of each frame as a unit vector: float32 [time, 512]."""
    red, green, blue = (frames // (256 // _BINS)).long().flatten(1, 2).unbind(2)
    colours = (red * _BINS + green) * _BINS + blue
    counts = torch.zeros(len(frames), _BINS**3, device=frames.device)
    return functional.normalize(counts.scatter_add_(1, colours, torch.ones_like(colours, dtype=counts.dtype)))


def _branches(state: Mapping[str, torch.Tensor], name: str) -> list[_Branch]:
    """Builds the branches of a layer; its batch normalisation is folded into their temporal convolutions."""
    scale = state[f"{name}.bn.weight"] / torch.sqrt(state[f"{name}.bn.running_var"] + _BATCH_NORM_EPSILON)
    bias = state[f"{name}.bn.bias"] - state[f"{name}.bn.running_mean"] * scale
    parts = zip(_DILATIONS, scale.chunk(len(_DILATIONS)), bias.chunk(len(_DILATIONS)), strict=True)
    return [
        _Branch(
            dilation,
            state[f"{name}.Conv3D_{dilation}.layers.0.weight"].squeeze(2),
            state[f"{name}.Conv3D_{dilation}.layers.1.weight"].squeeze(4) * own_scale[:, None, None, None],
            own_bias,
        )
        for dilation, own_scale, own_bias in parts
    ]
