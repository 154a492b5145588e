"""Colours of BT.709 as HDR codes them, by the published formulas, with diffuse white as white."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

DIFFUSE_WHITE = 203  # cd/m2, ITU-R BT.2408
TO_BT2020 = np.array([(0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956)])
"""From linear BT.709 to linear BT.2020, ITU-R BT.2087."""
DISPLAY_GAMMA = 2.4  # ITU-R BT.1886
NOISE = 6.0  # of 255: a step of 8 bits in PQ is 3 there
PATCHES = np.array(
    [
        *[(0, 0, 0), (255, 255, 255), (210, 100, 100), (100, 210, 100), (100, 100, 210), (128, 128, 128)],
        *[(200, 120, 90), (90, 110, 160)],
    ],
    dtype=np.uint8,
)
"""Of BT.709, as `media.PATCHES`, but none at the border of what it can show, where a step of HDR's code is far."""


def pq(light: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084: cd/m2 [..., 3] to signal, 0 to 1."""
    power = (light / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100: cd/m2 [..., 3] of a display of 1,000 cd/m2 to signal, 0 to 1."""
    light = light / 1000
    luminance = light @ np.array([0.2627, 0.6780, 0.0593])
    scene = light * np.maximum(luminance, 1e-9)[..., np.newaxis] ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def coded(colours: np.ndarray, transfer: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Returns R'G'B' of BT.2020, 0 to 255, that show R'G'B' of BT.709, 0 to 255; both [..., 3].

    Args:
        colours: Of BT.709.
        transfer: `pq` or `hlg`.
    """
    light = DIFFUSE_WHITE * (colours / 255) ** DISPLAY_GAMMA @ TO_BT2020.T
    return (255 * transfer(light)).round().clip(0, 255).astype(np.uint8)
