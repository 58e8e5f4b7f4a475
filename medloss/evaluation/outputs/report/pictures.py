"""Which cases to look at, and their pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from medloss.evaluation.outputs.report.opened_case import OpenedCase, PictureOptions
from medloss.evaluation.outputs.report.planes import Plane, planes, tight_box
from medloss.evaluation.outputs.report.viewer import MOST_CASES, ViewerCase, pack
from medloss.evaluation.reading.stored import CaseError
from medloss.evaluation.records import (
    WHOLE_CASE,
    CaseResult,
    Measure,
    Result,
    ResultTable,
    ScoredLabel,
)
from medloss.runtime.progress import tracked

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
    """Slices of a choice, or the reason why there are none.

    Args:
        choice: what is shown.
        planes: slices.
        problem: why there are none.
        image: what lies below the outlines, in words.
    """

    choice: PictureChoice
    planes: tuple[Plane, ...] = ()
    problem: str = ""
    image: str = ""

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


def draw(
    choice: PictureChoice, table: ResultTable, options: PictureOptions | None = None
) -> Picture:
    """Read the two files of a case again and cut them.

    Files that are gone, or no longer hold what was scored, give the reason instead of a picture.
    """
    return draw_case(OpenedCase(choice.case, table, options), choice)


def draw_case(opened: OpenedCase, choice: PictureChoice) -> Picture:
    """A picture of a case whose files are read already."""
    try:
        reference, prediction = opened.masks(choice.label)
    except CaseError as error:
        return Picture(choice, problem=str(error))
    either = reference | prediction
    if not either.any():
        return Picture(choice, problem="neither file holds this label")
    display = opened.display
    inside = tight_box(display.turned(either))
    shown, said = None, opened.no_image
    if image := opened.underlay:
        window = image.window(either, inside)
        shown, said = image.shown(window), image.caption(window)
    return Picture(choice, planes(reference, prediction, display, shown, inside), image=said)


@dataclass(frozen=True)
class Gallery:
    """Everything on a page that is drawn from voxels.

    Args:
        worst: pictures.
        best: pictures.
        viewer: cases to scroll through.
    """

    worst: tuple[Picture, ...] = ()
    best: tuple[Picture, ...] = ()
    viewer: tuple[ViewerCase, ...] = ()


def draw_all(table: ResultTable, options: PictureOptions) -> Gallery:
    """The worst and the best cases, and those to scroll through; each file is read once.

    Raises:
        ValueError: a case to scroll through that the table does not have.
    """
    worst, best = choose(table)
    wanted = viewed(table, options.viewer)
    asked = {case.name for case in wanted}
    drawn: dict[int, Picture] = {}
    packed: dict[str, ViewerCase] = {}
    cases = {choice.case.name: choice.case for choice in (*worst, *best)}
    cases |= {case.name: case for case in wanted}
    for name, case in tracked(cases.items(), "pictures"):
        opened = OpenedCase(case, table, options)
        for choice in (*worst, *best):
            if choice.case is case:
                drawn[id(choice)] = draw_case(opened, choice)
        if name in asked:
            packed[name] = pack(opened, judge(table), len(wanted))
    return Gallery(
        tuple(drawn[id(choice)] for choice in worst),
        tuple(drawn[id(choice)] for choice in best),
        tuple(packed[case.name] for case in wanted),
    )


def viewed(table: ResultTable, names: Sequence[str]) -> list[CaseResult]:
    """Cases to scroll through, in the order in which they are named; an empty name is the worst.

    Raises:
        ValueError: no case has such a name.
    """
    known = {case.name: case for case in table.cases}
    found: dict[str, CaseResult] = {}
    for name in names:
        if name == "":
            found |= {case.name: case for case in _worst_cases(table)}
        elif name in known:
            found[name] = known[name]
        else:
            first = ", ".join(repr(case.name) for case in table.cases[:3])
            raise ValueError(f"--viewer: no case is called {name!r}; the first are {first}")
    return list(found.values())


def _worst_cases(table: ResultTable) -> list[CaseResult]:
    """Those with the worst value of any label; by name where there is no value."""
    measure = judge(table)
    scored = [case for case in table.cases if not case.error]
    if measure is None:
        return scored[:MOST_CASES]
    sign = 1.0 if measure.better == "higher" else -1.0

    def badness(case: CaseResult) -> float:
        own = (x for (_, column), x in case.values.items() if column == measure.name and x.used)
        return min((sign * x.value for x in own), default=math.inf)

    return sorted(scored, key=badness)[:MOST_CASES]


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
