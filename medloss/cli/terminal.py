"""The one way to the terminal: what reaches it can move no cursor and turn no line around."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from medloss.runtime.progress import heard_by
from medloss.runtime.visible import OBEYED, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


QUIET = "MEDLOSS_QUIET"
"""Environment variable: with any value but 0, no progress and no word about compiling."""


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


@contextlib.contextmanager
def progress_shown() -> Iterator[None]:
    """Bars with the time left for the work inside: on a terminal, and never in a pipe or in CI.

    They stand on stderr, vanish when the work is done, and are drawn by rich, which is imported
    when there is the first of them.
    """
    quiet = any(os.environ.get(name, "0") not in ("", "0", "false") for name in ("CI", QUIET))
    if quiet or os.environ.get("TERM") == "dumb" or not _is_terminal(sys.stderr):
        yield
        return
    bars = _Bars()
    try:
        with heard_by(bars):
            yield
    finally:
        bars.close()


class _Bars:
    """One bar for each piece of work, an inner one below an outer one."""

    def __init__(self) -> None:
        self._shown: Progress | None = None
        self._tasks: list[TaskID] = []

    def begin(self, what: str, total: int | None) -> int:
        if self._shown is None:
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._shown = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left", style="dim"),
                TimeRemainingColumn(),
                console=make_console(stderr=True, force_terminal=True),
                transient=True,
                # What is written to a file while a bar is there must still go to the file.
                redirect_stdout=_is_terminal(sys.stdout),
            )
            self._shown.start()
        self._tasks.append(self._shown.add_task(what, total=total))
        return len(self._tasks) - 1

    def update(
        self, number: int, *, steps: int = 0, what: str | None = None, total: int | None = None
    ) -> None:
        if self._shown is not None:
            self._shown.update(self._tasks[number], advance=steps, total=total, description=what)

    def end(self, number: int) -> None:
        if self._shown is not None:
            self._shown.remove_task(self._tasks[number])
            if not self._shown.tasks:
                self.close()

    def close(self) -> None:
        if self._shown is not None:
            self._shown.stop()
            self._shown = None


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # none, or a closed one
        return False
