"""What the long tests found, as tables for people: each writes its own section of one Markdown file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

VARIABLE = "BEAM_CURATE_RELIABILITY"  # names the file; without it nothing is written


def write_section(name: str, markdown: str) -> None:
    """Puts `markdown` between `<!-- begin NAME -->` and `<!-- end NAME -->`, adding the markers at the end if absent.

    Raises:
        ValueError: Only one of the two markers is in the file, or they are in the wrong order.
    """
    if not os.environ.get(VARIABLE):
        return
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    section = f"{begin}\n{markdown.strip()}\n{end}"
    with Path(os.environ[VARIABLE]).open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # other tests may be writing their sections
        file.seek(0)
        text = file.read()
        before, begun, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if bool(begun) != (end in text) or bool(begun) != bool(ended):
            raise ValueError(f"the markers of section {name} in {file.name} do not belong together")
        if not begun:
            before = f"{text.rstrip()}\n\n" if text.strip() else ""
            after = "\n"
        file.truncate(0)
        file.write(before + section + after)


def table(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """A Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
