"""The command ``medloss``; each subcommand is a module that is imported when it is asked for."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from medloss._version import __version__
from medloss.cli.exits import INTERRUPTED, NOBODY_READS, InterruptedCommand, Stopped
from medloss.cli.terminal import QUIET, progress_shown, say
from medloss.offers.host import PluginError
from medloss.runtime import interruption

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SECTIONS = {
    "Evaluate": {
        "eval": "Score predictions against references.",
        "compare": "Compare several runs on the same cases.",
        "report": "Write the page of a study again.",
        "sample-size": "Say how many cases a study needs.",
        "thresholds": "Find the threshold of each class on validation cases.",
    },
    "Choose a loss and train": {
        "list": "List every loss, metric and part of a detector on offer.",
        "info": "Show the card of a loss, metric or part of a detector.",
        "suggest": "Propose a loss for label maps, from what they are like.",
        "study": "Train a bundle with several losses and compare them.",
        "nnunet-trainer": "Write an nnU-Net v2 trainer.",
        "demo": "Train a bundle, infer, and score: minutes, no download.",
    },
    "This machine, and plugins": {
        "doctor": "Say what works here, and what does not.",
        "warmup": "Compile now what would be compiled at the first use.",
        "bench": "Measure time and memory of losses beside others.",
        "check": "Hold losses and metrics to the contract, or try a loss on a batch.",
        "new-plugin": "Write a plugin to begin from.",
    },
}
COMMANDS = {name: summary for section in SECTIONS.values() for name, summary in section.items()}


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
        width = max(map(len, COMMANDS))
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:{width}}", text) for name, text in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands by the table above, and options of the group; nothing is imported for them."""
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=2)
            hint = f"there are: {', '.join(COMMANDS)}"
            if near:
                hint = f"did you mean {' or '.join(near)}?"
            raise click.UsageError(f"no command is called {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Errors are one clear sentence; ``--debug`` shows where they came from."""
        if ctx.params["quiet"]:
            os.environ[QUIET] = "1"  # for worker processes too
        try:
            with progress_shown():
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
            # Since click 8.2 a command without arguments is such an error, whose text is the help.
            begins = "" if type(error).__name__ == "NoArgsIsHelpError" else "Error: "
            say(f"{begins}{error.format_message()}{_help_of(error)}", err=True)
            return error.exit_code
        except (click.Abort, KeyboardInterrupt):
            say("Error: interrupted", err=True)
            return INTERRUPTED


def _help_of(error: click.ClickException) -> str:
    """Where the options stand, for words that the command does not know at all."""
    if (
        not isinstance(error, click.UsageError)
        or error.ctx is None
        or "?" in error.format_message()
    ):
        return ""
    kinds = click.NoSuchOption | click.MissingParameter | click.BadOptionUsage
    unread = isinstance(error, kinds) or "unexpected extra argument" in str(error)
    return f" ('{error.ctx.command_path} --help' shows how it is called)" if unread else ""


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings: MEDLOSS_DISABLE=a,b blocks plugins, MEDLOSS_STRICT=1 raises on a broken one, "
    "MEDLOSS_QUIET=1 is --quiet. "
    "Exit codes: 0; 1 something that was asked for failed; 2 a wrong command; 3 a mean beyond a "
    "threshold; 4 stopped by the machine or by a defect; 130 by Ctrl-C or SIGTERM.",
)
@click.version_option(__version__, "--version", prog_name="medloss")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, and no word about compiling.")
def main(debug: bool, quiet: bool) -> None:
    """Losses and boundary metrics for 3D medical segmentation."""
