"""Done markers, which say that a video needs no more work, go before what they stand for changes."""

from __future__ import annotations

from pathlib import PurePosixPath

from beam_curate.elements import Video
from beam_curate.store import layout, readback
from beam_curate.store.base import Store


def forget_done(output: Store, video: Video, *, but: PurePosixPath | None = None) -> None:
    """Deletes the done markers of a video under all fingerprints.

    So are those of the file that was recorded under its name before, which may come back.

    Args:
        output: Where they are.
        video: Whose clips or records are about to change.
        but: A marker that stays.

    Raises:
        OSError: One cannot be deleted, or the record of the video cannot be read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.store.local import LocalStore
        >>> video = Video("/in/a.mp4", "a.mp4", 900, "17")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     output = LocalStore(Path(folder))
        ...     _ = output.write_json(layout.done("4c1f", video), {"failures": 0})
        ...     forget_done(output, video)
        ...     output.list_files(layout.DONE, recursive=True)
        []
    """
    names = {layout.done_name(video.relative_path, video.size_bytes, video.etag)}
    record = readback.read(output, layout.processed_video(video.relative_path), readback.VIDEO)
    if record:
        names.add(layout.done_name(video.relative_path, record["size_bytes"], record["etag"]))
    for folder in output.list_folders(layout.DONE):
        for name in names:
            if folder / name != but:
                output.delete(folder / name)
