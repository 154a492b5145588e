"""A video is complete only when each of its clips is there once, with a file or with a failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from beam_curate.elements import ClipChunk
from beam_curate.records.recorder import publish_chunk, record_video
from tests.support.facts import make_chunk, make_clip, make_context, make_failure, make_video_element
from tests.support.output import Output

VIDEO = make_video_element()

CASES: dict[str, tuple[bool, Callable[[Output], list[ClipChunk]]]] = {
    "no clips were found": (True, lambda output: [make_chunk([])]),
    "each once": (True, lambda output: [make_chunk([make_clip(output, "x"), make_clip(output, "y")])]),
    "one failed": (
        True,
        lambda output: [
            make_chunk([make_clip(output, "x"), make_clip(output, "y", None, failures=(make_failure(clip_id="y"),))])
        ],
    ),
    "neither a file nor a failure": (False, lambda output: [make_chunk([make_clip(output, "x", None)])]),
    "one is gone": (False, lambda output: [make_chunk([make_clip(output, "x")], total=2)]),
    "all are gone": (False, lambda output: [make_chunk([], total=2)]),
    "one too many": (False, lambda output: [make_chunk([make_clip(output, "x"), make_clip(output, "y")], total=1)]),
    "one in two chunks": (
        False,
        lambda output: [make_chunk([make_clip(output, "x")], index=i, num_chunks=2, total=2) for i in range(2)],
    ),
    "a chunk before the first": (
        False,
        lambda output: [make_chunk([make_clip(output, name)], index=i, total=2) for name, i in (("x", 0), ("y", -1))],
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_each_clip_once_with_a_file_or_a_failure(tmp_path: Path, what: str) -> None:
    complete, make = CASES[what]
    context = make_context(tmp_path / "out")
    chunks = [publish_chunk(context, chunk) for chunk in make(context.output)]
    assert (record_video(context, VIDEO, chunks, ()).unsettled is None) is complete
    marker = context.output.done(context.fingerprint, VIDEO)
    assert marker.exists() is complete
