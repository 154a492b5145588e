"""The errors that users meet, each knowing whether trying again later may help."""


class CurateError(Exception):
    """An error of one video or clip.

    Attributes:
        retriable: True where the same work may succeed on a later run (a full disk, a file being written);
            False where only other options or another file help.
    """

    retriable = False


class ContentError(CurateError):
    """The footage or the answer itself is the cause: the same file gives the same error on every run."""


class PlaceError(CurateError):
    """The disk, the network or the machine is the cause: the same work may succeed on a later run."""

    retriable = True


class SetupError(CurateError):
    """Flags or the environment are the cause, for every unit alike: the stage stops after the first.

    Its message names the flag or the variable to change. `beam_curate.stage` gives all units that follow the same
    failure without any work, and the next run does them.
    """

    retriable = True


class NoScoreError(ContentError):
    """A filter cannot score the clip, whatever the run: it is kept where filters only score, else rejected."""


class LimitError(ContentError):
    """The footage does not keep within a limit: it gives the same error on every run with the same limits."""


class InternalError(PlaceError):
    """A fault of this program or of a library: nobody's content, and another version or run may do without it."""


class UnreadableSourceError(ContentError):
    """The file is not a video that can be decoded."""


class RefusedSourceError(ContentError):
    """The source is of a kind that the options refuse."""


class EncodingError(ContentError):
    """The encoder or mp4 does not take the pictures of a clip."""


class DiskError(PlaceError):
    """The operating system does not read a source or does not write a file: gone, no permission, full, read-only."""


class OutputError(DiskError):
    """A file of the output cannot be written: something else is in its place, or the disk refuses it."""


class MachineError(PlaceError):
    """The machine has no process, thread or encoder to give."""


class DecoderKilledError(PlaceError):
    """The process that read the source was ended from outside: by a person, a scheduler, or for want of memory."""


class DecoderCrashedError(LimitError):
    """The process that read the source crashed: a decoder bug or a decompression bomb."""


class DecoderTimeoutError(LimitError):
    """The process that read the source made no progress within its time limit."""


class DecoderMemoryError(LimitError):
    """Reading the source needed more memory than the limit allows."""


class LostFramesError(ContentError):
    """Frames of a clip could not be decoded, so the clip would not be what the shot detector saw."""


class SourceChangedError(PlaceError):
    """The source file changed while it was being curated."""


class IncompleteVideoError(PlaceError):
    """Not all that was made of a video reached its end: the runner lost a part of it on the way."""


class EmbeddingFileError(ContentError):
    """A text embedding, or its file, that the trainer would reject or misread, or that is not safe to load."""


class ModelOutputError(ContentError):
    """A model answered with something that must not reach a dataset (NaN, empty text, one sentence over and over).

    Attributes:
        reason: The kind of fault, in one word, as records and the summary count it.
    """

    def __init__(self, message: str, reason: str = "exception") -> None:
        super().__init__(message)
        self.reason = reason


class ModelMemoryError(PlaceError):
    """A device's memory does not hold what one item needs."""


class ModelContextError(ContentError):
    """A prompt with its pictures is longer than what the model reads at once."""


class ModelServerError(PlaceError):
    """A model server did not answer, or not with an answer: it is down, overloaded, or speaks another language."""


class ModelRequestError(PlaceError):
    """A model server refused a request permanently: a wrong key, an unknown model, a request that it does not take."""


class ModelFilesError(PlaceError):
    """A model's files are missing or damaged, or cannot be fetched."""


class UsageError(Exception):
    """A mistake in flags, paths or set-up, found before any video is touched."""


class WorkerError(Exception):
    """A worker is not fit for the job as a whole; its message says on which computer, why, and what to do."""
