"""From pairs of files to values: one case at a time, each file read once, each fact computed once.

:func:`evaluate_pair` takes and gives plain records and depends on no other case, so that cases can
be scored in any order and anywhere; :func:`complete` then makes their rows the same for every case.
"""

from __future__ import annotations

import dataclasses
import math
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medloss.evaluation.inputs.case_pair import CaseOptions, CasePair, read_case_pair
from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.inputs.layers import ClassCases, make_layers
from medloss.evaluation.inputs.pairing import Pair, printable
from medloss.evaluation.reading.opened import changed, recording
from medloss.evaluation.reading.stored import CaseError
from medloss.evaluation.records import CaseResult, Result
from medloss.evaluation.requests import MetricChoice
from medloss.offers.host import host
from medloss.scoring import Case, EmptyPolicy, score
from medloss.scoring.facts import Counts

if TYPE_CHECKING:
    from medloss.evaluation.losses import LossChoice


@dataclass(frozen=True)
class EvalPlan:
    """What is computed for every case.

    Args:
        metrics: one value for each label.
        losses: one value for the whole case.
        labels: names by label or region, or ``None`` for every label that any file holds.
        policy: what a label that is missing on one side or both counts.
        preset: definition of the surface metrics.
        definitions: other presets that every metric is computed by as well, each with its policy.
        error_maps: folder that gets images of each case's errors, or ``None``.
        regions: the labels that each region among ``labels`` is made of.
        inputs: what is done to the files before they are scored.
        source: what predicts, where that is part of the work: names and values.
        device: of torch, that counts and distances are computed on; ``None`` is compiled loops on
            the CPU.
    """

    metrics: tuple[MetricChoice, ...]
    losses: tuple[LossChoice, ...] = ()
    labels: dict[Label, str] | None = None
    policy: EmptyPolicy = field(default_factory=EmptyPolicy)
    preset: str = "deepmind"
    definitions: tuple[tuple[str, EmptyPolicy], ...] = ()
    error_maps: Path | None = None
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    inputs: CaseOptions = field(default_factory=CaseOptions)
    source: tuple[tuple[str, str], ...] = ()
    device: str | None = None

    def name(self, label: Label | None) -> str:
        """Name of a label, empty where it has none; a region is its own name."""
        return "" if label is None else (self.labels or {}).get(label, "")


def offering(plan: EvalPlan) -> dict[str, str]:
    """Version of each distribution that offers a metric or loss of the plan."""
    targets = {metric.record.target for metric in plan.metrics}
    targets |= {loss.record.target for loss in plan.losses}
    offers = [(offer.record.target, offer.plugin) for offer in host().metrics]
    offers += [(offer.record.target, offer.plugin) for offer in host().losses]
    return {plugin.distribution: plugin.version for target, plugin in offers if target in targets}


def evaluate(pairs: Iterable[Pair], plan: EvalPlan) -> Iterator[CaseResult]:
    """Score every pair, in order; a case that fails does not stop the others."""
    for pair in pairs:
        yield evaluate_pair(pair, plan)


def evaluate_pair(pair: Pair, plan: EvalPlan) -> CaseResult:
    """Read and score one pair of files."""
    return attempt(pair, lambda: evaluate_case_pair(pair, read_case_pair(pair, plan.inputs), plan))


def attempt(pair: Pair, work: Callable[[], CaseResult]) -> CaseResult:
    """The result of a case with the files that it is made of, or why there is none.

    There is none where one of them changed meanwhile: nobody knows what of it was read.
    """
    with recording() as files:
        result = _attempt(pair, work)
    if path := changed(files):
        what = f"{path} changed while it was read; score the case again when nobody writes to it"
        error = f"{result.error}; {what}" if result.error else what
        result = CaseResult(pair, error=error, trace=result.trace)
    return dataclasses.replace(
        result,
        error=printable(result.error),
        trace=printable(result.trace),
        notes=tuple(map(printable, result.notes)),
        files=tuple(files),
    )


def _attempt(pair: Pair, work: Callable[[], CaseResult]) -> CaseResult:
    try:
        return work()
    except CaseError as error:
        return CaseResult(pair, error=str(error), trace=traceback.format_exc())
    # A defect that one case brings out, in a plugin too, must not cost the values of the others.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        return CaseResult(pair, error=reason, trace=traceback.format_exc())


def complete(cases: Iterable[CaseResult], plan: EvalPlan) -> tuple[CaseResult, ...]:
    """Give every case a row for every label of the plan.

    A case without a label in both of its files has the status ``both_empty`` there; which labels
    there are is known only when all files have been read, unless the plan names them.
    """
    cases = tuple(cases)
    labels = plan_labels(cases, plan)
    return tuple(case if case.error else _complete(case, labels, plan) for case in cases)


