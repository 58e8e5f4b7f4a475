"""``medloss eval``: predictions against references."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from medloss.evaluation.losses import LossChoice
    from medloss.evaluation.study import CaseResult, Study
    from medloss.scoring.status import BothEmpty, Missed

_FEW_CASES = 10


@click.command("eval", short_help="Score predictions against references.")
@click.argument("prediction", metavar="PRED", type=click.Path(path_type=Path))
@click.argument("reference", metavar="REF", type=click.Path(path_type=Path))
@click.option(
    "--labels",
    metavar="LABELS",
    help="1,2 or 1=anterior,2=posterior or a JSON file such as a dataset.json.  "
    "[default: every label found in any file]",
)
@click.option(
    "-m",
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME[:option=value,...]",
    help="A metric of 'medloss list'; repeatable.  [default: dice, sensitivity, specificity, "
    "hausdorff95, average_symmetric_surface_distance, normalized_surface_dice]",
)
@click.option(
    "--loss",
    "losses",
    multiple=True,
    metavar="NAME[:option=value,...]",
    help="A loss of 'medloss list', computed on each whole case; repeatable.",
)
@click.option(
    "--missed",
    type=click.Choice(["diagonal", "inf", "exclude"]),
    help="What a distance counts when only one side has the label.  "
    "[default: the preset's: diagonal; 374 mm with brats2023]",
)
@click.option(
    "--both-empty",
    type=click.Choice(["exclude", "perfect"]),
    help="What a metric counts when neither side has the label.  "
    "[default: the preset's: exclude; perfect with brats2023]",
)
@click.option(
    "--preset",
    type=click.Choice(["deepmind", "exact", "monai", "medpy", "metricsreloaded", "brats2023"]),
    default="deepmind",
    show_default=True,
    help="Whose definition of surfaces and percentiles.",
)
@click.option(
    "--csv", "csv_path", metavar="FILE", type=click.Path(path_type=Path), help="Every value."
)
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Settings, every value and the summary.",
)
@click.option("--force", is_flag=True, help="Overwrite the files of --csv and --json.")
@click.option("--per-case", is_flag=True, help="Show every case, however many there are.")
@click.pass_context
def eval_command(
    context: click.Context,
    prediction: Path,
    reference: Path,
    labels: str | None,
    metrics: tuple[str, ...],
    losses: tuple[str, ...],
    missed: Missed | None,
    both_empty: BothEmpty | None,
    preset: str,
    csv_path: Path | None,
    json_path: Path | None,
    force: bool,
    per_case: bool,
) -> None:
    """Score predictions against references, in millimetres.

    PRED and REF are two images or two folders, whose images (.nii, .nii.gz, .nrrd, .mha, .mhd) are
    paired by name. Images hold labels, or probabilities with the classes as their last axis.

    Exit code: 0 when every case was scored, 1 when a case failed, 2 for a wrong command.
    """
    # Imported here: the help needs no numpy.
    from rich.console import Console

    from medloss.evaluation import pairing, terminal, writers
    from medloss.evaluation.study import complete, evaluate
    from medloss.evaluation.tables import summarise

    outputs = [path for path in (csv_path, json_path) if path]
    with _usage_errors():
        if len(outputs) != len({path.resolve() for path in outputs}):
            raise ValueError(f"--csv and --json name the same file, {csv_path}")
        for path in outputs:
            writers.check_output(path, force=force)
        pairs = pairing.pair_paths(prediction, reference)
        study = _study(labels, metrics, losses, missed, both_empty, preset)

    with _progress(len(pairs)) as advance:
        found = [advance(case) for case in evaluate(pairs, study)]
    cases = complete(found, study)
    summaries = summarise(cases, study)
    if csv_path:
        writers.write_csv(csv_path, cases, study)
    if json_path:
        writers.write_json(json_path, cases, summaries, study)

    console = Console(highlight=False)
    if per_case or len(cases) <= _FEW_CASES:
        terminal.print_cases(console, cases, study)
    if len(cases) > 1:
        terminal.print_summary(console, summaries, study)
    terminal.print_notes(console, cases, study)
    terminal.print_failed(console, cases)
    if outputs:
        click.echo(f"Wrote {' and '.join(map(str, outputs))}.")
    if context.find_root().params.get("debug"):
        for case in cases:
            click.echo(case.trace, err=True, nl=False)
    if any(case.error for case in cases):
        context.exit(1)


def _study(
    labels: str | None,
    metrics: tuple[str, ...],
    losses: tuple[str, ...],
    missed: Missed | None,
    both_empty: BothEmpty | None,
    preset: str,
) -> Study:
    from medloss.evaluation.choices import DEFAULT_METRICS, choose_metric
    from medloss.evaluation.labels import parse_labels
    from medloss.evaluation.requests import parse_request
    from medloss.evaluation.study import Study, check_options
    from medloss.scoring import EmptyPolicy

    chosen_losses: tuple[LossChoice, ...] = ()
    if losses:
        from medloss.evaluation.losses import choose_loss  # torch

        chosen_losses = tuple(choose_loss(parse_request(text)) for text in losses)
    study = Study(
        metrics=tuple(choose_metric(parse_request(text)) for text in metrics or DEFAULT_METRICS),
        losses=chosen_losses,
        labels=None if labels is None else parse_labels(labels),
        policy=EmptyPolicy.of(preset, missed, both_empty),
        preset=preset,
    )
    columns = [metric.column for metric in study.metrics] + [loss.column for loss in study.losses]
    for column in columns:
        if columns.count(column) > 1:
            raise ValueError(f"{column} is asked for twice")
    check_options(study)
    return study


@contextlib.contextmanager
def _usage_errors() -> Iterator[None]:
    """Turn what is wrong with the command into its error text and exit code 2."""
    from medloss.host import PluginError

    try:
        yield
    except (PluginError, ValueError) as error:
        raise click.UsageError(str(error)) from error


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[CaseResult], CaseResult]]:
    """A bar on a terminal, and nothing in a log file."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        "cases", *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=total)

        def advance(case: CaseResult) -> CaseResult:
            progress.advance(task)
            return case

        yield advance
