"""Sentences about the data of a study: what its cases have in common that no score says.

Labels that look exchanged, that one side or nobody has, predictions that are mirrored, shifted or
on another grid. Nothing of it changes a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean

from medloss.evaluation.grouping import patient_findings
from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.records import CaseResult, DataFinding
from medloss.evaluation.score import EvalPlan, plan_labels
from medloss.evaluation.signs import Sign

_MOST_NAMED = 5
_MOST_SHIFTS = 3
"""Different shifts that have a sentence each."""
_CERTAIN = 0.95
"""A Dice that no chance brings about."""

_Signed = list[tuple[CaseResult, Sign]]


def findings(cases: Sequence[CaseResult], plan: EvalPlan) -> tuple[DataFinding, ...]:
    """What the user should look at before the numbers.

    Args:
        cases: complete (:func:`medloss.evaluation.score.complete`).
        plan: what was computed.
    """
    crossed = list(_crossed(cases, plan))
    explained = {label for finding in crossed for label in finding.labels}
    return (
        *crossed,
        *_moved(cases),
        *_other_grids(cases),
        *_one_sided(cases, plan, explained),
        *patient_findings([case.pair for case in cases], plan.grouping),
    )


def _crossed(cases: Sequence[CaseResult], plan: EvalPlan) -> Iterator[DataFinding]:
    """Labels that agree with another one, chains of them together."""
    found: dict[tuple[Label, Label], _Signed] = {}
    for case, sign in _signs(cases, "crossed"):
        found.setdefault((sign["labels"][0], sign["labels"][1]), []).append((case, sign))
    # Each label of the references with the one that most cases cross it with.
    chosen: dict[Label, Label] = {}
    for (row, column), signed in sorted(found.items(), key=lambda item: -len(item[1])):
        if signed and row not in chosen and column not in chosen.values():
            chosen[row] = column
    for chain in _chains(chosen):
        groups = [found[pair] for pair in chain]
        where = tuple(dict.fromkeys(case.name for group in groups for case, _ in group))
        as_is, crossed = (
            [fmean(sign["dice"][which] for _, sign in group) for group in groups]
            for which in (0, 1)
        )
        closed = chain[0][0] == chain[-1][1]
        rows = [_title(row, plan) for row, _ in chain]
        if closed:
            how = "exchanged" if len(chain) == 2 else "permuted"
            what = f"{_and(rows)} look {how}"
        else:
            what = "; ".join(
                f"{_title(row, plan)} of the references looks like {_title(column, plan)} of the "
                f"predictions"
                for row, column in chain
            )
        remedy = ""
        if all(sign["remap"] for group in groups for _, sign in group):
            remedy = ",".join(f"{column}={row}" for row, column in chain)
        yield DataFinding(
            "crossed",
            f"{what} {_in(where, cases)}: Dice {_and(map(_two, as_is))} as "
            f"{'they are' if len(chain) > 1 else 'it is'}, {_and(map(_two, crossed))} crossed"
            + (f" (--remap-prediction {remedy})" if remedy else ""),
            where,
            tuple(dict.fromkeys(label for pair in chain for label in pair)),
        )


def _chains(chosen: dict[Label, Label]) -> Iterator[list[tuple[Label, Label]]]:
    """Pairs that lead from one to the next, circles included, each pair once."""
    left = dict(chosen)
    starts = [row for row in chosen if row not in chosen.values()]
    for start in (*starts, *chosen):
        chain = []
        while start in left:
            chain.append((start, left.pop(start)))
            start = chain[-1][1]
        if chain:
            yield chain


def _moved(cases: Sequence[CaseResult]) -> Iterator[DataFinding]:
    """Predictions that agree far better somewhere else."""
    found: dict[str, _Signed] = {}
    for kind, describe in (("flipped", _flip), ("exchanged", _exchange), ("shifted", _shift)):
        for case, sign in _signs(cases, kind):
            found.setdefault(describe(sign), []).append((case, sign))
    shifts = [what for what, signed in found.items() if signed[0][1]["kind"] == "shifted"]
    if len(shifts) > _MOST_SHIFTS:
        each = [found.pop(what) for what in shifts]
        found[f"shifted by whole voxels, in {len(shifts)} ways"] = [x for one in each for x in one]
    for what, signed in found.items():
        if not _believable([sign for _, sign in signed], len(_scored(cases))):
            continue
        as_is, other = (fmean(sign["dice"][which] for _, sign in signed) for which in (0, 1))
        where = tuple(case.name for case, _ in signed)
        yield DataFinding(
            "moved",
            f"predictions look {what} {_in(where, cases)}: Dice of all labels together "
            f"{_two(as_is)} as they are, {_two(other)} {_back(signed[0][1])}",
            where,
        )


def _believable(signs: Sequence[Sign], scored: int) -> bool:
    """Whether it is more than what a few small structures do by chance."""
    if any(sign["dice"][1] >= _CERTAIN for sign in signs):
        return True
    in_many = len(signs) >= 3 and 2 * len(signs) >= scored
    return in_many or (any(sign["sure"] for sign in signs) and 5 * len(signs) >= scored)


def _flip(sign: Sign) -> str:
    axes = [str(axis) for axis in sign["axes"]]
    return f"mirrored along {'axis' if len(axes) == 1 else 'axes'} {_and(axes)}"


def _exchange(sign: Sign) -> str:
    return f"turned, axes {_and(map(str, sign['axes']))} exchanged"


def _shift(sign: Sign) -> str:
    steps = ", ".join(f"{step:+d}" if step else "0" for step in sign["voxels"])
    return f"shifted by whole voxels ({steps})"


def _back(sign: Sign) -> str:
    return {"flipped": "mirrored back", "exchanged": "turned back"}.get(
        sign["kind"], "shifted back"
    )


def _other_grids(cases: Sequence[CaseResult]) -> Iterator[DataFinding]:
    """What the failed cases have in common where the two grids differ."""
    found: dict[str, _Signed] = {}
    for case, sign in _signs(cases, "grid"):
        found.setdefault(sign["what"], []).append((case, sign))
    for what, signed in found.items():
        if len(signed) < 2:  # said by the case itself
            continue
        where = tuple(case.name for case, _ in signed)
        first = signed[0][1]
        yield DataFinding(
            "grid",
            f"predictions differ from their references in {what} {_in(where, cases)}; in the first "
            f"{first['prediction']} against {first['reference']}",
            where,
        )


def _one_sided(
    cases: Sequence[CaseResult], plan: EvalPlan, explained: set[Label]
) -> Iterator[DataFinding]:
    """Labels that no file has, or none of one side."""
    scored = _scored(cases)
    having: dict[str, Counter[Label]] = {"reference": Counter(), "prediction": Counter()}
    for case in scored:
        for label, counts in case.counts:
            for side, counted in having.items():
                counted[label] += bool(getattr(counts, side))
    for label in plan_labels(cases, plan):
        if not scored or label in explained:
            continue
        reference, prediction = having["reference"][label], having["prediction"][label]
        title = _title(label, plan)
        kind = ""
        if not reference and not prediction:
            kind, where = "nowhere", "no file"
        elif not prediction:
            kind, where = "missed", f"{_times(reference, 'reference')} and in no prediction"
        elif not reference:
            kind, where = "spurious", f"{_times(prediction, 'prediction')} and in no reference"
        if kind:
            yield DataFinding(kind, f"{title} occurs in {where}", (), (label,))


def _signs(cases: Iterable[CaseResult], kind: str) -> Iterator[tuple[CaseResult, Sign]]:
    for case in cases:
        for sign in case.signs:
            if sign["kind"] == kind:
                yield case, sign


def _scored(cases: Iterable[CaseResult]) -> list[CaseResult]:
    return [case for case in cases if not case.error]


def _in(where: Sequence[str], cases: Sequence[CaseResult]) -> str:
    named = ""
    if len(where) <= min(_MOST_NAMED, len(cases) - 1):
        named = f" ({', '.join(where)})"
    return f"in {len(where)} of {_times(len(cases), 'case')}{named}"


def _times(many: int, what: str) -> str:
    return f"{many} {what}" if many == 1 else f"{many} {what}s"


def _title(label: Label, plan: EvalPlan) -> str:
    name = plan.name(label)
    return str(label) if name in ("", str(label)) else f"{label} {name}"


def _two(number: float) -> str:
    return f"{number:.2f}"


def _and(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
