"""The one way to the terminal: what reaches it can move no cursor and turn no line around."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from medloss.runtime.visible import OBEYED, visible

if TYPE_CHECKING:
    from rich.console import Console


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
                if segment.control or not OBEYED.search(segment.text):
                    yield segment
                else:
                    yield Segment(visible(segment.text), segment.style)

        def on_broken_pipe(self) -> None:  # which rich would end by exit code 1
            raise BrokenPipeError

    return Careful(highlight=False, **options)
