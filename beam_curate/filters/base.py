"""What a filter is: a stage that scores clips, and a rule that judges the scores."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from beam_curate import counters
from beam_curate.elements import Clip, ClipChunk, Rejection, Score
from beam_curate.errors import NoScoreError
from beam_curate.stage import Stage, attempt_clips
from beam_curate.store.stage_files import StageFiles


@dataclasses.dataclass(frozen=True)
class ClipFilter(Stage[ClipChunk, ClipChunk]):
    """The base of filters: a frozen dataclass with `score` and `judge`.

    Scores are stored; the rule is not part of a filter's identity, so that another threshold judges stored scores anew.

    Attributes:
        model: The model that it uses, or None.
        rejects: Whether clips are rejected; else they are only scored.
        rule: Names of the fields that `judge` alone depends on.
    """

    rejects: bool

    rule: ClassVar[frozenset[str]] = frozenset({"rejects"})
    transient: ClassVar[frozenset[str]] = rule

    def score(self, clip: Path) -> Mapping[str, Any]:
        """Returns what is found of a clip: named numbers, words, and lists of these.

        Args:
            clip: The clip, an mp4 of this program.

        Raises:
            NoScoreError: It has no score, whatever the run.
        """
        raise NotImplementedError

    def judge(self, values: Mapping[str, Any]) -> str | None:
        """Returns why a clip with this score is rejected, in words, or None where it is kept."""
        raise NotImplementedError

    def run(self, chunk: ClipChunk, files: StageFiles) -> ClipChunk:
        """Returns the chunk with scored clips."""
        return attempt_clips(self, chunk, lambda clip: self._scored(clip, files))

    def judged(self, result: ClipChunk) -> ClipChunk:
        """Returns the chunk without the clips that are rejected, which are listed apart."""
        if not self.rejects:
            return result
        judged = tuple(dataclasses.replace(clip, rejection=self._rejection(clip)) for clip in result.clips)
        kept = tuple(clip for clip in judged if clip.rejection is None)
        counters.add(f"rejected by {self.name}", len(judged) - len(kept))
        return dataclasses.replace(result, clips=kept, rejected=tuple(clip for clip in judged if clip.rejection))

    def rule_identity(self) -> dict[str, Any]:
        """Returns what the judgement depends on besides the score."""
        return {name: getattr(self, name) for name in sorted(self.rule)}

    def _scored(self, clip: Clip, files: StageFiles) -> Clip:
        assert clip.media is not None
        with files.reading(clip.media.file) as path:
            try:
                score = Score(self.name, self._plain(self.score(path)))
            except NoScoreError as error:
                score = Score(self.name, {}, str(error))
        counters.step()
        return dataclasses.replace(clip, scores=(*clip.scores, score))

    def _plain(self, values: Mapping[str, Any]) -> dict[str, Any]:
        if broken := [name for name, value in values.items() if isinstance(value, float) and not math.isfinite(value)]:
            raise NoScoreError(f"{', '.join(broken)} of the {self.name} score is not a finite number")
        return dict(values)

    def _rejection(self, clip: Clip) -> Rejection | None:
        if clip.media is None:
            return None  # it is a failure already, and no clip
        score = next((score for score in clip.scores if score.filter == self.name), None)
        if score is None:
            why = next((one.message for one in reversed(clip.failures) if one.stage == self.name), "it has no score")
            return Rejection(self.name, f"it could not be scored: {why}")
        if score.problem is not None:
            return Rejection(self.name, f"it has no score: {score.problem}")
        reason = self.judge(score.values)
        return None if reason is None else Rejection(self.name, reason)
