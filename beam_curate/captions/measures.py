"""Measures light, colours, motion and change in small thumbnails of a window of a clip."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from beam_curate.captions.colour_names import colour_shares, palette

Floats = NDArray[np.float32]

BAR_LEVEL = 16  # Levels: compression artefacts in a black bar stay below this.
MIN_PICTURE = 0.2  # Share of a side between bars: 21:9 in a 9:16 frame leaves 0.24; a spot in the dark leaves less.
MIN_TEXTURE = 4.0  # Levels of 255: with less deviation a frame is too plain to show motion.
MIN_RESIDUAL = 3.0  # Levels: in a thumbnail, grain and compression stay below, moving edges above.
MIN_CONFIDENCE = 0.3  # Peak of the phase correlation: 1 for a pure shift, about 0.15 for unrelated noise.
MIN_SPEED = 0.02  # Frame sizes per second: a third of a pixel per sample; less is jitter.
MIN_ZOOM = 0.04  # Growth per second: a third of a pixel per sample, halfway to the edge.
MIN_COHERENCE = 0.6  # Length of the median motion over the median length: 1 for a pan, about 0 for shaking.
MIN_MOVING = 0.15  # Share of the time with motion below which a window is still.

ABRUPT_LIGHT = 40.0  # Levels between samples: a full fade within 1 s makes 32.
ABRUPT_COLOUR = 0.5  # Share of the frame that changes its colour name between samples.
FLASH_SAMPLES = 4  # A flash is over within half a second.
MIN_SIDE = 30.0  # Levels between opposite halves of the frame; clearly visible.
MIN_SHARE = 0.12  # Colours that fill less of the frame are not named.


@dataclasses.dataclass(frozen=True)
class Measures:
    """The measurements of one window.

    Attributes:
        seconds: Length of the window.
        num_frames: Frames of the window.
        brightness: Mean luma, 0 to 255.
        contrast: Standard deviation of luma within a frame, mean over frames, 0 to 128.
        brighter_side: ``top``, ``bottom``, ``left`` or ``right``, or empty where no side stands out.
        colours: The (name, share of the frame) of at most three colours, largest first.
        motion: ``unknown`` (one frame, or too plain), ``still``, ``shift``, ``zoom in``, ``zoom out``,
            ``local`` (only parts of the frame change) or ``irregular``.
        direction: Where the content moves: ``left``, ``up and to the right``; empty if not ``shift``.
        speed: Frame sizes per second for a shift, growth per second for a zoom, else 0.
        course: ``throughout``, ``starts``, ``stops`` or ``at times``; empty for ``unknown`` and ``still``.
        brightness_change: Levels from the first to the last quarter; positive when it gets brighter.
        brightness_range: Levels between the darkest and the brightest frame.
        first_colour: Most frequent colour of the first third.
        last_colour: Most frequent colour of the last third.
        colour_change: Share of the frame whose colour differs between the first and the last third.
        abrupt_s: Times of abrupt changes in seconds from the window's start.
        flashes_s: Times of short flashes of light, likewise; not repeated in ``abrupt_s``.
    """

    seconds: float
    num_frames: int
    brightness: float
    contrast: float
    brighter_side: str
    colours: tuple[tuple[str, float], ...]
    motion: str
    direction: str
    speed: float
    course: str
    brightness_change: float
    brightness_range: float
    first_colour: str
    last_colour: str
    colour_change: float
    abrupt_s: tuple[float, ...]
    flashes_s: tuple[float, ...]


def measure(frames: NDArray[np.uint8], seconds: float, num_frames: int) -> Measures:
    """Measures one window, without black bars.

    >>> grey = np.full((8, 72, 128, 3), 128, np.uint8)
    >>> measures = measure(grey, seconds=1.0, num_frames=24)
    >>> round(measures.brightness), measures.colours, measures.motion
    (128, (('grey', 1.0),), 'unknown')

    Args:
        frames: RGB, uint8 [n, height, width, 3], n >= 1, evenly spaced over the window.
        seconds: Length of the window.
        num_frames: Frames of the window, of which ``frames`` are a sample.
    """
    frames = without_bars(frames)
    interval_s = seconds / len(frames)
    names, _ = palette()
    luma = (frames @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.float32)  # BT.601
    level = luma.mean((1, 2))
    shares = colour_shares(frames)
    third, quarter = max(1, len(frames) // 3), max(1, len(frames) // 4)
    first, last, mean = shares[:third].mean(0), shares[-third:].mean(0), shares.mean(0)
    largest = [int(k) for k in np.argsort(-mean, kind="stable")[:3]]
    abrupt, flashes = _abrupt(luma, level, shares)
    motion, direction, speed, course = _motion(luma, abrupt, interval_s)
    flash_or_end = {i + k for i in flashes for k in range(FLASH_SAMPLES + 1)}
    return Measures(
        seconds=seconds,
        num_frames=num_frames,
        brightness=float(level.mean()),
        contrast=float(luma.std((1, 2)).mean()),
        brighter_side=_brighter_side(luma.mean(0)),
        colours=tuple((names[k], float(mean[k])) for k in largest if mean[k] >= min(MIN_SHARE, mean.max())),
        motion=motion,
        direction=direction,
        speed=speed,
        course=course,
        brightness_change=float(level[-quarter:].mean() - level[:quarter].mean()),
        brightness_range=float(np.ptp(level)),
        first_colour=names[int(first.argmax())],
        last_colour=names[int(last.argmax())],
        colour_change=float(np.abs(last - first).sum() / 2),
        abrupt_s=tuple((i + 1) * interval_s for i in np.flatnonzero(abrupt).tolist() if i not in flash_or_end),
        flashes_s=tuple((i + 1) * interval_s for i in flashes),
    )


def without_bars(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crops the rows and columns at the borders that are black in every frame.

    Frames are uint8 [n, height, width, 3]. Nothing is cut off if less than MIN_PICTURE of a side would be left:
    that is a dark scene.

    >>> frames = np.zeros((8, 72, 128, 3), np.uint8)
    >>> frames[:, 12:60] = 100
    >>> without_bars(frames).shape
    (8, 48, 128, 3)
    """
    lit = frames.max((0, 3)) > BAR_LEVEL
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    if not len(rows):
        return frames
    picture = frames[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    large = all(left >= MIN_PICTURE * side for left, side in zip(picture.shape, frames.shape, strict=True))
    return picture if large else frames


def _brighter_side(luma: Floats) -> str:
    """Returns the side that is clearly brighter than the opposite one, or an empty string; luma float32 [h, w]."""
    top, bottom = (float(half.mean()) for half in np.array_split(luma, 2, 0))
    left, right = (float(half.mean()) for half in np.array_split(luma, 2, 1))
    leads = {"bottom": bottom - top, "top": top - bottom, "right": right - left, "left": left - right}
    side = max(leads, key=lambda name: leads[name])
    return side if leads[side] >= MIN_SIDE else ""


def _similarity(luma: Floats) -> Floats:
    """Returns the correlation of each frame with the next, float32 [n-1], independent of brightness."""
    centred = luma - luma.mean((1, 2), keepdims=True)
    norm = np.sqrt((centred**2).sum((1, 2))) + 1e-6
    return np.clip((centred[1:] * centred[:-1]).sum((1, 2)) / (norm[1:] * norm[:-1]), -1, 1)


def phase_shifts(luma: Floats) -> tuple[Floats, Floats]:
    """Measures the shift of the content between successive frames.

    Phase correlation (Kuglin and Hines, 1975) uses phases only, so a change in brightness is not motion.

    >>> texture = np.random.default_rng(0).random((72, 128), np.float32)
    >>> shifts, confidences = phase_shifts(np.stack([texture, np.roll(texture, 5, axis=1)]))
    >>> shifts.round().astype(int).tolist()
    [[5, 0]]

    Args:
        luma: float32 [n, height, width], n >= 2.

    Returns:
        The shifts (right, down) in pixels, float32 [n-1, 2], and their confidences, 0 to 1, float32 [n-1].
    """
    _, height, width = luma.shape
    # The transform is periodic; the Hann window keeps the border from acting as an edge.
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    spectrum = np.fft.rfft2((luma - luma.mean((1, 2), keepdims=True)) * window)
    cross = spectrum[1:] * spectrum[:-1].conj()
    strength = np.abs(cross)
    cross /= strength + 1e-6 * strength.max((1, 2), keepdims=True) + 1e-9
    # A low-pass makes the peak a bell one pixel wide, which reduces noise and allows sub-pixel positions.
    squares = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width) ** 2
    low_pass = np.exp(-2 * np.pi**2 * squares)
    low_pass[0, 0] = 0  # The mean brightness.
    full_peak = np.fft.irfft2(low_pass, s=(height, width))[0, 0]
    surface = np.fft.irfft2(cross * low_pass, s=(height, width)) / full_peak
    pair = np.arange(len(surface))
    y, x = np.divmod(surface.reshape(len(surface), -1).argmax(1), width)
    peak = surface[pair, y, x]

    def between(before: Floats, after: Floats) -> Floats:
        """Returns the sub-pixel offset of the peak, from a parabola through three values."""
        curvature = np.minimum(before - 2 * peak + after, -1e-9)
        return np.clip((before - after) / (2 * curvature), -0.5, 0.5)

    right = x + between(surface[pair, y, x - 1], surface[pair, y, (x + 1) % width])
    down = y + between(surface[pair, y - 1, x], surface[pair, (y + 1) % height, x])
    right, down = (right + width / 2) % width - width / 2, (down + height / 2) % height - height / 2
    return np.stack([right, down], 1).astype(np.float32), np.clip(peak, 0, 1).astype(np.float32)


