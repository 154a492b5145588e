"""From a path or a URL to the store of an output."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from beam_curate.buckets.base import DEFAULT_PROFILE, scheme_of
from beam_curate.buckets.file_cache import FileCache
from beam_curate.buckets.open import open_bucket
from beam_curate.store.base import Store
from beam_curate.store.local import LocalStore


def open_store(place: str, profile: str = DEFAULT_PROFILE, cache: FileCache | None = None) -> Store:
    """Returns the store of an output. Nothing is read or made.

    >>> open_store("/data/out").location("clips"), open_store("s3://datasets/drive/").location("clips")
    ('/data/out/clips', 's3://datasets/drive/clips')

    Args:
        place: A path on this computer, or the URL of a prefix in a bucket.
        profile: Of the user's AWS files, for an output on S3.
        cache: For copies of objects on each computer that works on the output.

    Raises:
        ValueError: The URL names no bucket, or another kind of place.
    """
    if not scheme_of(place):
        return LocalStore(Path(os.path.abspath(place)))
    from beam_curate.store.objects import ObjectStore

    bucket, prefix = open_bucket(place, profile)
    return ObjectStore(bucket, str(PurePosixPath(prefix.strip("/") or ".")).removeprefix("."), cache or FileCache())
