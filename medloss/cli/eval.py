"""``medloss eval``: predictions against references."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medloss.cli.eval_bundle import BundleOptions, bundle_options
from medloss.cli.eval_inputs import InputOptions, input_options
from medloss.cli.eval_outputs import OutputOptions, command_text, output_options

if TYPE_CHECKING:
    from medloss.evaluation.losses import LossChoice
    from medloss.evaluation.score import Study
    from medloss.scoring.presets import BothEmpty, Missed


@click.command("eval", short_help="Score predictions against references.")
@click.argument("prediction", metavar="PRED", type=click.Path(path_type=Path), required=False)
@click.argument("reference", metavar="REF", type=click.Path(path_type=Path), required=False)
@input_options
@bundle_options
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
@output_options
@click.pass_context
def eval_command(
    context: click.Context,
    prediction: Path | None,
    reference: Path | None,
    metrics: tuple[str, ...],
    losses: tuple[str, ...],
    missed: Missed | None,
    both_empty: BothEmpty | None,
    preset: str,
    inputs: InputOptions,
    bundle: BundleOptions,
    outputs: OutputOptions,
) -> None:
    """Score predictions against references, in millimetres.

    PRED and REF are two images or two folders, whose images (.nii, .nii.gz, .nrrd, .nhdr, .mha,
    .mhd, of PRED also nnU-Net's .npz) are paired by name; or --manifest says which belong together.
    Images hold labels, or probabilities or masks with the classes as their last axis. With --bundle
    a MONAI bundle predicts, and PRED is left out.

    Exit code: 0 when every case was scored, 1 when a case failed, 2 for a wrong command, 3 when a
    mean is worse than --fail-under or --fail-over, 130 after Ctrl-C.
    """
    with _usage_errors():
        outputs.check()
        predicted = bundle.open(prediction, reference, inputs, outputs)
        pairs, *unscored = (
            (predicted.pairs, (), ()) if predicted else inputs.pairs(prediction, reference)
        )
        study = _study(inputs, unscored, metrics, losses, missed, both_empty, preset)
        study = outputs.extend(study, missed, both_empty)
        study = predicted.extend(study) if predicted else study
        thresholds = outputs.thresholds(study)
        outputs.prepare()
    from medloss.cli.eval_run import run

    command, debug = command_text(context), bool(context.find_root().params.get("debug"))
    context.exit(run(pairs, study, outputs, thresholds, command, debug=debug, bundle=predicted))


def _study(
    inputs: InputOptions,
    unscored: list[tuple[str, ...]],
    metrics: tuple[str, ...],
    losses: tuple[str, ...],
    missed: Missed | None,
    both_empty: BothEmpty | None,
    preset: str,
) -> Study:
    from medloss.evaluation.choices import DEFAULT_METRICS, choose_metric
    from medloss.evaluation.requests import parse_request
    from medloss.evaluation.score import Study, check_options
    from medloss.scoring import EmptyPolicy

    chosen_losses: tuple[LossChoice, ...] = ()
    if losses:
        from medloss.evaluation.losses import choose_loss  # torch

        chosen_losses = tuple(choose_loss(parse_request(text)) for text in losses)
    classes = inputs.classes()
    study = Study(
        metrics=tuple(choose_metric(parse_request(text)) for text in metrics or DEFAULT_METRICS),
        losses=chosen_losses,
        labels=None if classes is None else classes.names,
        regions={} if classes is None else classes.regions,
        inputs=inputs.inputs(classes, *unscored),
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
    from medloss.offers.host import PluginError

    try:
        yield
    except (PluginError, ValueError) as error:
        raise click.UsageError(str(error)) from error
