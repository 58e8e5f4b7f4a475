"""The options of ``medloss eval`` that say what goes in: cases, labels, files or a bundle."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medloss.cli.options import (
    AXES,
    OVERRIDE,
    PATH,
    SPACING,
    Number,
    Whole,
    completed,
    grouped,
)
from medloss.evaluation.planning import Definition
from medloss.evaluation.settings import OF_FOLDERS, InputSettings, refuse_given
from medloss.runtime.config_text import parse_overrides

if TYPE_CHECKING:
    from medloss.cli.eval_outputs import OutputOptions
    from medloss.integrations.bundle.evaluate import BundleCases

_PREDICTIONS = "predictions"


@dataclass(frozen=True)
class BundleOptions:
    """What the options below were given."""

    bundle: Path | None
    bundle_config: tuple[str, ...]
    checkpoint: Path | None
    override: tuple[str, ...]

    def open(
        self,
        reference: Path | None,
        other: Path | None,
        inputs: InputSettings,
        outputs: OutputOptions,
    ) -> BundleCases | None:
        """The bundle's cases, or None where no bundle is asked for.

        Args:
            reference: first argument of the command: a folder of references, or None.
            other: second argument, of which there is none.
            inputs: options for files, some of which mean nothing here.
            outputs: options for what comes out; predictions are written into a folder inside its
                folder.

        Raises:
            ValueError: the bundle or the command cannot be used.
        """
        if self.bundle is None:
            refuse_given(self, ("bundle_config", "checkpoint", "override"), "belongs to --bundle")
            return None
        if other is not None:
            raise ValueError("--bundle predicts: give REF alone, or nothing")
        refuse_given(inputs, FILE_OPTIONS, "names predictions; --bundle makes them")
        of_files = ("threshold", "instances", "label_divisor")
        refuse_given(inputs, of_files, "is for files; --bundle makes label maps")
        if (outputs.workers or 1) > 1 or outputs.scheduler is not None:
            raise ValueError("--bundle predicts in this process; drop --workers and --scheduler")
        overrides = parse_overrides(self.override)

        from medloss.integrations.bundle.choice import bundle_to_predict

        roles = bundle_to_predict(
            self.bundle,
            configs=self.bundle_config,
            checkpoint=self.checkpoint,
            overrides=overrides,
        )

        from medloss.integrations.bundle.evaluate import BundleCases, bundle_pairs  # MONAI
        from medloss.integrations.bundle.settings import open_bundle

        bundle = open_bundle(roles, self.checkpoint)
        if (decoding := inputs.decoding()) is not None:
            bundle = dataclasses.replace(bundle, decision=bundle.decision.by(decoding))
        predictions = None if outputs.folder is None else outputs.folder / _PREDICTIONS
        source = (
            *bundle.source,
            *((f"override {name}", str(value)) for name, value in overrides.items()),
        )
        return BundleCases(bundle, bundle_pairs(bundle, reference, predictions), source)


_FILES = (
    click.option(
        "--manifest",
        metavar="FILE",
        type=PATH,
        help="CSV or JSON with case, prediction and reference, instead of PRED and REF; "
        "prediction[liver] is the file of one structure, other columns are kept.",
    ),
    click.option(
        "--layout",
        metavar="NAME|PATTERN",
        help="How the two folders are laid out: flat, brats, kits, autopet, slicer, nnunet, bids, "
        "totalsegmentator, nested; or a path such as '{case}/segmentations/{label}.nii.gz' or "
        "'{case}_pred'.  [default: flat]",
    ),
    click.option("--layout-prediction", metavar="NAME|PATTERN", help="Only of PRED."),
    click.option("--layout-reference", metavar="NAME|PATTERN", help="Only of REF."),
    click.option(
        "--one-reference",
        is_flag=True,
        help="REF is one file, the reference of every case of the folder PRED.",
    ),
    click.option(
        "--only",
        metavar="PATTERN",
        multiple=True,
        help="Only cases whose name fits, such as 'case_0*'; repeatable. Other images that belong "
        "to no case then change no exit code.",
    ),
    click.option(
        "--only-predicted",
        is_flag=True,
        help="Leave out references without a prediction, and say which.  "
        "[default: they are failed cases]",
    ),
    click.option(
        "--probabilities",
        is_flag=True,
        help="In folders, take nnU-Net's .npz of a case rather than the label map beside it.",
    ),
)

_VALUES = (
    click.option(
        "--labels",
        metavar="LABELS",
        help="1,2 or 1=core,2=oedema,whole=1+2 or 0=background or a JSON file: names and labels, a "
        "dataset.json, a bundle's metadata.json. Files that name their labels are read by these "
        "names; more names of one follow it: 1=liver,hepar or, without a number, "
        "liver=Liver,hepar. Where structures are files: liver,spleen.  [default: every label found "
        "in any file, without 0, by name where both files have names]",
    ),
    click.option(
        "--ignore-label",
        metavar="LABEL",
        type=Whole(min=0),
        help="Voxels that have this label in the reference do not count.",
    ),
    click.option(
        "--remap",
        metavar="OLD=NEW,...",
        help="Change labels in all files, at once; OLD may be negative, as in -1=255.",
    ),
    click.option("--remap-prediction", metavar="OLD=NEW,...", help="Only in predictions."),
    click.option("--remap-reference", metavar="OLD=NEW,...", help="Only in references."),
    click.option(
        "--instances",
        is_flag=True,
        help="Each value of a map is an object of one class, label 1: metrics of lesions, instances"
        " and components take them as they are, however they touch; others see them all together.",
    ),
    click.option(
        "--label-divisor",
        metavar="N",
        type=Whole(min=2),
        help="With --instances: a value is its class times N plus a number, such as 3012 for "
        "object 12 of class 3 with N 1000.",
    ),
    click.option(
        "--resample",
        is_flag=True,
        help="Bring a prediction on another grid to the reference's, to the nearest voxel, and say "
        "so.  [default: such a case fails]",
    ),
    click.option(
        "--channels",
        type=click.Choice(["exclusive", "independent"]),
        help="What a fourth axis holds: classes that exclude one another, the background first, or "
        "a class of its own in each channel, which may overlap.  [default: exclusive, and a file "
        "whose channels do not sum to 1 fails]",
    ),
    SPACING,
    AXES,
    click.option(
        "--contours",
        type=click.Choice(["inclusive", "strict"]),
        help="Whether contours of an RTSTRUCT hold the voxels whose centres lie on their lines.  "
        "[default: inclusive]",
    ),
    click.option(
        "--reader",
        shell_complete=completed("reader"),
        metavar="NAME",
        help="A reader of 'medloss list --kind reader' that reads every file it claims, such as a "
        "plugin's of a format that medloss reads itself.",
    ),
)

_DECISION = (
    click.option(
        "--threshold",
        metavar="P",
        type=Number(0, 1, min_open=True),
        help="A class of its own is where its probability is at least this; fractions without an "
        "axis of classes are read as such a probability.  [default: 0.5, and such fractions fail]",
    ),
    click.option(
        "--decode",
        metavar="argmax|dice|FILE",
        help="How labels are made of predicted probabilities: the likeliest class; the largest "
        "expected Dice (dice:least_chance=0.5 leaves out a class that is nowhere as probable); or "
        "a threshold for each channel, from a file of 'medloss thresholds'. Predictions that are "
        "labels fail.  [default: argmax, and 0.5 for classes of their own]",
    ),
)

_DEFINITION = (
    click.option(
        "--profile",
        shell_complete=completed("profile"),
        metavar="NAME|FILE",
        help="A definition of 'medloss list --kind profile', such as nnunet or brats2026:mets, or "
        "a TOML or JSON file: labels, metrics and all below; what it says is not overruled.",
    ),
    click.option(
        "-m",
        "--metric",
        "metrics",
        multiple=True,
        shell_complete=completed("metric", several=True),
        metavar="NAME[:option=value,...]",
        help="Metrics of 'medloss list', by name or alias (nsd, hd95 ...), several between commas; "
        "repeatable. Results have the full names.  [default: dice, sensitivity, specificity, "
        "hausdorff95, average_symmetric_surface_distance, normalized_surface_dice]",
    ),
    click.option(
        "--loss",
        "losses",
        multiple=True,
        shell_complete=completed("loss", several=True),
        metavar="NAME[:option=value,...]",
        help="Losses of 'medloss list', likewise, computed on each whole case; repeatable.",
    ),
    click.option(
        "--missed",
        type=click.Choice(["diagonal", "inf", "exclude"]),
        help="What a distance counts when only one side has the label.  "
        "[default: the preset's: diagonal; 374 mm with brats2023, 373 with brats2026, 90 with "
        "topcow]",
    ),
    click.option(
        "--both-empty",
        type=click.Choice(["exclude", "perfect"]),
        help="What a metric counts when neither side has the label.  "
        "[default: the preset's: exclude; perfect with brats2023]",
    ),
    click.option(
        "--preset",
        type=click.Choice(
            [
                *("deepmind", "exact", "monai", "medpy", "metricsreloaded"),
                *("brats2023", "brats2026", "brats2026_official", "topcow"),
            ]
        ),
        help="Whose definition of surfaces and percentiles.  [default: deepmind]",
    ),
)

FILE_OPTIONS = ("manifest", *OF_FOLDERS, "only", "only_predicted", "probabilities")
VALUE_OPTIONS = tuple(
    field.name for field in dataclasses.fields(InputSettings) if field.name not in FILE_OPTIONS
)
DEFINITION_OPTIONS = tuple(field.name for field in dataclasses.fields(Definition))
BUNDLE_OPTIONS = tuple(field.name for field in dataclasses.fields(BundleOptions))
"""What the options are about, in the order of the help."""

_BUNDLE = (
    click.option(
        "--bundle",
        metavar="DIR",
        type=PATH,
        help="A MONAI bundle predicts, by sliding windows, what is scored; REF is then a folder of "
        "references.  [default: those of the bundle's list of cases]  The Python in a bundle is "
        "executed: only for bundles that you trust.",
    ),
    click.option(
        "--bundle-config",
        metavar="NAME",
        multiple=True,
        help="File in the bundle's configs; repeatable, later ones win.  [default: inference, "
        "else train and evaluate]",
    ),
    click.option(
        "--checkpoint",
        metavar="FILE",
        type=PATH,
        help="Weights of the bundle's network.  [default: what its configuration loads]",
    ),
    OVERRIDE,
)

undecided_options = grouped("inputs", InputSettings, (*_FILES, *_VALUES))
input_options = grouped("inputs", InputSettings, (*_FILES, *_VALUES, *_DECISION))
definition_options = grouped("definition", Definition, _DEFINITION)
bundle_options = grouped("bundle", BundleOptions, _BUNDLE)
"""Give a command the options above, as the arguments of these names; ``undecided_options`` without
those that say where a class is."""
