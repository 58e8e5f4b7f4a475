"""``medloss demo``: train, infer and score on data that needs no download."""

from __future__ import annotations

from pathlib import Path

import click

from medloss.cli.exits import FAILED
from medloss.cli.options import Whole, usage_errors
from medloss.cli.terminal import say


@click.command("demo", short_help="Train a bundle, infer, and score: minutes, no download.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Of data, weights, predictions and scores.",
)
@click.option("--epochs", type=Whole(min=1), help="Of the training.  [default: 10]")
@click.option("--force", is_flag=True, help="Run again in the folder of an earlier demo.")
@click.pass_context
def demo_command(context: click.Context, output: Path, epochs: int | None, force: bool) -> None:
    """Train a 3D network on half a brain, infer the other half, and score it in millimetres.

    The data are inside the package nilearn, of the extra "demo"; nothing is downloaded. On two
    processors it takes some five minutes. DIR/scores/report.html is the page to open.

    Exit code: 0 when it is done, 1 if a step failed, 2 if it cannot begin.
    """
    from medloss.workbench.demo import run_demo

    with usage_errors(FileExistsError):
        code = run_demo(output, epochs=epochs, force=force, say=say)
    if code:
        context.exit(FAILED)
    say(f"Weights and predictions are in {output}; open {output / 'scores' / 'report.html'}.")
