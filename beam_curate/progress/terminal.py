"""Safe output of untrusted text: it must not move the cursor, set a title or reverse a line of the terminal."""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.segment import Segment

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, bidi marks, surrogates, line separators
_JOINERS = "\u200c\u200d"  # within words of some scripts, and within emoji


def shown(text: str) -> str:
    r"""Returns a text on one line that is safe to print: unsafe characters become escapes such as ``\x1b``.

    >>> print(shown("a\tname\x1b[2J\nof a file"))
    a\tname\x1b[2J\nof a file
    """
    return "".join(_escaped(character) if _is_unsafe(character) else character for character in text)


def lines(text: str) -> str:
    r"""Does the same for a text of several lines, and keeps its line breaks.

    >>> print(lines("a\tname\nof a file"))
    a\tname
    of a file
    """
    return "\n".join(shown(line) for line in text.split("\n"))


def complain(error: object) -> None:
    """Prints the error that ends a command to standard error.

    >>> import contextlib
    >>> with contextlib.redirect_stderr(sys.stdout):
    ...     complain("no such folder")
    beam-curate: no such folder
    """
    print(f"beam-curate: {lines(str(error))}", file=sys.stderr)


def console(**settings: Any) -> Console:
    """Returns a console that prints text safely and literally, without markup.

    >>> console(file=sys.stdout).print("[bold]literally[/bold]")
    [bold]literally[/bold]
    """
    from rich.console import Console  # --help and usage errors do not need it
    from rich.segment import Segment

    class SafeConsole(Console):
        def print(self, *objects: Any, **how: Any) -> None:
            super().print(*(lines(one) if isinstance(one, str) else one for one in objects), **how)

        def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):  # also in table cells, log lines, tracebacks
                yield segment if segment.control else Segment(lines(segment.text), segment.style)

        def on_broken_pipe(self) -> None:
            raise  # rich calls this from its error handler, and would exit the program

    return SafeConsole(highlight=False, soft_wrap=True, markup=False, **settings)


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE and character not in _JOINERS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()
