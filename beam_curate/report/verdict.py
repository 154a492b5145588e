"""Whether a run did what it was asked to do; if not, the message with which it ends in exit status 1."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Sequence

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


def verdict(outcomes: Sequence[Outcome], worked_on: Container[str], asked: Asked) -> str | None:
    """Returns why a run that reached its end did not do what was asked, and what to do; None if it did.

    >>> verdict([], set(), Asked(captions=True, dataset=False)) is None
    True

    Args:
        outcomes: Of all listed videos. The dataset and ``--max-failure-ratio`` are judged by all of them.
        worked_on: URIs of the videos that the run worked on. The rest is judged by these, or by all where there was
            nothing to do.
        asked: What was asked for.
    """
    judged = [one for one in outcomes if one.state not in ("skipped", "pending")]
    here = [one for one in judged if one.video.uri in worked_on] or judged
    whose = " of this run" if len(here) < len(judged) else ""
    return _of_the_work(here, asked, whose) or _empty_dataset(judged, asked) or _too_many(judged, asked)


def _of_the_work(outcomes: Sequence[Outcome], asked: Asked, whose: str) -> str | None:
    """Returns what is wrong with everything that was worked on."""
    for one in outcomes:
        for failure in one.failures:
            if failure["error_type"] in _SETUP_ERRORS:
                return (
                    f"a stage was stopped because none of its work can succeed with this set-up: {failure['message']}"
                )
    refused = [one for one in outcomes if any(failure["error_type"] in _OUTPUT_ERRORS for failure in one.failures)]
    if refused:
        return f"{len(refused)} videos could not be written to the output folder completely: {_AGAIN}"
    made = sum(one.num_clips for one in outcomes)
    if asked.captions and made and not any(_total(one, "num_clips_with_caption") for one in outcomes):
        return (
            f"none of the {made} clips has a usable caption, so there is nothing to train on: the lines on captions "
            "above name the reason; change the captioning flags, or pass --no-generate-captions"
        )
    if outcomes and all(one.has_failed for one in outcomes):
        return f"every video{whose} failed ({len(outcomes)}): {_AGAIN}"
    failed = sum(_total(one, "num_clips_failed") for one in outcomes)
    if failed and not made:
        return f"every clip failed ({failed}): {_AGAIN}"
    return None


def _empty_dataset(outcomes: Sequence[Outcome], asked: Asked) -> str | None:
    made = sum(one.num_clips for one in outcomes)
    if not asked.dataset or not made or any(chunk.get("dataset_items") for one in outcomes for chunk in one.chunks):
        return None
    return (
        f"the dataset is empty although there are {made} clips: the failures and windows left out above name the "
        "reason; if windows are too short, make longer clips or lower --predict2-min-frames"
    )


def _too_many(outcomes: Sequence[Outcome], asked: Asked) -> str | None:
    if asked.max_failure_ratio is None:
        return None
    clips = sum(one.num_clips + _total(one, "num_clips_failed") for one in outcomes)
    for what, failed, of in (
        ("videos", sum(one.has_failed for one in outcomes), len(outcomes)),
        ("clips", sum(len(one.failed_clips) for one in outcomes), clips),
    ):
        if failed > asked.max_failure_ratio * of:
            return (
                f"{failed} of {of} {what} failed, a share of {failed / max(1, of):.3g}, more than "
                f"--max-failure-ratio {asked.max_failure_ratio:g} allows: {_AGAIN}"
            )
    return None


def _total(one: Outcome, name: str) -> int:
    return sum(chunk.get(name, 0) for chunk in one.chunks)
