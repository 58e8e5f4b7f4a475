"""``medloss nnunet-trainer``: a trainer of nnU-Net v2 with a loss of medloss, or its metrics."""

from __future__ import annotations

from pathlib import Path

import click

from medloss.cli.options import completed, usage_errors
from medloss.cli.terminal import say


@click.command("nnunet-trainer", short_help="Write an nnU-Net v2 trainer.")
@click.option(
    "--loss",
    "loss",
    metavar="CONFIG",
    shell_complete=completed("loss"),
    help="A JSON file (of the loss, or a bundle config that has one), JSON, or a name.  "
    "[default: nnU-Net's own loss]",
)
@click.option(
    "-m",
    "--metric",
    "metrics",
    multiple=True,
    shell_complete=completed("metric", several=True),
    metavar="NAME[:option=value,...]",
    help="A metric of 'medloss list' that nnU-Net's validation reports too, in summary.json and "
    "in its log; repeatable.",
)
@click.option(
    "--out",
    "folder",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the trainer, for nnUNet_extTrainer; made where it is missing.",
)
@click.option(
    "--name", help="Of the trainer.  [default: nnUNetTrainerMedloss and the loss, or Metrics]"
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def nnunet_trainer_command(
    loss: str | None, metrics: tuple[str, ...], folder: Path, name: str | None, force: bool
) -> None:
    """Write a trainer for nnU-Net v2 (tested with 2.8.1) that trains with a loss of medloss.

    The loss is built once here, so that a mistake in its config shows now. Regions, the ignore
    label, batch Dice and deep supervision come from the dataset and the plans. With --metric its
    validation at the end of the training reports more than Dice; epochs take as long as before.

    Exit code: 0 when the file is written, 2 for a config or name that cannot be used and for a file
    that exists.
    """
    from medloss.integrations.nnunet_file import read_config, write_trainer

    with usage_errors(TypeError, FileExistsError):
        config = None if loss is None else read_config(loss)
        path = write_trainer(config, folder, metrics=metrics, name=name, force=force)
    say(f"Wrote {path}. To train with it:\n")
    say(f'    export nnUNet_extTrainer="{folder.resolve()}"')
    say(f"    nnUNetv2_train DATASET CONFIGURATION FOLD -tr {path.stem}")
