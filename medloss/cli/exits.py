"""How a command ends: the exit codes of every command, and the errors that bear them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click

from medloss.runtime.interruption import EXIT_CODE

FAILED, WRONG_COMMAND, NOT_GOOD_ENOUGH, STOPPED, INTERRUPTED = 1, 2, 3, 4, EXIT_CODE
"""Beside 0. What was asked for was done, and something in it failed; a wrong command, before any
work; a mean beyond a threshold; stopped by the machine or by a defect; Ctrl-C or SIGTERM."""

NOBODY_READS = 141
"""Whoever read the output has gone, as in ``medloss list | head``: as of other programs."""


class Stopped(click.ClickException):
    """The machine failed, or we did: a full disk, no memory, workers that die, a defect."""

    exit_code = STOPPED


class InterruptedCommand(click.ClickException):
    """Ctrl-C, or the signal of a batch system."""

    exit_code = INTERRUPTED


@contextlib.contextmanager
def stops(again: str = "") -> Iterator[None]:
    """What ends work that has begun is told with how to go on.

    Args:
        again: a sentence, or nothing.

    Raises:
        Stopped: the machine failed.
        InterruptedCommand: by the user.
    """
    try:
        yield
    except (BrokenPipeError, click.exceptions.Exit, click.Abort):
        raise
    except (OSError, RuntimeError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise Stopped(f"{reason}.{again and ' '}{again}") from error
    except KeyboardInterrupt as interrupt:
        raise InterruptedCommand(f"interrupted.{again and ' '}{again}") from interrupt
