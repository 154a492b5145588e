"""Which chunks of a video were published in this run, so that whoever publishes the last one records the video.

Every chunk leaves a mark and then counts the marks: of chunks that are published at the same time, at least the last
one to leave its mark sees all of them. Where several do, one of them claims the video.
"""

from __future__ import annotations

import functools
from pathlib import PurePosixPath

import pydantic

from beam_curate.elements import ClipChunk, Video
from beam_curate.store import layout
from beam_curate.store.base import Store

_CLAIM = "claim"


def arrive(output: Store, run: PurePosixPath, chunk: ClipChunk) -> list[ClipChunk] | None:
    """Notes that a chunk was published; returns all chunks of its video, in order, if this one has to record it.

    A chunk that arrives again, because its worker was lost, has to record the video again if it had to before.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> video, run = Video("/in/a.mp4", "a.mp4", 900, "17"), PurePosixPath("run")
    >>> first, second = (ClipChunk(video, None, index, 2, 0, ()) for index in range(2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     output = LocalStore(Path(folder))
    ...     arrive(output, run, second), arrive(output, run, first) == [first, second]
    (None, True)

    Args:
        output: The output.
        run: The folder of the run.
        chunk: As published.
    """
    if chunk.num_chunks == 1:
        return [chunk]
    folder = _folder(run, chunk.video)
    output.write(folder / str(chunk.index), _adapter().dump_json(chunk))
    if len(arrived(output, run, chunk.video)) < chunk.num_chunks:
        return None
    own = str(chunk.index).encode()
    if output.write_if_absent(folder / _CLAIM, own) != own:
        return None
    return [_adapter().validate_json(output.read(folder / str(index))) for index in range(chunk.num_chunks)]


def arrived(output: Store, run: PurePosixPath, video: Video) -> set[int]:
    """Returns the indices of the chunks of a video that were published and not recorded yet.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     arrived(LocalStore(Path(folder)), PurePosixPath("run"), Video("/in/a.mp4", "a.mp4", 900, "17"))
    set()
    """
    return {int(key.name) for key in output.list_files(_folder(run, video)) if key.name.isdecimal()}


def forget(output: Store, run: PurePosixPath, video: Video) -> None:
    """Deletes the marks of a video that was recorded.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from beam_curate.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     forget(LocalStore(Path(folder)), PurePosixPath("run"), Video("/in/a.mp4", "a.mp4", 900, "17"))
    """
    output.delete_folder(_folder(run, video))


def _folder(run: PurePosixPath, video: Video) -> PurePosixPath:
    return layout.of_run(run, "arrived", video)


@functools.cache
def _adapter() -> pydantic.TypeAdapter[ClipChunk]:
    return pydantic.TypeAdapter(ClipChunk)
