"""Whether a run did what it was asked to do; if not, the message with which it ends in exit status 1."""

from __future__ import annotations

import dataclasses
from collections.abc import Container

from beam_curate.errors import OutputError, SetupError
from beam_curate.store.outcomes import Outcome

_SETUP_ERRORS = {SetupError.__name__} | {kind.__name__ for kind in SetupError.__subclasses__()}
_OUTPUT_ERRORS = {OutputError.__name__, OSError.__name__}  # a stage that writes a file itself has the bare one
_AGAIN = "fix what is named above and run the same command again, with --retry-failed for permanent failures"


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a run was asked for.

    Attributes:
        captions: Whether clips were to be captioned.
        dataset: Whether a dataset was to be written.
        max_failure_ratio: Value of ``--max-failure-ratio``; None without it.
    """

    captions: bool
    dataset: bool
    max_failure_ratio: float | None = None


@dataclasses.dataclass
class _Sums:
    """What a verdict rests on, added up over videos."""

    videos: int = 0
    videos_failed: int = 0
    videos_refused: int = 0  # by the output
    clips: int = 0
    clips_lost: int = 0  # that were not made
    clips_rejected: int = 0  # by filters
    clips_failed: int = 0  # in any part
    captioned: int = 0
    items: int = 0
    stopped: str | None = None  # why a stage was stopped

    def add(self, one: Outcome) -> None:
        self.videos += 1
        self.videos_failed += one.has_failed
        self.videos_refused += any(failure["error_type"] in _OUTPUT_ERRORS for failure in one.failures)
        self.clips += one.num_clips
        self.clips_lost += _total(one, "num_clips_failed")
        self.clips_rejected += one.num_rejected
        self.clips_failed += len(one.failed_clips)
        self.captioned += _total(one, "num_clips_with_caption")
        self.items += sum(len(chunk.get("dataset_items", ())) for chunk in one.chunks)
        for failure in one.failures:
            if failure["error_type"] in _SETUP_ERRORS:
                self.stopped = self.stopped or failure["message"]


class Judge:
    """Judges a run by the outcomes of all listed videos, given one by one.

    The dataset and ``--max-failure-ratio`` are judged by all of them, the rest by those that the run worked on, or by
    all where there was nothing to do.

    >>> Judge(set()).verdict(Asked(captions=True, dataset=False)) is None
    True

    Args:
        worked_on: URIs of the videos that the run worked on.
    """

    def __init__(self, worked_on: Container[str]) -> None:
        self._worked_on = worked_on
        self._all, self._here = _Sums(), _Sums()

    def add(self, one: Outcome) -> None:
        """Adds a video."""
        if one.state in ("skipped", "pending"):
            return
        self._all.add(one)
        if one.video.uri in self._worked_on:
            self._here.add(one)

    def verdict(self, asked: Asked) -> str | None:
        """Returns why a run that reached its end did not do what was asked, and what to do; None if it did."""
        here = self._here if self._here.videos else self._all
        whose = " of this run" if here.videos < self._all.videos else ""
        return _of_the_work(here, asked, whose) or _empty_dataset(self._all, asked) or _too_many(self._all, asked)


def _of_the_work(sums: _Sums, asked: Asked, whose: str) -> str | None:
    """Returns what is wrong with everything that was worked on."""
    if sums.stopped is not None:
        return f"a stage was stopped because none of its work can succeed with this set-up: {sums.stopped}"
    if sums.videos_refused:
        return f"{sums.videos_refused} videos could not be written to the output folder completely: {_AGAIN}"
    if asked.captions and sums.clips and not sums.captioned:
        return (
            f"none of the {sums.clips} clips has a usable caption, so there is nothing to train on: the lines on "
            "captions above name the reason; change the captioning flags, or pass --no-generate-captions"
        )
    if sums.videos and sums.videos_failed == sums.videos:
        return f"every video{whose} failed ({sums.videos}): {_AGAIN}"
    if sums.clips_lost and not sums.clips and not sums.clips_rejected:
        return f"every clip failed ({sums.clips_lost}): {_AGAIN}"
    return None


def _empty_dataset(sums: _Sums, asked: Asked) -> str | None:
    if not asked.dataset or sums.items:
        return None
    if sums.clips_rejected and not sums.clips:
        return (
            f"the dataset is empty, since filters rejected all {sums.clips_rejected} clips: scores and reasons are in "
            "metas/v0/; other thresholds judge them anew without computing them again"
        )
    if not sums.clips:
        return None
    return (
        f"the dataset is empty although there are {sums.clips} clips: the failures and windows left out above name the "
        "reason; if windows are too short, make longer clips or lower --predict2-min-frames"
    )


def _too_many(sums: _Sums, asked: Asked) -> str | None:
    if asked.max_failure_ratio is None:
        return None
    for what, failed, of in (
        ("videos", sums.videos_failed, sums.videos),
        ("clips", sums.clips_failed, sums.clips + sums.clips_rejected + sums.clips_lost),
    ):
        if failed > asked.max_failure_ratio * of:
            return (
                f"{failed} of {of} {what} failed, a share of {failed / max(1, of):.3g}, more than "
                f"--max-failure-ratio {asked.max_failure_ratio:g} allows: {_AGAIN}"
            )
    return None


def _total(one: Outcome, name: str) -> int:
    return sum(chunk.get(name, 0) for chunk in one.chunks)
