"""Which cases to look at, and their pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.inputs.case_pair import CaseOptions, read_case_pair
from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.inputs.structures import by_structure, read_structures
from medloss.evaluation.outputs.report.planes import Plane, planes
from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.stored import PATIENT, CaseError
from medloss.evaluation.records import (
    WHOLE_CASE,
    CaseResult,
    Measure,
    Result,
    ResultTable,
    ScoredLabel,
)

_WORST, _BEST = 8, 4
"""At most so many pictures of each kind: a page stays small however many labels there are."""

_ROUNDS = 3


@dataclass(frozen=True)
class PictureChoice:
    """A label of a case that is worth a look."""

    case: CaseResult
    label: ScoredLabel
    value: Result


@dataclass(frozen=True)
class Picture:
    """Slices of a choice, or the reason why there are none."""

    choice: PictureChoice
    planes: tuple[Plane, ...] = ()
    problem: str = ""

    @property
    def extent_mm(self) -> float:
        """Of all planes side by side."""
        return sum(plane.size_mm[0] for plane in self.planes)

    @property
    def bar_mm(self) -> float:
        """Length of the scale bar: round, and about a third of the first plane."""
        room = self.planes[0].size_mm[0] / 3
        power = 10.0 ** math.floor(math.log10(room))
        return max(step * power for step in (1, 2, 5) if step * power <= room)


def judge(table: ResultTable) -> Measure | None:
    """The metric that says which cases are bad: Dice where it was computed, else the first."""
    own = [m for m in table.measures if any(x.key != WHOLE_CASE for x in table.lines_of(m))]
    return next((measure for measure in own if measure.name == "dice"), next(iter(own), None))


def choose(table: ResultTable) -> tuple[list[PictureChoice], list[PictureChoice]]:
    """The worst and the best cases, of as many labels as there is room for.

    In every round each label gives its next worst case, and the worst of these come first; the best
    cases are one of each label.
    """
    measure = judge(table)
    if measure is None:
        return [], []
    sign = 1.0 if measure.better == "higher" else -1.0

    def badness(choice: PictureChoice) -> float:
        return sign * choice.value.value

    ordered = [
        sorted(_choices(table, label, measure), key=badness)
        for label in table.labels
        if label.key != WHOLE_CASE
    ]
    worst = _rounds(ordered, _ROUNDS, badness)[:_WORST]
    seen = {(choice.case.name, choice.label.key) for choice in worst}
    rest = [
        [c for c in reversed(found) if (c.case.name, c.label.key) not in seen] for found in ordered
    ]
    best = _rounds(rest, 1, lambda choice: -badness(choice))[:_BEST]
    return worst, best


def draw(choice: PictureChoice, table: ResultTable) -> Picture:
    """Read the two files of a case again and cut them.

    Files that are gone, or no longer hold what was scored, give the reason instead of a picture.
    """
    try:
        reference, prediction, grid = _masks(choice, table)
    except CaseError as error:
        return Picture(choice, problem=str(error))
    counted = (int(reference.sum()), int(prediction.sum()))
    voxels = choice.case.voxels
    told = voxels.get(choice.label.key, (0, 0)) if voxels else counted
    if counted != told:
        return Picture(
            choice,
            problem=f"the files hold {counted[0]} and {counted[1]} voxels of this label, the "
            f"results were made of {told[0]} and {told[1]}",
        )
    if not any(counted):
        return Picture(choice, problem="neither file holds this label")
    return Picture(choice, planes(reference, prediction, grid.affine, placed=grid.space == PATIENT))


def _masks(
    choice: PictureChoice, table: ResultTable
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Image]:
    case = choice.case
    if case.pair.prediction is None or case.pair.reference is None:
        raise CaseError("the results do not say which files were read")
    if by_structure(case.pair):
        return _structure(choice, table)
    sides = read_case_pair(case.pair, _inputs(table))
    if sides.reference.shape != case.shape:
        raise CaseError(f"the reference has the shape {sides.reference.shape}, not {case.shape}")
    regions = {label.key: label.members for label in table.labels if label.members}
    classes = {
        label.key: int(label.key) if label.key.isdecimal() else label.key
        for label in table.labels
        if label.members or label.key.isdecimal() or label.key in sides.titles.values()
    }
    if choice.label.key not in classes:
        raise CaseError("the results do not say which labels the region is made of")
    wanted = classes[choice.label.key]
    layers = sides.layers([*classes.values()], regions)
    layer = next(layer for layer in layers if wanted in layer.codes)
    masks = [side == layer.codes[wanted] for side in (layer.reference, layer.prediction)]
    if sides.ignored is not None:
        masks = [mask & ~sides.ignored for mask in masks]
    return masks[0], masks[1], sides.reference


def _structure(
    choice: PictureChoice, table: ResultTable
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Image]:
    """A structure that is a file of its own: no other file is read."""
    key = choice.label.key
    wanted: Label = int(key) if key.isdecimal() else key
    for _, sides in read_structures(choice.case.pair, _inputs(table), [wanted]):
        return (sides.reference.labels() != 0, sides.prediction.labels() != 0, sides.reference)
    raise CaseError("no file holds this structure")


def _inputs(table: ResultTable) -> CaseOptions:
    """What was done to the files before they were scored, done again."""
    asked = table.inputs
    for name in ("remap_prediction", "remap_reference"):
        if name in asked:  # JSON has no numbers as keys
            asked[name] = {int(old): int(new) for old, new in asked[name].items()}
    for name in ("names", "regions"):
        if name in asked:
            asked[name] = {
                int(label) if label.isdecimal() else label: tuple(each)
                for label, each in asked[name].items()
            }
    for name, value in asked.items():
        asked[name] = tuple(value) if isinstance(value, list) else value  # nor has it tuples
    try:
        return CaseOptions(**asked)
    except TypeError as error:
        raise CaseError(
            f"this version cannot repeat what was done to the files: {error}"
        ) from error


def _choices(table: ResultTable, label: ScoredLabel, measure: Measure) -> list[PictureChoice]:
    found = []
    for case in table.cases:
        value = case.values.get((label.key, measure.name))
        if value and value.used and value.status != "both_empty":
            found.append(PictureChoice(case, label, value))
    return found


def _rounds(
    ordered: list[list[PictureChoice]], rounds: int, key: Callable[[PictureChoice], float]
) -> list[PictureChoice]:
    found: list[PictureChoice] = []
    for index in range(rounds):
        found += sorted((each[index] for each in ordered if index < len(each)), key=key)
    return found
