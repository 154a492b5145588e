"""Copies of videos whose packets carry other time stamps: what broken recorders, muxers and joins leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av

Change = Callable[[list[int]], Sequence[int | None]]


def restamped(source: Path, path: Path, change: Change, **options: str) -> Path:
    """Copies a video; `change` turns the stamps of its pictures, in the order shown, into others.

    Sound keeps its times, and a picture its decoding time where that is another than when it is shown.
    """
    with av.open(str(source)) as old, av.open(str(path), "w", options=options) as new:
        copies = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        packets: list[Any] = [packet for packet in old.demux() if packet.size]
        pictures = [packet for packet in packets if packet.stream.type == "video"]
        order = sorted(range(len(pictures)), key=lambda i: pictures[i].pts)
        stamps = change([pictures[i].pts for i in order])
        reordered = any(packet.pts != packet.dts for packet in pictures)
        for i, stamp in zip(order, stamps, strict=True):
            if not reordered and stamp is not None and stamp < pictures[i].dts:
                pictures[i].dts = stamp
            pictures[i].pts = stamp
        for packet in packets:
            packet.stream = copies[packet.stream.index]
            new.mux(packet)
    return path
