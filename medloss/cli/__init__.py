"""The command ``medloss``; each subcommand is a module that is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

import click

from medloss._version import __version__
from medloss.offers.host import PluginError

COMMANDS = {
    "bench": "Measure time and memory of losses beside others.",
    "check": "Hold losses and metrics to the contract, or try a loss on a batch.",
    "compare": "Compare several runs on the same cases.",
    "eval": "Score predictions against references.",
    "info": "Show the card of a loss, metric or part of a detector.",
    "list": "List every loss, metric and part of a detector on offer.",
    "nnunet-trainer": "Write an nnU-Net v2 trainer with a loss.",
    "report": "Write the page of a study again.",
    "study": "Train a bundle with several losses and compare them.",
    "suggest": "Propose a loss for label maps, from what they are like.",
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
        except PluginError as error:
            if ctx.params["debug"]:
                raise
            raise click.UsageError(str(error), ctx) from error
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            if ctx.params["debug"]:
                raise
            raise click.ClickException(
                f"{type(error).__name__}: {error} (medloss --debug shows the traceback)"
            ) from error


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings: MEDLOSS_DISABLE=a,b blocks plugins, MEDLOSS_STRICT=1 raises on a broken one.",
)
@click.version_option(__version__, "--version", prog_name="medloss")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool) -> None:
    """Losses and boundary metrics for 3D medical segmentation."""
