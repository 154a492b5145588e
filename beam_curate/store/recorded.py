"""What is recorded in an output, by the names and tags of a listing: no record is opened.

A tag changes with the content of a key. What a ledger of an earlier run says of a video still holds if the records that
it stands for have the tags that they had then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from beam_curate.elements import Video
from beam_curate.store import layout
from beam_curate.store.base import Store
from beam_curate.store.files import short_digest

_OF_VIDEOS = (layout.PROCESSED_VIDEOS, layout.SKIPPED_VIDEOS)
_OF_CHUNKS = (layout.PROCESSED_CHUNKS, layout.VIDEO_ERRORS)
_RARE = (layout.SKIPPED_VIDEOS, layout.VIDEO_ERRORS)  # which few videos have
_MODULUS = 1 << 64


class Recorded:
    """The done markers and the records of all videos, listed.

    Args:
        output: The output.

    Attributes:
        output: The output.
        rare: The records of what was skipped or failed.
        state: Changes with any of them.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.store.local import LocalStore
        >>> video = Video("/in/a.mp4", "a.mp4", 900, "17")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     output = LocalStore(Path(folder))
        ...     tag = output.write(layout.processed_video("a.mp4"), b"{}")
        ...     recorded = Recorded(output)
        ...     recorded.seal(video) == seal({layout.processed_video("a.mp4"): tag}), recorded.is_marked("4c1f", video)
        (True, False)
    """

    def __init__(self, output: Store) -> None:
        self.output = output
        self.rare: set[PurePosixPath] = set()
        self._marked: set[bytes] = set()
        self._seals: dict[bytes, int] = {}  # by a digest of the path of a video
        with ThreadPoolExecutor() as pool:
            folders = [below for folder in output.list_folders(layout.DONE) for below in output.list_folders(folder)]
            markers = [pool.submit(self._list_markers, folder) for folder in folders]
            states = [self._list_records(folder) for folder in (*_OF_VIDEOS, *_OF_CHUNKS)]
            states += [one.result() for one in markers]
        self.state = hashlib.sha256(repr(states).encode()).hexdigest()

    def _list_markers(self, folder: PurePosixPath) -> str:
        digest = hashlib.blake2b()
        for key, tag in self.output.list_tags(folder):
            self._marked.add(short_digest(key))
            digest.update(_line(key, tag))
        return digest.hexdigest()

    def _list_records(self, folder: PurePosixPath) -> str:
        digest, seals, numbered, is_rare = hashlib.blake2b(), self._seals, folder in _OF_CHUNKS, folder in _RARE
        for key, tag in self.output.list_tags(folder):
            line = _line(key, tag)
            digest.update(line)
            of_video = _of_video(key, numbered)
            seals[of_video] = (seals.get(of_video, 0) + _summand(line)) % _MODULUS
            if is_rare:
                self.rare.add(PurePosixPath(key))
        return digest.hexdigest()

    def is_marked(self, fingerprint: str, video: Video) -> bool:
        """Whether a video has a done marker under a fingerprint."""
        return short_digest(str(layout.done(fingerprint, video))) in self._marked

    def knows(self, relative_path: str) -> bool:
        """Whether there is a record of a video of this path, or may be one."""
        return _of_video(str(layout.processed_video(relative_path))) in self._seals

    def seal(self, video: Video) -> int:
        """Returns a number that changes with the records of a video; 0 without records."""
        return self._seals.get(_of_video(str(layout.processed_video(video.relative_path))), 0)


def seal(tags: Mapping[PurePosixPath, str]) -> int:
    """Returns what `Recorded.seal` will say of a video with these records, given their tags.

    Example:
        >>> seal({})
        0
    """
    return sum(_summand(_line(str(key), tag)) for key, tag in tags.items()) % _MODULUS


def _line(key: str, tag: str) -> bytes:
    return f"{key} {tag}\n".encode(errors="surrogateescape")


def _summand(line: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(line, digest_size=8).digest())


def _of_video(key: str, numbered: bool = False) -> bytes:
    """Returns a digest of what all records of a video have in their keys; not so where names had to be shortened."""
    path = key[key.index("/") : -len(".json")]
    return short_digest(path[: path.rfind("_")] if numbered else path)
