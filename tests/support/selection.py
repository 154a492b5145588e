"""Selecting as a run does, from what an output holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from beam_curate.elements import Video
from beam_curate.sources.selection import Selection, select
from beam_curate.store import ledger
from beam_curate.store.base import Store
from beam_curate.store.recorded import Recorded


def selected(videos: Iterable[Video], output: Store, fingerprint: str, **how: Any) -> Selection:
    """What a run with these videos would work on."""
    with ledger.reading() as entries:
        entries.load(output, fingerprint)
        return select(videos, Recorded(output), fingerprint, entries, **how)
