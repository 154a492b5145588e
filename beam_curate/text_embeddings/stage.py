"""The stage that encodes captions as text embeddings, in batches with a fixed token budget."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from beam_curate import counters
from beam_curate.dataset.embedding_file import dump_embedding
from beam_curate.dataset.format import caption_fault, language_fault
from beam_curate.elements import Caption, Clip, ClipChunk, TextEmbedding
from beam_curate.models.slot import ModelRef
from beam_curate.stage import Stage, attempt_clips, failed
from beam_curate.store.stage_files import StageFiles
from beam_curate.text_embeddings.t5 import Tokens


def token_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Groups texts by length so that a padded batch holds at most ``budget`` tokens.

    >>> token_batches([5, 20, 6], budget=20)
    [[1], [2, 0]]

    Args:
        lengths: Number of tokens of each text.
        budget: Maximum number of tokens of a batch, padding included; a longer text is a batch of its own.

    Returns:
        One list of positions in ``lengths`` per batch. Batches depend on the lengths only, never on timing.
    """
    batches: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lambda position: (-lengths[position], position)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(position)
        else:
            batches.append([position])
    return batches


@dataclasses.dataclass(frozen=True)
class CaptionEncoder(Stage[ClipChunk, ClipChunk]):
    """Encodes the captions of a chunk and stores the embeddings.

    Attributes:
        model: The text encoder; see `beam_curate.text_embeddings.t5`.
        min_frames: Windows with fewer frames are not in the dataset, so they are not encoded.
    """

    model: ModelRef
    min_frames: int

    name: ClassVar[str] = "text"
    version: ClassVar[int] = 2

    def run(self, chunk: ClipChunk, files: StageFiles) -> ClipChunk:
        """Returns the chunk with an embedding for each window that has a usable caption."""
        wanted = [
            (clip.clip_id, position, caption.text)
            for clip in chunk.clips
            for position, window in enumerate(clip.windows)
            if window.num_frames >= self.min_frames and (caption := window.caption) is not None and _is_text(caption)
        ]
        if not wanted:
            return chunk
        with self.model.use() as encoder:
            texts: list[Tokens] = encoder.tokenize([text for _, _, text in wanted])
            budget: int = encoder.token_budget
        found: dict[tuple[str, int], tuple[Tokens, NDArray[np.float16] | Exception]] = {}
        waiting = collections.Counter(clip_id for clip_id, _, _ in wanted)
        for batch in token_batches([len(tokens.ids) for tokens in texts], budget):
            with self.model.use() as encoder:
                arrays: list[NDArray[np.float16] | Exception] = encoder.encode([texts[i] for i in batch])
            for position, array in zip(batch, arrays, strict=True):
                found[wanted[position][:2]] = (texts[position], array)
                waiting[wanted[position][0]] -= 1
            counters.step(sum(waiting[clip_id] == 0 for clip_id in {wanted[position][0] for position in batch}))
        counters.add("captions encoded", len(found))
        return attempt_clips(self, chunk, lambda clip: self._with_embeddings(chunk, clip, found, files))

    def _with_embeddings(
        self,
        chunk: ClipChunk,
        clip: Clip,
        found: dict[tuple[str, int], tuple[Tokens, NDArray[np.float16] | Exception]],
        files: StageFiles,
    ) -> Clip:
        windows = list(clip.windows)
        for position, window in enumerate(windows):
            if (clip.clip_id, position) not in found:
                continue
            tokens, array = found[clip.clip_id, position]
            if reason := language_fault(tokens.unreadable):
                windows[position] = dataclasses.replace(window, left_out=reason)
                continue
            if isinstance(array, Exception):
                clip = failed(self.name, chunk, clip, array)
                continue
            stem = f"{clip.clip_id}_{window.start_frame}_{window.end_frame}"
            with files.scratch() as scratch:
                path = scratch / f"{stem}.pickle"
                path.write_bytes(dump_embedding(array))
                stored = files.keep(path, stem)
            embedding = TextEmbedding(stored, len(tokens.ids), tokens.truncated)
            windows[position] = dataclasses.replace(window, embedding=embedding)
        return dataclasses.replace(clip, windows=tuple(windows))


def _is_text(caption: Caption) -> bool:
    return caption.usable and caption_fault(caption.text.strip()) is None
