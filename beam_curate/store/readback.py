"""Reads back what earlier runs wrote, and others may have changed: a file that does not validate counts as absent.

What is absent is made again, so a truncated, emptied or edited record never breaks a run, and no name in a record leads
out of the output folder. Unknown keys pass unchanged.
"""

from __future__ import annotations

import errno
import re
from typing import Annotated, Any, NotRequired, TypeVar

import pydantic
from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from beam_curate.store.base import Key, Store

MAX_CHUNKS = 1_000_000  # a year of footage in chunks of half a minute
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES)
_MAX_INT = 2**53  # integers that every reader of JSON keeps

_STEM = r"[A-Za-z0-9][A-Za-z0-9_\-]{0,199}"
_NAME = re.compile(_STEM)

Name = Annotated[str, StringConstraints(pattern=f"^{_STEM}$")]
"""Id of a clip: a file name that cannot lead out of its folder."""
ItemName = Annotated[str, StringConstraints(pattern=f"^((train|val)/)?{_STEM}$")]
"""Name of a dataset item."""
Count = Annotated[int, Field(ge=0, le=_MAX_INT)]
Length = Annotated[float, Field(ge=0, le=_MAX_INT)]

T = TypeVar("T")


class _Shape(TypedDict):
    __pydantic_config__ = pydantic.ConfigDict(extra="allow", strict=True, allow_inf_nan=False)  # type: ignore[misc]


class Lost(_Shape):
    """Footage without a clip, of one cause."""

    count: Count
    seconds: Length


class VideoRecord(_Shape):
    """``processed_videos/{relpath}.json``."""

    video: str
    num_clip_chunks: Annotated[int, Field(ge=1, le=MAX_CHUNKS)]
    num_total_clips: Count
    duration: Length
    video_uuid: str
    size_bytes: Count
    etag: str
    notes: list[str]
    text_encoder: str | None
    footage_lost: NotRequired[dict[str, Lost]]


class ChunkRecord(_Shape):
    """``processed_clip_chunks/{relpath}_{index}.json``; counts of other names are checked by their prefix."""

    video: str
    clips: list[Name]
    filtered_clips: list[Name]
    failed_clips: list[Name]
    dataset_items: list[ItemName]
    all_windows: dict[str, dict[str, str]]
    windows_left_out: dict[str, str]
    total_clip_duration: Length
    max_clip_duration: Length
    total_prompt_tokens: Count
    total_output_tokens: Count
    caption_outcomes: NotRequired[dict[str, Count]]
    filtered_by: NotRequired[dict[str, Count]]
    filtered_clip_duration: NotRequired[Length]


class SkipRecord(_Shape):
    """``skipped_videos/{relpath}.json``."""

    video: str
    reason: Annotated[str, StringConstraints(min_length=1)]
    duplicate_of: str


class FailureRecord(_Shape):
    """A failure in a record."""

    stage: str
    uri: str
    clip_id: str | None
    error_type: str
    message: str
    retriable: bool


class ErrorRecord(_Shape):
    """``video_errors/{relpath}_{index}.json``."""

    video: str
    failures: Annotated[list[FailureRecord], Field(min_length=1)]


class OutcomeRecord(_Shape):
    """What the records of a video say; see `beam_curate.store.outcomes.Outcome`."""

    record: VideoRecord | None
    chunks: list[ChunkRecord]
    skipped: str | None
    failures: list[FailureRecord]


class Marker(_Shape):
    """A done marker: how many failures the records of the video hold."""

    failures: Count
    video: NotRequired[str]


class Published(_Shape):
    """An entry of the journal."""

    num_clip_chunks: Annotated[int, Field(ge=1, le=MAX_CHUNKS)]
    clips: list[Name]
    dataset_items: list[ItemName]
    filtered_clips: NotRequired[list[Name]]
    failed_clips: NotRequired[list[Name]]  # as chunk records have them: both are read for names to withdraw
    text_encoder: NotRequired[str | None]


VIDEO = pydantic.TypeAdapter(VideoRecord)
CHUNK = pydantic.TypeAdapter(ChunkRecord)
SKIP = pydantic.TypeAdapter(SkipRecord)
ERROR = pydantic.TypeAdapter(ErrorRecord)
OUTCOME = pydantic.TypeAdapter(OutcomeRecord)
MARKER = pydantic.TypeAdapter(Marker)
PUBLISHED = pydantic.TypeAdapter(Published)
FINGERPRINTS = pydantic.TypeAdapter(Annotated[list[Name], Field(strict=True, min_length=1)])
COUNTS = pydantic.TypeAdapter(dict[str, Annotated[int, Field(strict=True, ge=-_MAX_INT, le=_MAX_INT)]])


def read(output: Store, key: Key, shape: pydantic.TypeAdapter[T]) -> T | None:
    """Returns the content of a JSON file, or None when it is not there or does not validate.

    Raises:
        OSError: It is there and cannot be read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from beam_curate.store.local import LocalStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = LocalStore(Path(folder)).write("marker", b'{"failures": 2}')
        ...     read(LocalStore(Path(folder)), "marker", MARKER)
        {'failures': 2}
    """
    try:
        return checked(output.read(key), shape)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def checked(data: bytes, shape: pydantic.TypeAdapter[T]) -> T | None:
    """Returns the value of a JSON text, or None when it is not JSON or does not validate.

    Example:
        >>> checked(b'{"failures": 2}', MARKER)
        {'failures': 2}
        >>> checked(b'{"failures": "two"}', MARKER) is None
        True
    """
    try:
        value = shape.validate_json(data)
    except ValueError:  # pydantic's error is one
        return None
    return value if not isinstance(value, dict) or all(_is_plain(*pair) for pair in value.items()) else None


def is_name(text: str) -> bool:
    """Whether a text is a valid id of a clip.

    Example:
        >>> is_name("8e812009-407a"), is_name("../8e81")
        (True, False)
    """
    return _NAME.fullmatch(text) is not None


def _is_plain(key: Any, value: Any) -> bool:
    """Whether a key that names a count has a count as its value."""
    return not str(key).startswith("num_") or (type(value) is int and 0 <= value <= _MAX_INT)
