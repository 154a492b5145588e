"""Recognising clips that this program made: they are never curated again."""

from __future__ import annotations

import collections
import functools
import os

from beam_curate.progress.terminal import shown
from beam_curate.store.layout import CLIPS, DATASET, WORK

_MADE = (CLIPS.name, DATASET.name, WORK.name)  # the folders of an output that hold videos
_MARKS = ("fingerprints.json", "lock", "done", "files")  # in .work; any of them shows that it is ours


class Outputs:
    """Recognises and counts the files that this program made.

    An output folder is recognised by what is in its ``.work``, also through links.

    >>> outputs = Outputs("/data/out")
    >>> outputs.holds("/data/out/clips/a.mp4"), outputs.holds("/data/a.mp4")
    (True, False)

    Args:
        own: The output folder of this run, which may not exist yet.
    """

    def __init__(self, own: str | None) -> None:
        self._own = os.path.realpath(own) if own else None
        self._without_links = functools.cache(os.path.realpath)  # of a folder, which has many files
        self._made_in: dict[str, str | None] = {}
        self._counts: collections.Counter[str] = collections.Counter()

    def holds(self, path: str) -> bool:
        """Whether this program made a file, or the target of a link."""
        folders = [self._without_links(os.path.dirname(path))]
        if os.path.islink(path):
            folders.append(os.path.dirname(os.path.realpath(path)))
        for one in folders:
            if made := self._made(one):
                self._counts[made] += 1
                return True
        return False

    def notes(self) -> list[str]:
        """Returns one message per folder with files that were left out."""
        return [
            f"{shown(folder)}: left out, beam-curate made the {count} files in it; to curate them again, copy them "
            "to another folder"
            for folder, count in sorted(self._counts.items())
        ]

    def _made(self, folder: str) -> str | None:
        """Returns which folder of an output a folder, without links, is or lies in, or None."""
        if folder not in self._made_in:
            parent, name = os.path.split(folder)
            if name in _MADE and self._is_output(parent):
                self._made_in[folder] = folder
            else:
                self._made_in[folder] = self._made(parent) if parent != folder else None
        return self._made_in[folder]

    def _is_output(self, folder: str) -> bool:
        return folder == self._own or any(os.path.exists(os.path.join(folder, WORK, mark)) for mark in _MARKS)
