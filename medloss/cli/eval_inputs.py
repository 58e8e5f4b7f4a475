"""The options of ``medloss eval`` that say what goes in: cases, labels, what is done to files."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from medloss.evaluation.inputs.case_pair import CaseOptions
    from medloss.evaluation.inputs.labels import Classes
    from medloss.evaluation.inputs.pairing import Pair
    from medloss.evaluation.reading.images import Channels

_Command = TypeVar("_Command", bound=Callable[..., Any])


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

    def pairs(
        self, prediction: Path | None, reference: Path | None
    ) -> tuple[tuple[Pair, ...], tuple[str, ...], tuple[str, ...]]:
        """The cases, the names of references that are left out, and paths that are passed over.

        Raises:
            ValueError: the paths or the manifest are wrong.
        """
        from medloss.evaluation.inputs.manifest import read_manifest
        from medloss.evaluation.inputs.pairing import only_predicted, pair_paths, passed_over

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
            channels="independent" if independent else self.channels,
            region_order=() if classes is None else classes.region_order,
            channels_only=classes is not None and classes.channels_only,
            left_out=left_out,
            passed_over=passed_over,
        )


_OPTIONS = (
    click.option(
        "--manifest",
        metavar="FILE",
        type=click.Path(path_type=Path),
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
        "a bundle's metadata.json.  [default: every label found in any file]",
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
)


def input_options(command: _Command) -> _Command:
    """Give a command the options above, as one argument ``inputs``."""
    names = tuple(InputOptions.__dataclass_fields__)

    @functools.wraps(command)
    def with_inputs(*args: Any, **options: Any) -> Any:
        inputs = InputOptions(**{name: options.pop(name) for name in names})
        return command(*args, inputs=inputs, **options)

    for option in reversed(_OPTIONS):
        with_inputs = option(with_inputs)
    return with_inputs  # type: ignore[return-value]
