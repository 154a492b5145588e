"""Flags for the input and the output."""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated

from beam_curate.buckets.base import DEFAULT_PROFILE
from beam_curate.options.flags import Converted, Group, Place, flag

_EXTENSIONS = ".mp4,.mov,.mkv,.webm,.avi,.m4v,.ts,.mts,.m2ts,.mpg,.mpeg,.mxf,.flv,.wmv,.3gp"


def parse_extensions(text: str) -> tuple[str, ...]:
    """Returns file name extensions, in lower case with a dot, from a comma list; raises ValueError.

    >>> parse_extensions("MP4, .mov,mp4")
    ('.mp4', '.mov')
    """
    parts = [part.strip().lower().removeprefix(".") for part in text.split(",") if part.strip()]
    if not parts or not all(re.fullmatch("[a-z0-9]+", part) for part in parts):
        raise ValueError("give extensions separated by commas, such as .mp4,.mov")
    return tuple(dict.fromkeys(f".{part}" for part in parts))


@dataclasses.dataclass(frozen=True)
class InputOptions(Group):
    """Input and output."""

    input_video_path: Place | None = flag(
        None,
        "Your footage: a folder, searched with all its subfolders, or a quoted pattern such as "
        "'day1/*/front.mp4'. In an object store: s3://BUCKET/PREFIX or gs://BUCKET/PREFIX. Required, unless "
        "--input-video-list-json-path is given.",
        metavar="PATH",
    )
    input_s3_profile_name: str = flag(
        DEFAULT_PROFILE,
        "The profile of ~/.aws/credentials (or of the file that COSMOS_S3_PROFILE_PATH names) for what is read from "
        "s3://: videos, their list, --config and --model-weights-path. It holds the keys and, for stores that are not "
        "Amazon's, endpoint_url and region.",
        metavar="NAME",
    )
    input_video_list_json_path: Place | None = flag(
        None,
        "A JSON file with a list of video paths, to curate a hand-picked set. Together with "
        "--input-video-path, every listed path must lie below that folder.",
        metavar="FILE",
    )
    output_clip_path: Place = flag(
        "",
        "The folder for clips, metadata, dataset and report, or s3://BUCKET/PREFIX or gs://BUCKET/PREFIX. Name "
        "the same one again to continue: finished videos are not processed again. Required.",
        metavar="FOLDER",
    )
    output_s3_profile_name: str = flag(
        DEFAULT_PROFILE, "The profile for an output in s3://, as --input-s3-profile-name.", metavar="NAME"
    )
    input_extensions: Annotated[tuple[str, ...], Converted(parse_extensions)] = flag(
        parse_extensions(_EXTENSIONS),
        "Which files in a folder count as videos, as a comma list; upper or lower case, with or without the "
        "dot. Other files are ignored.",
        metavar="LIST",
        shown_default=_EXTENSIONS.replace(",", " "),
    )
    limit: int = flag(
        0,
        "How many unfinished videos to process; 0 means all. Try new settings on a few first.",
        unit="videos",
        ge=0,
        le=1_000_000_000,
    )
    limit_clips: int = flag(
        0,
        "Clips to cut from each video at most, from its beginning; 0 means all.",
        unit="clips",
        ge=0,
        le=1_000_000,
    )
    keep_duplicates: bool = flag(
        False,
        "Also curate a file whose content equals that of an earlier one. By default such copies are skipped, "
        "because footage that occurs twice weighs double in training.",
    )
