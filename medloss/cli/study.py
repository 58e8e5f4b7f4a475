"""``medloss study``: one bundle trained with several losses under equal conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from medloss.cli.exits import FAILED, InterruptedCommand, stops
from medloss.cli.options import OVERRIDE, Number, SectionedCommand, Whole, completed, usage_errors
from medloss.cli.terminal import say
from medloss.runtime.config_text import parse_overrides

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


_SECTIONS = {
    "What is compared": ("losses", "losses_file", "baseline", "metrics", "tune_by"),
    "How it is trained": (*("seeds", "folds", "epochs", "budget", "bundle_config", "override"),),
    "Who does the work": ("device", "workers", "scheduler"),
    "What comes out": ("output", "dry_run", "report_only", "force"),
}


@click.command("study", cls=SectionedCommand, sections=_SECTIONS)
@click.argument("bundle", metavar="[BUNDLE]", type=click.Path(path_type=Path), required=False)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("study"),
    show_default=True,
    help="Of the study.",
)
@click.option(
    "--losses",
    metavar="A,B,C",
    shell_complete=completed("loss", several=True),
    help="Losses of 'medloss list', with options as eval takes them; '+' joins terms, as in "
    "dice+0.5*focal:gamma=1. One that cannot train alone is added to dice_ce with weight 0.1, "
    "and named so. Of values with '|' between them, as in tversky:fn_weight=0.5|0.7 or "
    "dice+0.1|1*focal, one is chosen on cases that are not reported.  [default: dice_ce, dice, "
    "cross_entropy, dice_focal, dice_topk, tversky]",
)
@click.option(
    "--losses-file",
    metavar="FILE",
    type=_FILE,
    help="More losses: JSON or YAML, from names to such text or to blocks with _target_.",
)
@click.option(
    "--baseline", metavar="NAME", help="What the others are compared with.  [default: first]"
)
@click.option(
    "--tune-by",
    metavar="METRIC",
    shell_complete=completed("metric"),
    help="Metric that chooses among values with '|' between them, one of -m.  [default: first]",
)
@click.option(
    "--seeds",
    metavar="N,N",
    default="0,1,2",
    show_default=True,
    help="Each loss is trained once with each.",
)
@click.option(
    "--folds",
    metavar="N",
    type=Whole(min=2),
    default=None,
    help="Cross-validate over the bundle's training list.  [default: the bundle's own split]",
)
@click.option("--epochs", type=Whole(min=1), help="Of every run.  [default: the bundle's]")
@click.option(
    "--budget",
    metavar="MINUTES",
    type=Number(min=0, min_open=True),
    help="Plan the epochs, equal for all runs, so that the whole study fits.",
)
@click.option(
    "-m",
    "--metric",
    "metrics",
    shell_complete=completed("metric", several=True),
    metavar="NAME[:option=value,...]",
    multiple=True,
    help="Repeatable.  [default: dice, sensitivity, specificity, hausdorff95, "
    "normalized_surface_dice:tolerance_mm=1]",
)
@click.option(
    "--bundle-config",
    metavar="NAME",
    multiple=True,
    help="File in the bundle's configs; repeatable, later ones win.  [default: train]",
)
@OVERRIDE
@click.option(
    "--device", metavar="NAME", help="cpu, cuda or cuda:N.  [default: the bundle's choice]"
)
@click.option(
    "--workers",
    type=Whole(min=1),
    help="Processes.  [default: one for each processor, or 1 on a GPU]",
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="A Dask scheduler whose workers train instead."
)
@click.option("--dry-run", is_flag=True, help="Show the runs and an estimate of the time.")
@click.option("--report-only", is_flag=True, help="Write tables and report of DIR again.")
@click.option("--force", is_flag=True, help="Delete an earlier study in DIR.")
@click.pass_context
def study_command(
    context: click.Context, /, output: Path, override: tuple[str, ...], **given: Any
) -> None:
    """Train one bundle with several losses under equal conditions, and compare what they learn.

    Every loss gets the same initial weights, batches, steps, folds and seeds, and is scored by the
    same metrics on the cases held out. A study that was stopped goes on when the same command is
    given again; losses and seeds may be added. BUNDLE is a folder with a MONAI bundle that you
    trust, because the Python in it is executed; by default the demo of a medloss checkout.

    Exit code: 0 when every run has ended, 1 when one failed, 2 for a wrong command, 4 when the
    machine failed or medloss itself did, 130 after Ctrl-C or SIGTERM.
    """
    with usage_errors():
        overrides, bundle = parse_overrides(override), given["bundle"]
        if bundle is not None and not given["report_only"]:
            from medloss.integrations.bundle.choice import bundle_to_train

            bundle_to_train(bundle, configs=given["bundle_config"], overrides=overrides)

    from medloss.work.engine import Interrupted
    from medloss.workbench.study.command import StudyOptions, run_study

    again = f"The same command goes on with {output}."
    with usage_errors(), stops(again):
        try:
            options = StudyOptions(output=output, overrides=overrides, **given)
            failed = run_study(options, say)
        except Interrupted as interrupt:
            kept = f"{interrupt.done} of {interrupt.of} runs are kept"
            raise InterruptedCommand(f"interrupted: {kept}. {again}") from interrupt
    context.exit(FAILED if failed else 0)
