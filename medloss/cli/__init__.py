"""The command ``medloss``; each subcommand is a module that is imported when it is asked for."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from medloss._version import __version__
from medloss.cli.exits import INTERRUPTED, NOBODY_READS, InterruptedCommand, Stopped
from medloss.cli.terminal import say
from medloss.offers.host import PluginError
from medloss.runtime import interruption

COMMANDS = {
    "bench": "Measure time and memory of losses beside others.",
    "check": "Hold losses and metrics to the contract, or try a loss on a batch.",
    "compare": "Compare several runs on the same cases.",
    "demo": "Train a bundle, infer, and score: minutes, no download.",
    "eval": "Score predictions against references.",
    "info": "Show the card of a loss, metric or part of a detector.",
    "list": "List every loss, metric and part of a detector on offer.",
    "new-plugin": "Write a plugin to begin from.",
    "nnunet-trainer": "Write an nnU-Net v2 trainer.",
    "report": "Write the page of a study again.",
    "sample-size": "Say how many cases a study needs.",
    "study": "Train a bundle with several losses and compare them.",
    "suggest": "Propose a loss for label maps, from what they are like.",
    "thresholds": "Find the threshold of each class on validation cases.",
    "warmup": "Compile now what would be compiled at the first use.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]  # list() is the submodule here once that command has been imported

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(
            importlib.import_module(f"medloss.cli.{name}"), f"{name}_command"
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # From the table above: the help must not import what the commands import.
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(
                f"no command is called {args[0]!r}; there are: {', '.join(COMMANDS)}", ctx
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Errors are one clear sentence; ``--debug`` shows where they came from."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except BrokenPipeError as error:
            # What is still in the buffer goes nowhere, and so without another error.
            with contextlib.suppress(AttributeError, ValueError, OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(NOBODY_READS) from error
        except KeyboardInterrupt as interrupt:
            raise InterruptedCommand("interrupted") from interrupt
        except Exception as error:
            if ctx.params["debug"]:
                raise
            if isinstance(error, PluginError):
                raise click.UsageError(str(error), ctx) from error
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise Stopped(f"{reason} (medloss --debug shows the traceback)") from error

    def main(  # type: ignore[override]  # click's overloads say when it returns
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        *,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Every end of every command: its text, made visible, and its exit code."""
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        for stream in (sys.stdout, sys.stderr):
            # A name may have letters that the terminal's encoding has not.
            with contextlib.suppress(AttributeError, ValueError, OSError):
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        code = self._ended(args, prog_name, extra)
        interruption.finish()
        sys.exit(INTERRUPTED if interruption.asked() else code)

    def _ended(
        self, args: Sequence[str] | None, prog_name: str | None, extra: dict[str, Any]
    ) -> int:
        try:
            code = super().main(args, prog_name, standalone_mode=False, **extra)
            try:
                sys.stdout.flush()
            except OSError as error:
                raise Stopped(f"the output cannot be written: {error.strerror}") from error
            return code if isinstance(code, int) else 0
        except click.ClickException as error:
            text = io.StringIO()
            error.show(text)
            say(text.getvalue(), err=True, nl=False)
            return error.exit_code
        except (click.Abort, KeyboardInterrupt):
            say("Error: interrupted", err=True)
            return INTERRUPTED


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings: MEDLOSS_DISABLE=a,b blocks plugins, MEDLOSS_STRICT=1 raises on a broken one. "
    "Exit codes: 0; 1 something that was asked for failed; 2 a wrong command; 3 a mean beyond a "
    "threshold; 4 stopped by the machine or by a defect; 130 by Ctrl-C or SIGTERM.",
)
@click.version_option(__version__, "--version", prog_name="medloss")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool) -> None:
    """Losses and boundary metrics for 3D medical segmentation."""