def _growth(luma: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns for each pair the growth about the centre, the share of motion that it explains, and the confidence."""
    _, height, width = luma.shape
    centres, shifts, confidence = [], [], []
    for top, left in ((0, 0), (0, width // 2), (height // 2, 0), (height // 2, width // 2)):
        shift, sure = phase_shifts(luma[:, top : top + height // 2, left : left + width // 2])
        centres.append((left - width / 4, top - height / 4))
        shifts.append(shift)
        confidence.append(sure)
    centre, shift = np.array(centres, np.float32)[:, None], np.stack(shifts)
    growth = (centre * shift).sum((0, 2)) / (centre**2).sum()
    explained = growth**2 * (centre**2).sum() / ((shift**2).sum((0, 2)) + 1e-6)
    return growth, explained, np.min(confidence, 0)


def _abrupt(luma: Floats, level: Floats, shares: Floats) -> tuple[NDArray[np.bool_], list[int]]:
    """Returns which pairs of successive frames change abruptly, bool [n-1], and the pairs that begin a flash."""
    jumps = np.diff(level)
    similar = _similarity(luma)
    textured = luma.std((1, 2)) >= MIN_TEXTURE
    # A cut stands out among similar frames; in a fast pan or in noise no frames are similar.
    steady = len(similar) > 0 and bool(np.median(similar) > 0.7)
    replaced = (similar < 0.3) & textured[1:] & textured[:-1] & steady
    recoloured = np.abs(np.diff(shares, axis=0)).sum(1) / 2 >= ABRUPT_COLOUR
    flashes: list[int] = []
    for i in np.flatnonzero(jumps >= ABRUPT_LIGHT).tolist():
        after = level[i + 2 : i + 2 + FLASH_SAMPLES]
        if len(after) and after.min() < level[i] + jumps[i] / 2:
            flashes.append(i)
    return (np.abs(jumps) >= ABRUPT_LIGHT) | replaced | recoloured, flashes


def _motion(luma: Floats, abrupt: NDArray[np.bool_], interval_s: float) -> tuple[str, str, float, str]:
    """Returns motion, direction, speed and course as in Measures; abrupt, bool [n-1], is left out."""
    deviation = luma.std((1, 2))
    usable = (deviation[1:] >= MIN_TEXTURE) & (deviation[:-1] >= MIN_TEXTURE) & ~abrupt
    if not usable.any():
        return "unknown", "", 0.0, ""
    shift, confidence = phase_shifts(luma)
    velocity = shift / np.array(luma.shape[:0:-1], np.float32) / interval_s
    sure = confidence >= MIN_CONFIDENCE
    residual = deviation[1:] * np.sqrt(1 - _similarity(luma) ** 2)
    moving = (residual >= MIN_RESIDUAL) | (sure & (np.hypot(*velocity.T) >= MIN_SPEED))
    if moving[usable].mean() < MIN_MOVING:
        return "still", "", 0.0, ""
    course = _course(moving[usable])
    chosen = moving & usable
    growth, explained, quarter_confidence = (values[chosen] for values in _growth(luma))
    zoom = float(np.median(growth)) / interval_s
    measured = np.median(quarter_confidence) >= MIN_CONFIDENCE and np.median(explained) >= 0.5
    if measured and abs(zoom) >= MIN_ZOOM:
        return ("zoom in" if zoom > 0 else "zoom out"), "", abs(zoom), course
    if sure[chosen].mean() < 0.5:
        return "irregular", "", 0.0, course
    velocity, shift = velocity[chosen & sure], shift[chosen & sure]
    # Medians, because a single wrong peak may lie anywhere in the frame.
    speed = float(np.hypot(*np.median(velocity, 0)))
    lengths = np.hypot(*velocity.T)
    if np.median(lengths) < MIN_SPEED:
        return "local", "", 0.0, course
    if speed < MIN_COHERENCE * np.median(lengths):
        return "irregular", "", 0.0, course
    return "shift", _direction(*np.median(shift, 0)), speed, course


def _course(moving: NDArray[np.bool_]) -> str:
    """Returns when there is motion, as in Measures."""
    third = max(1, len(moving) // 3)
    first, last = moving[:third].mean(), moving[-third:].mean()
    if first <= 0.2 and last >= 0.8:
        return "starts"
    if first >= 0.8 and last <= 0.2:
        return "stops"
    return "throughout" if moving.mean() >= 0.7 else "at times"


def _direction(right: float, down: float) -> str:
    """Names a direction; diagonal if the smaller component is at least half of the larger one."""
    across, along = ("right" if right > 0 else "left"), ("down" if down > 0 else "up")
    if 2 * min(abs(right), abs(down)) >= max(abs(right), abs(down)):
        return f"{along} and to the {across}"
    return across if abs(right) > abs(down) else along
