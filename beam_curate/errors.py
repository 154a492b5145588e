"""The errors that users meet, each knowing whether trying again later may help."""


class CurateError(Exception):
    """An error of one video or clip.

    Attributes:
        retriable: True where the same work may succeed on a later run (a full disk, a file being written);
            False where only other options or another file help.
    """

    retriable = False


class UnreadableSourceError(CurateError):
    """The file is not a video that can be decoded."""


class RefusedSourceError(CurateError):
    """The source is of a kind that the options refuse."""


class DecoderCrashedError(CurateError):
    """The process that read the source died: a decoder bug or a decompression bomb."""


class DecoderTimeoutError(CurateError):
    """The process that read the source made no progress within its time limit."""


class DecoderMemoryError(CurateError):
    """Reading the source needed more memory than the limit allows."""


class LostFramesError(CurateError):
    """Frames of a clip could not be decoded, so the clip would not be what the shot detector saw."""


class SourceChangedError(CurateError):
    """The source file changed while it was being curated."""

    retriable = True


class ModelOutputError(CurateError):
    """A model answered with something that must not reach a dataset (NaN, empty text)."""


class ModelMemoryError(CurateError):
    """A device's memory does not hold what one item needs."""

    retriable = True


class ModelContextError(CurateError):
    """A prompt with its pictures is longer than what the model reads at once."""


class ModelServerError(CurateError):
    """A model server did not answer, or not with an answer: it is down, overloaded, or speaks another language."""

    retriable = True


class ModelRequestError(CurateError):
    """A model server refused a request for good: a wrong key, an unknown model, a request that it does not take."""

    retriable = True


class ModelFilesError(CurateError):
    """A model's files are missing or damaged, or cannot be fetched."""

    retriable = True


class UsageError(Exception):
    """A mistake in flags, paths or set-up, found before any video is touched."""
