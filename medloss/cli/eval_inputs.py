"""The options of ``medloss eval`` that say what goes in: cases, labels, files or a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medloss.cli.options import OVERRIDE, PATH, grouped, refuse_given
from medloss.runtime.config_text import parse_overrides

if TYPE_CHECKING:
    from medloss.cli.eval_outputs import OutputOptions
    from medloss.evaluation.inputs.case_pair import CaseOptions
    from medloss.evaluation.inputs.labels import Classes
    from medloss.evaluation.inputs.pairing import Pair
    from medloss.evaluation.reading.stored import Channels, Rule
    from medloss.integrations.bundle import BundleCases

_PREDICTIONS = "predictions"


@dataclass(frozen=True)
class InputOptions:
    """What the options below were given."""

    manifest: Path | None
    only_predicted: bool
    probabilities: bool
    labels: str | None
    ignore_label: int | None
    remap: str | None
    remap_prediction: str | None
    remap_reference: str | None
    resample: bool
    channels: Channels | None
    contours: Rule
    reader: str | None

    def pairs(
        self, prediction: Path | None, reference: Path | None
    ) -> tuple[tuple[Pair, ...], tuple[str, ...], tuple[str, ...]]:
        """The cases, the names of references that are left out, and paths that are passed over.

        Raises:
            ValueError: the paths or the manifest are wrong.
        """
        from medloss.evaluation.inputs.manifest import read_manifest
        from medloss.evaluation.inputs.pairing import only_predicted, pair_paths, passed_over
        from medloss.evaluation.reading.formats import overruled, with_own_readers

        others: tuple[str, ...] = ()
        if self.manifest is not None:
            if prediction is not None:
                raise ValueError("--manifest names the files; drop PRED and REF")
            if self.probabilities:
                raise ValueError("--manifest names the files; drop --probabilities")
            pairs = read_manifest(self.manifest)
        elif prediction is None or reference is None:
            missing = "PRED" if prediction is None else "REF"
            raise ValueError(f"Missing argument {missing}: give PRED and REF, or --manifest FILE")
        else:
            pairs = pair_paths(prediction, reference, probabilities=self.probabilities)
            others = passed_over(prediction, reference, pairs)
        if self.reader is not None:
            with_own_readers().readers.find(self.reader)  # an unknown name is refused here
        paths = [path for pair in pairs for path in (pair.prediction, pair.reference) if path]
        for sentence in overruled(paths, self.reader):
            click.echo(f"Warning: {sentence}.", err=True)
        kept, left_out = only_predicted(pairs) if self.only_predicted else (pairs, ())
        return kept, left_out, others

    def classes(self) -> Classes | None:
        """Labels and regions, ``None`` for every label found.

        Raises:
            ValueError: the text or the file is wrong.
        """
        from medloss.evaluation.inputs.labels import parse_labels

        return None if self.labels is None else parse_labels(self.labels)

    def inputs(
        self,
        classes: Classes | None,
        left_out: tuple[str, ...] = (),
        passed_over: tuple[str, ...] = (),
    ) -> CaseOptions:
        """What is done to every case's files.

        Raises:
            ValueError: the options contradict one another or the labels.
        """
        from medloss.evaluation.inputs.case_pair import CaseOptions
        from medloss.evaluation.inputs.labels import parse_changes

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
            left_out=left_out,
            passed_over=passed_over,
        )


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
        of_files = ("manifest", "only_predicted", "probabilities")
        refuse_given(inputs, of_files, "names predictions; --bundle makes them")
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


_INPUTS = (
    click.option(
        "--manifest",
        metavar="FILE",
        type=PATH,
        help="CSV or JSON with case, prediction and reference, instead of PRED and REF.",
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
    click.option(
        "--labels",
        metavar="LABELS",
        help="1,2 or 1=core,2=oedema,whole=1+2 or a JSON file: names and labels, a dataset.json, "
        "a bundle's metadata.json. Files that name their labels are read by these names; more "
        "names of one follow it: 1=liver,hepar or, without a number, liver=Liver,hepar.  "
        "[default: every label found in any file, by name where both files have names]",
    ),
    click.option(
        "--ignore-label",
        metavar="LABEL",
        type=click.IntRange(min=0),
        help="Voxels that have this label in the reference do not count.",
    ),
    click.option("--remap", metavar="OLD=NEW,...", help="Change labels in all files, at once."),
    click.option("--remap-prediction", metavar="OLD=NEW,...", help="Only in predictions."),
    click.option("--remap-reference", metavar="OLD=NEW,...", help="Only in references."),
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

input_options = grouped("inputs", InputOptions, _INPUTS)
bundle_options = grouped("bundle", BundleOptions, _BUNDLE)
"""Give a command the options above, as the arguments ``inputs`` and ``bundle``."""
