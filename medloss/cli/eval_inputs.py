"""The options of ``medloss eval`` that say what goes in: cases, labels, files or a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medloss.cli.options import AXES, OVERRIDE, PATH, SPACING, grouped, refuse_given
from medloss.cli.terminal import say
from medloss.runtime.config_text import parse_overrides

if TYPE_CHECKING:
    from medloss.cli.eval_outputs import OutputOptions
    from medloss.evaluation.inputs.case_pair import CaseOptions
    from medloss.evaluation.inputs.labels import Classes
    from medloss.evaluation.inputs.layouts import Layout
    from medloss.evaluation.inputs.pairing import FoundCases, Pair
    from medloss.evaluation.reading.stored import Channels, Rule
    from medloss.integrations.bundle import BundleCases

_PREDICTIONS = "predictions"
_OF_FOLDERS = ("layout", "layout_prediction", "layout_reference", "one_reference")
_TOLD = ("layout", "left_out", "passed_over", "unscored", "beside", "only")


@dataclass(frozen=True)
class InputOptions:
    """What the options below were given."""

    manifest: Path | None
    layout: str | None
    layout_prediction: str | None
    layout_reference: str | None
    one_reference: bool
    only: tuple[str, ...]
    only_predicted: bool
    probabilities: bool
    labels: str | None
    ignore_label: int | None
    remap: str | None
    remap_prediction: str | None
    remap_reference: str | None
    threshold: float | None
    instances: bool
    label_divisor: int | None
    resample: bool
    channels: Channels | None
    spacing: str | None
    axes: str | None
    contours: Rule
    reader: str | None

    def cases(self, prediction: Path | None, reference: Path | None) -> FoundCases:
        """The cases, and what lies beside them.

        Raises:
            ValueError: the paths or the manifest are wrong.
        """
        from medloss.evaluation.inputs.manifest import read_manifest
        from medloss.evaluation.inputs.pairing import (
            FoundCases,
            files_of,
            find_cases,
            only_named,
            only_predicted,
        )
        from medloss.evaluation.reading.formats import overruled, with_own_readers

        if self.manifest is not None:
            if prediction is not None:
                raise ValueError("--manifest names the files; drop PRED and REF")
            refuse_given(self, (*_OF_FOLDERS, "probabilities"), "is for folders, not --manifest")
            found = FoundCases(read_manifest(self.manifest))
        elif prediction is None or reference is None:
            missing = "PRED" if prediction is None else "REF"
            raise ValueError(f"Missing argument {missing}: give PRED and REF, or --manifest FILE")
        else:
            found = find_cases(
                prediction,
                reference,
                probabilities=self.probabilities,
                sides=self._layouts(),
                one_reference=self.one_reference,
            )
        if self.reader is not None:
            with_own_readers().readers.find(self.reader)  # an unknown name is refused here
        sides = [side for pair in found.pairs for side in (pair.prediction, pair.reference)]
        paths = [path for side in sides for path in files_of(side)]
        for sentence in overruled(paths, self.reader):
            say(f"Warning: {sentence}.", err=True)
        if self.only:
            found = only_named(found, self.only, [x for x in (prediction, reference) if x])
        if self.only_predicted:
            pairs, left_out = only_predicted(found.pairs)
            found = dataclasses.replace(found, pairs=pairs, left_out=left_out)
        return found

    def _layouts(self) -> tuple[Layout, Layout]:
        from medloss.evaluation.inputs.layouts import FLAT, parse_layout

        if self.layout and self.layout_prediction and self.layout_reference:
            raise ValueError("--layout: each side has a layout of its own; drop one of the three")
        if self.one_reference and self.layout_reference:
            raise ValueError("--one-reference: REF is a file; drop --layout-reference")
        both = self.layout or FLAT
        return (
            parse_layout(self.layout_prediction or both),
            parse_layout(self.layout_reference or both),
        )

    def classes(self, pairs: Sequence[Pair] = ()) -> Classes | None:
        """Labels and regions, ``None`` for every label found.

        Args:
            pairs: cases; where a side has a file for each structure, these have names.

        Raises:
            ValueError: the text or the file is wrong, or a structure has no file in any case.
        """
        from medloss.evaluation.inputs.labels import parse_labels
        from medloss.evaluation.inputs.structures import check_structures, structure_names

        names = structure_names(pairs)
        classes = None
        if self.labels is not None:
            classes = parse_labels(self.labels, by_name=bool(names))
        if names:
            refuse_given(self, ("ignore_label",), "needs maps of labels, not a file a structure")
            if classes is not None and classes.ignore is not None:
                raise ValueError(
                    f"{self.labels} ignores label {classes.ignore}, which needs maps of labels, "
                    f"not a file a structure"
                )
        if classes is not None and not _is_file(self.labels):
            check_structures(classes, pairs)
        if self.label_divisor is not None and not self.instances:
            raise ValueError("--label-divisor says the classes of objects; it needs --instances")
        if self.label_divisor is not None and names:
            raise ValueError("--label-divisor: with a file a structure that is the class")
        one = classes is None or (not classes.regions and [*classes.names] == [1])
        if self.instances and not names and not one and self.label_divisor is None:
            raise ValueError(
                "--instances: the class of all objects is label 1, as in 1=tooth; --label-divisor "
                "says how values tell several classes"
            )
        return classes

    def inputs(self, classes: Classes | None, found: FoundCases | None = None) -> CaseOptions:
        """What is done to every case's files.

        Args:
            classes: what is scored.
            found: what lies beside the cases, for the record.

        Raises:
            ValueError: the options contradict one another or the labels.
        """
        from medloss.evaluation.inputs.case_pair import CaseOptions
        from medloss.evaluation.inputs.labels import parse_changes
        from medloss.evaluation.inputs.structures import structures_without_class
        from medloss.evaluation.reading.settled import parse_told

        told = parse_told(self.spacing, self.axes)
        both = parse_changes(self.remap) if self.remap else {}
        changes: dict[str, dict[int, int]] = {}
        for side, text in (
            ("prediction", self.remap_prediction),
            ("reference", self.remap_reference),
        ):
            own = parse_changes(text) if text else {}
            for label in both.keys() & own.keys():
                raise ValueError(f"label {label} is changed by --remap and by --remap-{side}")
            changes[side] = {**both, **own}
        ignore = classes.ignore if classes and self.ignore_label is None else self.ignore_label
        if classes and ignore is not None:
            members = {label for labels in classes.regions.values() for label in labels}
            if ignore in classes.names or ignore in members:
                raise ValueError(f"label {ignore} is to be ignored and cannot be scored as well")
        independent = self.channels is None and classes is not None and classes.independent
        rest = {} if found is None else {name: getattr(found, name) for name in _TOLD}
        if found is not None and classes is not None:
            left = structures_without_class(classes, found.pairs)
            rest["beside"] += (f"structures {', '.join(left)}",) if left else ()
        return CaseOptions(
            remap_prediction=changes["prediction"],
            remap_reference=changes["reference"],
            ignore_label=ignore,
            resample=self.resample,
            names={} if classes is None else classes.table,
            regions={} if classes is None else classes.regions,
            contours=self.contours,
            reader=self.reader,
            channels="independent" if independent else self.channels,
            region_order=() if classes is None else classes.region_order,
            channels_only=classes is not None and classes.channels_only,
            spacing_mm=told.spacing_mm,
            axes=told.axes,
            threshold=self.threshold,
            instances=self.instances,
            label_divisor=self.label_divisor,
            **rest,
        )


def _is_file(labels: str | None) -> bool:
    return labels is not None and labels.strip().lower().endswith(".json")


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
        inputs: InputOptions,
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

        from medloss.integrations.bundle import BundleCases, bundle_pairs, read_bundle  # MONAI

        bundle = read_bundle(
            self.bundle,
            configs=self.bundle_config,
            checkpoint=self.checkpoint,
            overrides=overrides,
        )
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
        type=click.IntRange(min=0),
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
        "--threshold",
        metavar="P",
        type=click.FloatRange(0, 1, min_open=True),
        help="A class of its own is where its probability is at least this; fractions without an "
        "axis of classes are read as such a probability.  [default: 0.5, and such fractions fail]",
    ),
    click.option(
        "--instances",
        is_flag=True,
        help="Each value of a map is an object of one class, label 1: lesion and panoptic metrics "
        "take them as they are, however they touch; other metrics see all of them together.",
    ),
    click.option(
        "--label-divisor",
        metavar="N",
        type=click.IntRange(min=2),
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
        default="inclusive",
        show_default=True,
        help="Whether contours of an RTSTRUCT hold the voxels whose centres lie on their lines.",
    ),
    click.option(
        "--reader",
        metavar="NAME",
        help="A reader of 'medloss list --kind reader' that reads every file it claims, such as a "
        "plugin's of a format that medloss reads itself.",
    ),
)

FILE_OPTIONS = ("manifest", *_OF_FOLDERS, "only", "only_predicted", "probabilities")
VALUE_OPTIONS = tuple(
    field.name for field in dataclasses.fields(InputOptions) if field.name not in FILE_OPTIONS
)
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

input_options = grouped("inputs", InputOptions, (*_FILES, *_VALUES))
bundle_options = grouped("bundle", BundleOptions, _BUNDLE)
"""Give a command the options above, as the arguments ``inputs`` and ``bundle``."""