def plan_labels(cases: Iterable[CaseResult], plan: EvalPlan) -> tuple[Label, ...]:
    """The labels that the plan names, else those found in any case, in ascending order."""
    if plan.labels is not None:
        return tuple(plan.labels)
    found = {result.label for case in cases for result in case.results}
    return tuple(sorted(label for label in found if isinstance(label, int)))


def check_options(plan: EvalPlan) -> None:
    """Try metrics on a case of a few voxels, before the work starts.

    Those that were given options, and those that need a package that may be missing.

    Raises:
        ValueError: a metric refuses the value of an option, or something is not installed.
    """
    cube = np.zeros((3, 3, 3), dtype=np.uint8)
    cube[1, 1, 1] = 1
    case = Case(
        reference=cube,
        prediction=cube,
        labels=(1,),
        spacing_mm=(1.0, 1.0, 1.0),
        preset=plan.preset,
        probabilities={1: cube},
    )
    for metric in plan.metrics:
        if metric.given or "skeletons" in metric.record.facts:
            one = dataclasses.replace(plan, metrics=(metric,))
            try:
                list(_score(case, 1, 1, one))
            except (TypeError, ValueError, ImportError) as error:
                raise ValueError(f"{metric.column}: {error}") from error


def evaluate_case_pair(
    pair: Pair,
    sides: CasePair,
    plan: EvalPlan,
    losses: Iterable[tuple[str, float]] | None = None,
) -> CaseResult:
    """Score two images.

    Args:
        pair: the case.
        sides: its images.
        plan: what is computed.
        losses: values of the plan's losses, where they are known already.

    Raises:
        CaseError: what is asked for is not in the files.
    """
    prediction, reference = sides.prediction, sides.reference
    of_chances = [m.column for m in plan.metrics if "probabilities" in m.record.facts]
    if of_chances and not prediction.probabilities:
        raise CaseError(
            f"{of_chances[0]} needs probabilities, and of {prediction.path} there are labels alone "
            f"(nnU-Net's .npz is taken with --probabilities)"
        )
    asked = None if plan.labels is None else tuple(plan.labels)
    ignore = plan.inputs.ignore_label
    layers = make_layers(
        prediction, reference, asked, plan.regions, ignore, probabilities=bool(of_chances)
    )
    labels = asked or tuple(label for layer in layers for label in layer.codes)
    cases = ClassCases(layers, reference.spacing_mm, plan.preset, sides.ignored, plan.device)
    results = [result for label in labels for result in _score(*cases.find(label), label, plan)]
    definitions = []
    for preset, policy in plan.definitions:
        by = dataclasses.replace(plan, preset=preset, policy=policy)
        others = ClassCases(layers, reference.spacing_mm, preset, sides.ignored, plan.device)
        definitions.append(
            (preset, tuple(x for label in labels for x in _score(*others.find(label), label, by)))
        )
    if plan.error_maps is not None:
        from medloss.evaluation.error_maps import write_error_maps

        write_error_maps(plan.error_maps, pair.name, layers, reference, sides.ignored)
    if losses is None and plan.losses:
        from medloss.evaluation.losses import loss_values  # torch

        losses = loss_values(plan.losses, prediction, reference, sides.ignored)
    results += [Result(None, column, value, "", "ok") for column, value in losses or ()]
    return CaseResult(
        pair,
        reference.spacing_mm,
        reference.shape,
        tuple(results),
        counts=tuple((label, _counts(*cases.find(label))) for label in labels),
        definitions=tuple(definitions),
        notes=sides.notes,
    )


def _counts(case: Case, code: int) -> Counts:
    return case.counts(code)


def _score(case: Case, code: int, label: Label, plan: EvalPlan) -> Iterator[Result]:
    for metric in plan.metrics:
        found = score(metric.function, metric.record, case, code, plan.policy, **metric.options)
        yield Result(
            label, metric.column, float(found.value), metric.record.unit, str(found.status)
        )


def _complete(case: CaseResult, labels: tuple[Label, ...], plan: EvalPlan) -> CaseResult:
    own: dict[Label | None, list[Result]] = {}
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
        preset=plan.preset,
        probabilities={},  # nor has the prediction a channel for it
    )
    scored = tuple(_score(absent, 1, 1, plan))
    results: list[Result] = []
    for label in labels:
        results += own.get(label) or [dataclasses.replace(found, label=label) for found in scored]
    counted = dict(case.counts)
    voxels = next((counts.voxels for counts in counted.values()), math.prod(case.shape))
    return dataclasses.replace(
        case,
        results=(*results, *own.get(None, ())),
        counts=tuple((label, counted.get(label, Counts(0, 0, 0, voxels))) for label in labels),
    )
