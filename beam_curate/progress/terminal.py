"""Text from files, servers and other people on a terminal: it must not move the cursor, set a title or turn a line."""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.segment import Segment

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, bidi marks, halves of characters, line separators
_JOINERS = "\u200c\u200d"  # within words of some scripts, and within emoji


def shown(text: str) -> str:
    r"""Returns a text on one line as it can be printed anywhere: what is unsafe becomes an escape such as ``\x1b``."""
    return "".join(_escaped(character) if _is_unsafe(character) else character for character in text)


def lines(text: str) -> str:
    """Does the same to a text of several lines, whose line breaks stay."""
    return "\n".join(shown(line) for line in text.split("\n"))


def complain(error: object) -> None:
    """Prints what ends a command to standard error."""
    print(f"beam-curate: {lines(str(error))}", file=sys.stderr)


def console(**settings: Any) -> Console:
    """Returns a console that prints texts as they are, without markup, and safely."""
    from rich.console import Console  # not for help and mistakes
    from rich.segment import Segment

    class SafeConsole(Console):
        def print(self, *objects: Any, **how: Any) -> None:
            super().print(*(lines(one) if isinstance(one, str) else one for one in objects), **how)

        def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):  # cells of tables, log lines, tracebacks
                yield segment if segment.control else Segment(lines(segment.text), segment.style)

        def on_broken_pipe(self) -> None:
            raise  # rich calls this while it handles the error, and would end the program

    return SafeConsole(highlight=False, soft_wrap=True, markup=False, **settings)


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE and character not in _JOINERS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()
