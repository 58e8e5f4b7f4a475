"""From pairs of files to values: one case at a time, each file read once, each fact computed once.

:func:`evaluate_pair` takes and gives plain records and depends on no other case, so that cases can
be scored in any order and anywhere; :func:`complete` then makes their rows the same for every case.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from medloss.evaluation.choices import MetricChoice
from medloss.evaluation.errors import CaseError
from medloss.evaluation.geometry import check_same_grid
from medloss.evaluation.images import read_image
from medloss.evaluation.pairing import Pair
from medloss.evaluation.values import present_labels
from medloss.scoring import Case, EmptyPolicy, score

if TYPE_CHECKING:
    from medloss.evaluation.losses import LossChoice


@dataclass(frozen=True)
class Study:
    """What is computed for every case.

    Args:
        metrics: one value for each label.
        losses: one value for the whole case.
        labels: names by label, or ``None`` for every label that any file holds.
        policy: what a label that is missing on one side or both counts.
        preset: definition of the surface metrics.
    """

    metrics: tuple[MetricChoice, ...]
    losses: tuple[LossChoice, ...] = ()
    labels: dict[int, str] | None = None
    policy: EmptyPolicy = field(default_factory=EmptyPolicy)
    preset: str = "deepmind"

    def name(self, label: int | None) -> str:
        """Name of a label, empty where it has none."""
        return (self.labels or {}).get(label or 0, "")


@dataclass(frozen=True)
class Result:
    """One value: of a metric for a label, or of a loss for the whole case (label ``None``)."""

    label: int | None
    column: str
    value: float
    unit: str
    status: str


@dataclass(frozen=True)
class CaseResult:
    """All values of a case, or the sentence that says why there are none."""

    pair: Pair
    spacing_mm: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    results: tuple[Result, ...] = ()
    error: str = ""
    trace: str = ""


def evaluate(pairs: Iterable[Pair], study: Study) -> Iterator[CaseResult]:
    """Score every pair, in order; a case that fails does not stop the others."""
    for pair in pairs:
        yield evaluate_pair(pair, study)


def evaluate_pair(pair: Pair, study: Study) -> CaseResult:
    """Read and score one pair of files."""
    try:
        return _evaluate(pair, study)
    except CaseError as error:
        return CaseResult(pair, error=str(error), trace=traceback.format_exc())
    # A defect that one case brings out, in a plugin too, must not cost the values of the others.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        return CaseResult(pair, error=reason, trace=traceback.format_exc())


def complete(cases: Iterable[CaseResult], study: Study) -> tuple[CaseResult, ...]:
    """Give every case a row for every label of the study.

    A case without a label in both of its files has the status ``both_empty`` there; which labels
    there are is known only when all files have been read, unless the study names them.
    """
    cases = tuple(cases)
    labels = study_labels(cases, study)
    return tuple(case if case.error else _complete(case, labels, study) for case in cases)


def study_labels(cases: Iterable[CaseResult], study: Study) -> tuple[int, ...]:
    """The labels that the study names, else those found in any case, in ascending order."""
    if study.labels is not None:
        return tuple(study.labels)
    found = {result.label for case in cases for result in case.results}
    return tuple(sorted(label for label in found if label is not None))


def check_options(study: Study) -> None:
    """Try every metric that was given options on a case of a few voxels, before the work starts.

    Raises:
        ValueError: a metric refuses the value of an option.
    """
    cube = np.zeros((3, 3, 3), dtype=np.uint8)
    cube[1, 1, 1] = 1
    case = Case(
        reference=cube,
        prediction=cube,
        labels=(1,),
        spacing_mm=(1.0, 1.0, 1.0),
        preset=study.preset,
    )
    for metric in study.metrics:
        if metric.given:
            one = dataclasses.replace(study, metrics=(metric,))
            try:
                list(_score(case, 1, one))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{metric.column}: {error}") from error


def _evaluate(pair: Pair, study: Study) -> CaseResult:
    if pair.problem or pair.prediction is None or pair.reference is None:
        raise CaseError(pair.problem)
    prediction, reference = read_image(pair.prediction), read_image(pair.reference)
    check_same_grid(prediction, reference)
    maps = prediction.labels(), reference.labels()
    if study.labels is None:
        labels = tuple(sorted({label for labels in maps for label in present_labels(labels)}))
    else:
        labels = tuple(study.labels)
    case = Case(
        reference=maps[1],
        prediction=maps[0],
        labels=labels,
        spacing_mm=reference.spacing_mm,
        preset=study.preset,
    )
    results = [result for label in labels for result in _score(case, label, study)]
    if study.losses:
        from medloss.evaluation.losses import loss_values  # torch

        values = loss_values(study.losses, prediction, reference)
        results += [Result(None, column, value, "", "ok") for column, value in values]
    return CaseResult(pair, reference.spacing_mm, reference.shape, tuple(results))


def _score(case: Case, label: int, study: Study) -> Iterator[Result]:
    for metric in study.metrics:
        found = score(metric.function, metric.record, case, label, study.policy, **metric.options)
        yield Result(
            label, metric.column, float(found.value), metric.record.unit, str(found.status)
        )


def _complete(case: CaseResult, labels: tuple[int, ...], study: Study) -> CaseResult:
    own: dict[int | None, list[Result]] = {}
    for result in case.results:
        own.setdefault(result.label, []).append(result)
    if own.keys() >= set(labels):
        return case
    # In neither map, so any pair of empty maps tells what the policy makes of it.
    empty = np.zeros((1,) * len(case.shape), dtype=np.uint8)
    absent = Case(
        reference=empty,
        prediction=empty,
        labels=(1,),
        spacing_mm=case.spacing_mm,
        preset=study.preset,
    )
    scored = tuple(_score(absent, 1, study))
    results: list[Result] = []
    for label in labels:
        results += own.get(label) or [dataclasses.replace(found, label=label) for found in scored]
    return dataclasses.replace(case, results=(*results, *own.get(None, ())))
