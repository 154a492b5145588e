"""Caption windows: the frames of a clip that one caption describes, and that make up one dataset item."""

from __future__ import annotations

import dataclasses

# Minimum number of frames of a window, as in cosmos-curate.
MIN_FRAMES = 4


def caption_windows(num_frames: int, window: int, remainder: int) -> list[tuple[int, int]]:
    """Divides a clip into windows, each (first frame, last frame), both inclusive.

    Args:
        num_frames: Frames of the clip.
        window: Frames of a full window.
        remainder: A remainder of at least this many frames is a window of its own; a shorter one joins the last
            window.

    A clip of at most ``window`` frames is one window; one of fewer than 4 frames has none.

    >>> caption_windows(600, window=256, remainder=128)
    [(0, 255), (256, 599)]
    """
    if num_frames < MIN_FRAMES:
        return []
    full, rest = divmod(num_frames, window)
    if full == 0 or (full == 1 and rest == 0):
        return [(0, num_frames - 1)]
    windows = [(index * window, (index + 1) * window - 1) for index in range(full)]
    if rest >= remainder and rest > 0:
        windows.append((full * window, num_frames - 1))
    elif rest:
        windows[-1] = (windows[-1][0], num_frames - 1)
    return windows


@dataclasses.dataclass(frozen=True)
class WindowRules:
    """How a clip is divided into caption windows, in frames; see `caption_windows`.

    >>> WindowRules(window_frames=256).divide(600)
    [(0, 255), (256, 599)]
    """

    window_frames: int = 256
    remainder_frames: int = 128

    def divide(self, num_frames: int) -> list[tuple[int, int]]:
        """Returns the windows of a clip."""
        return caption_windows(num_frames, self.window_frames, self.remainder_frames)
