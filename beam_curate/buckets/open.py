"""From a URL to its bucket."""

from __future__ import annotations

from pathlib import Path

from beam_curate.buckets.base import DEFAULT_PROFILE, Bucket, scheme_of, split_url


def open_bucket(url: str, profile: str = DEFAULT_PROFILE) -> tuple[Bucket, str]:
    """Returns the bucket of a URL, and the key. Nothing is asked of the store.

    >>> open_bucket("s3://footage/day1/a.mp4")
    (S3Bucket(name='footage', profile='default'), 'day1/a.mp4')

    Args:
        url: ``s3://BUCKET/KEY`` or ``gs://BUCKET/KEY``.
        profile: Of the user's AWS files; a bucket of Google Cloud Storage has none.

    Raises:
        ValueError: It is not such a URL.
    """
    scheme, name, key = split_url(url)
    if scheme == "s3":
        from beam_curate.buckets.s3 import S3Bucket

        return S3Bucket(name, profile), key
    from beam_curate.buckets.gcs import GcsBucket

    return GcsBucket(name), key


def read_place(place: str, profile: str = DEFAULT_PROFILE, most_bytes: int = -1) -> bytes:
    """Returns the content of a small file on this computer or in a bucket.

    >>> read_place("/dev/null")
    b''

    Args:
        place: A path or a URL.
        profile: Of the user's AWS files.
        most_bytes: Read no more than this; -1 for all.

    Raises:
        OSError: It is not there or cannot be read.
    """
    if not scheme_of(place):
        with Path(place).open("rb") as file:
            return file.read(most_bytes)
    bucket, key = open_bucket(place, profile)
    facts = bucket.head(key)
    if facts is None:
        return bucket.get(key)  # which tells why not
    data = b""
    for block in bucket.stream(facts):
        data += block
        if 0 <= most_bytes <= len(data):
            return data[:most_bytes]
    return data
