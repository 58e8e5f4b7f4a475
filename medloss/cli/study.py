"""``medloss study``: one bundle trained with several losses under equal conditions."""

from __future__ import annotations

from pathlib import Path

import click

from medloss.cli.study_options import StudyOptions, study_options


class _Stopped(click.ClickException):
    exit_code = 130


@click.command("study", short_help="Train a bundle with several losses and compare them.")
@click.argument("bundle", metavar="[BUNDLE]", type=click.Path(path_type=Path), required=False)
@study_options
@click.pass_context
def study_command(context: click.Context, bundle: Path | None, options: StudyOptions) -> None:
    """Train one bundle with several losses under equal conditions, and compare what they learn.

    Every loss gets the same initial weights, batches, steps, folds and seeds, and is scored by the
    same metrics on the cases held out. A study that was stopped goes on when the same command is
    given again; losses and seeds may be added. BUNDLE is a folder with a MONAI bundle that you
    trust, because the Python in it is executed; by default the demo of a medloss checkout.

    Exit code: 0 when every run has ended, 1 when one failed, 2 for a wrong command, 130 after
    Ctrl-C.
    """
    from medloss.cli.study_run import Interrupted, run_study
    from medloss.offers.host import PluginError

    try:
        context.exit(run_study(bundle, options))
    except Interrupted as interrupt:
        raise _Stopped(str(interrupt)) from interrupt
    except (PluginError, ValueError) as error:
        raise click.UsageError(str(error)) from error
