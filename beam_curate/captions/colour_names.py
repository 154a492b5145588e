"""Everyday names of colours, and the share of a frame that each covers."""

from __future__ import annotations

import colorsys
import functools

import numpy as np
from numpy.typing import NDArray

# Upper bounds: of the HSV value for greys, of the hue in degrees for colours.
GREYS = ((0.33, "dark grey"), (0.65, "grey"), (0.88, "light grey"), (1.0, "white"))
WARM = ((15, "red"), (45, "orange"), (70, "yellow"))
COLD = ((165, "green"), (195, "turquoise"), (255, "blue"), (290, "purple"), (345, "pink"), (360, "red"))


def colour_name(red: float, green: float, blue: float) -> str:
    """Returns the everyday name of an RGB colour, components 0 to 1.

    >>> colour_name(0.9, 0.1, 0.1), colour_name(0.4, 0.25, 0.1)
    ('red', 'brown')
    """
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    if value < 0.14:
        return "black"
    if saturation * value < 0.1 or saturation < 0.12:  # The eye sees no hue in such colours.
        return next(name for top, name in GREYS if value <= top)
    name = next(name for top, name in WARM + COLD if hue * 360 <= top)
    if name in ("orange", "yellow") and saturation < 0.45 and value >= 0.6:
        return "beige"
    if name == "red" and saturation < 0.55 and value >= 0.7:
        return "pink"
    if name == "orange" and value < 0.65:
        name = "brown"
    return f"dark {name}" if value < 0.4 else name


@functools.lru_cache(maxsize=1)
def palette() -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Returns the colour names, and the index of the name of each RGB of 3 x 5 bits, intp [32768].

    >>> names, index_of = palette()
    >>> names[index_of[0]], names[index_of[-1]]
    ('black', 'white')
    """
    steps = [(k + 0.5) / 32 for k in range(32)]
    names = [colour_name(red, green, blue) for red in steps for green in steps for blue in steps]
    order = tuple(sorted(set(names)))
    return order, np.array([order.index(name) for name in names])


def colour_shares(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the share of each named colour, float32 [n, names], in frames uint8 [n, height, width, 3].

    >>> black = np.zeros((1, 72, 128, 3), np.uint8)
    >>> names, _ = palette()
    >>> float(colour_shares(black)[0, names.index("black")])
    1.0
    """
    order, index_of = palette()
    bits = (frames >> 3).astype(np.intp)
    index = index_of[(bits[..., 0] << 10) | (bits[..., 1] << 5) | bits[..., 2]].reshape(len(frames), -1)
    counts = np.stack([np.bincount(row, minlength=len(order)) for row in index])
    return (counts / index.shape[1]).astype(np.float32)
