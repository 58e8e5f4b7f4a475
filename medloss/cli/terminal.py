"""The one way to the terminal: what reaches it can move no cursor and turn no line around.

Names of cases and labels, texts of plugins and errors come from files of anyone; a terminal obeys
the control characters in them, and shows what stands between marks of direction in another order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

# C0 but tab and line break, DEL, C1; marks, embeddings, overrides and isolates of direction; the
# separators that some terminals break lines at; halves of characters, which no encoding has.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Text with the characters that a terminal obeys as Python writes them.

    Example:
        >>> visible("case \x1b[2J")
        'case \\x1b[2J'
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print a text as it is, but :func:`visible`."""
    click.echo(visible(text), err=err, nl=nl)


def make_console(**options: Any) -> Console:
    """A console of rich that shows every text :func:`visible`, wherever it stands.

    Args:
        options: as rich takes them.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class Careful(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(visible(text), **options)  # before it is measured

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                if segment.control or not _OBEYED.search(segment.text):
                    yield segment
                else:
                    yield Segment(visible(segment.text), segment.style)

        def on_broken_pipe(self) -> None:  # which rich would end by exit code 1
            raise BrokenPipeError

    return Careful(highlight=False, **options)
