"""Reading a source: the file itself, or a copy on this computer of an object."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator

from beam_curate.buckets.base import DEFAULT_PROFILE, ObjectChangedError, missing, scheme_of
from beam_curate.buckets.download import holding
from beam_curate.buckets.file_cache import FileCache
from beam_curate.buckets.open import open_bucket
from beam_curate.elements import Video
from beam_curate.errors import DiskError, SourceChangedError
from beam_curate.sources.listing import check_unchanged

_CHANGED = "the object changed after it was listed; run again when it is complete"


@dataclasses.dataclass(frozen=True)
class SourceReader:
    """Gives sources as files; it is sent to workers.

    Attributes:
        cache: For copies of objects.
        profile: Of the user's AWS files, for sources on S3.
    """

    cache: FileCache = FileCache()
    profile: str = DEFAULT_PROFILE

    @contextlib.contextmanager
    def reading(self, video: Video) -> Iterator[str]:
        """Gives the path of a file on this computer with the content of a source, while the block lasts.

        Raises:
            SourceChangedError: The source is not the one that was listed.
            DiskError: It is gone, or its store refuses it or does not answer.
        """
        if not scheme_of(video.uri):
            check_unchanged(video)
            yield video.uri
            return
        with contextlib.ExitStack() as stack:
            try:
                path = stack.enter_context(self._holding(video))
            except ObjectChangedError as error:
                raise SourceChangedError(_CHANGED) from error
            except FileNotFoundError as error:
                raise DiskError("the object is no longer there") from error
            yield str(path)

    def is_another(self, recorded: str, uri: str) -> bool:
        """Whether a source that was recorded is still there, and is another one than this.

        Raises:
            OSError: The store of the recorded one does not answer.
        """
        if scheme_of(recorded):
            try:
                bucket, key = open_bucket(recorded, self.profile)
            except ValueError:
                return False  # no run of ours recorded it
            return recorded != uri and bucket.head(key) is not None
        try:
            return os.path.exists(recorded) if scheme_of(uri) else not os.path.samefile(recorded, uri)
        except (OSError, ValueError):
            return False  # it is no longer there

    def _holding(self, video: Video) -> contextlib.AbstractContextManager[object]:
        bucket, key = open_bucket(video.uri, self.profile)
        facts = bucket.head(key)
        if facts is None:
            raise missing(video.uri)
        if (facts.size_bytes, facts.etag) != (video.size_bytes, video.etag):
            raise SourceChangedError(_CHANGED)
        return holding(bucket, facts, self.cache)
