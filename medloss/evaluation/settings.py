"""What a user says of files and their values, however it is said: by a command, a file, Python.

Options are called as the command has them, in the sentences of errors too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medloss.decision import Decoding
    from medloss.evaluation.inputs.case_pair import CaseOptions
    from medloss.evaluation.inputs.labels import Classes
    from medloss.evaluation.inputs.layouts import Layout
    from medloss.evaluation.inputs.pairing import FoundCases
    from medloss.evaluation.reading.stored import Channels, Rule

OF_FOLDERS = ("layout", "layout_prediction", "layout_reference", "one_reference")
_TOLD = ("layout", "left_out", "passed_over", "unscored", "beside", "only")


@dataclass(frozen=True, kw_only=True)
class InputSettings:
    """Which files belong together and what their values mean; nothing said where a default stands.

    The command has an option for each, and its help says what it is.
    """

    manifest: Path | None = None
    layout: str | None = None
    layout_prediction: str | None = None
    layout_reference: str | None = None
    one_reference: bool = False
    only: tuple[str, ...] = ()
    only_predicted: bool = False
    probabilities: bool = False
    labels: str | Mapping[str, Any] | None = None
    ignore_label: int | None = None
    remap: str | None = None
    remap_prediction: str | None = None
    remap_reference: str | None = None
    threshold: float | None = None
    decode: str | Mapping[str, Any] | None = None
    instances: bool = False
    label_divisor: int | None = None
    resample: bool = False
    channels: Channels | None = None
    spacing: str | None = None
    axes: str | None = None
    contours: Rule | None = None
    reader: str | None = None

    def cases(self, prediction: Path | None, reference: Path | None) -> FoundCases:
        """The cases, and what lies beside them.

        Raises:
            ValueError: the paths or the manifest are wrong.
        """
        from medloss.evaluation.inputs.manifest import read_manifest
        from medloss.evaluation.inputs.nnunet_results import find_results
        from medloss.evaluation.inputs.pairing import (
            FoundCases,
            find_cases,
            only_named,
            only_predicted,
        )
        from medloss.evaluation.reading.formats import with_own_readers

        if self.manifest is not None:
            if prediction is not None:
                raise ValueError("--manifest names the files; drop PRED and REF")
            refuse_given(self, (*OF_FOLDERS, "probabilities"), "is for folders, not --manifest")
            found = FoundCases(read_manifest(self.manifest))
        elif prediction and reference is None and (training := find_results(prediction)):
            refuse_given(self, OF_FOLDERS, "is for two folders; nnU-Net says where both are")
            found = training.cases(probabilities=self.probabilities)
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
        if self.only:
            found = only_named(found, self.only, [x for x in (prediction, reference) if x])
        if self.only_predicted:
            pairs, left_out = only_predicted(found.pairs)
            found = dataclasses.replace(found, pairs=pairs, left_out=left_out)
        return found

    def overruled(self, found: FoundCases) -> Iterator[str]:
        """A sentence for each reader of a plugin that does not get the files that it claims."""
        from medloss.evaluation.inputs.pairing import files_of
        from medloss.evaluation.reading.formats import overruled

        sides = (side for pair in found.pairs for side in (pair.prediction, pair.reference))
        yield from overruled((path for side in sides for path in files_of(side)), self.reader)

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

    def classes(self, found: FoundCases | None = None) -> Classes | None:
        """Labels and regions, ``None`` for every label found.

        Args:
            found: cases; where a side has a file for each structure, these have names.

        Raises:
            ValueError: the text or the file is wrong, or a structure has no file in any case.
        """
        from medloss.evaluation.inputs.labels import labels_of
        from medloss.evaluation.inputs.structures import check_structures, structure_names

        pairs = () if found is None else found.pairs
        names = structure_names(pairs)
        classes, labels = None, self.labels
        if labels is None and found is not None and found.labels is not None:
            labels = str(found.labels)
        if labels is not None:
            classes = labels_of(labels, by_name=bool(names))
        if names:
            refuse_given(self, ("ignore_label",), "needs maps of labels, not a file a structure")
            if classes is not None and classes.ignore is not None:
                raise ValueError(
                    f"{labels} ignores label {classes.ignore}, which needs maps of labels, "
                    f"not a file a structure"
                )
        if classes is not None and not _is_file(labels):
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

    def options(self, classes: Classes | None, found: FoundCases | None = None) -> CaseOptions:
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
        assumed = not told.spacing_mm and found is not None and bool(found.spacing_mm)
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
            contours=self.contours or "inclusive",
            reader=self.reader,
            channels="independent" if independent else self.channels,
            region_order=() if classes is None else classes.region_order,
            channels_only=classes is not None and classes.channels_only,
            spacing_mm=found.spacing_mm if found and assumed else told.spacing_mm,
            spacing_from="plans.json" if assumed else "",
            axes=told.axes,
            threshold=self.threshold,
            decode=self.decoding(),
            instances=self.instances,
            label_divisor=self.label_divisor,
            **rest,
        )

    def decoding(self) -> Decoding | None:
        """How labels are decided from probabilities, where somebody says so.

        Raises:
            ValueError: it cannot be read, or contradicts something else.
        """
        if self.decode is None:
            return None
        from medloss.evaluation.decoding import parse_decoding

        refuse_given(self, ("instances",), "takes labels as they are, and --decode makes them")
        if self.threshold is not None:
            raise ValueError("--threshold and --decode both say where a class is; drop one of them")
        return parse_decoding(self.decode)


def _is_file(labels: str | Mapping[str, Any] | None) -> bool:
    return isinstance(labels, str) and labels.strip().lower().endswith(".json")


def refuse_given(group: object, names: Sequence[str], why: str) -> None:
    """Refuse options that would be ignored.

    Args:
        group: of options, by their names.
        names: fields of those that must not be given.
        why: what is said after the option.

    Raises:
        ValueError: one is given.
    """
    for name in names:
        if getattr(group, name):
            raise ValueError(f"{option_text(name)} {why}")


def option_text(name: str) -> str:
    """An option as the command has it.

    Example:
        >>> option_text("ignore_label")
        '--ignore-label'
    """
    return f"--{name.replace('_', '-')}"
