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
from typing import TYPE_CHECKING, Any

import numpy as np

from medloss.evaluation.grouping import Grouping
from medloss.evaluation.inputs.case_pair import CaseOptions, CasePair, read_case_pair
from medloss.evaluation.inputs.folders import printable
from medloss.evaluation.inputs.labels import Label, same_name
from medloss.evaluation.inputs.layers import ClassCases, Layer
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.inputs.structures import by_structure, read_structures
from medloss.evaluation.lesions import LesionTable, lesion_rows
from medloss.evaluation.reading.opened import changed, recording
from medloss.evaluation.reading.stored import CaseError
from medloss.evaluation.records import (
    CandidateRow,
    CaseResult,
    Confusion,
    LesionRow,
    Reliability,
    Result,
    row_fields,
)
from medloss.evaluation.requests import MetricChoice
from medloss.evaluation.signs import most_common, signs_of
from medloss.objects.planes import PLANES, planes_of
from medloss.offers.host import host
from medloss.scoring import Case, EmptyPolicy, Status, match_lesions, score
from medloss.scoring.candidates import OPTIONS as CANDIDATE_OPTIONS
from medloss.scoring.facts import Counts
from medloss.scoring.presets import find_preset
from medloss.scoring.probabilities import BINS

if TYPE_CHECKING:
    from medloss.evaluation.losses import LossChoice
    from medloss.evaluation.profiles.applying import UsedProfile


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
        profile: that this is by, to be written into the results.
        device: of torch, that counts and distances are computed on; ``None`` is compiled loops on
            the CPU.
        lesions: how the lesions of each case are listed, or ``None`` where nobody asked for them.
        grouping: which cases are of one patient and which of a subgroup; changes no value.
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
    profile: UsedProfile | None = None
    device: str | None = None
    lesions: LesionTable | None = None
    grouping: Grouping = field(default=Grouping(), compare=False)

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
    """Read and score one case."""
    if by_structure(pair):
        return attempt(pair, lambda: _evaluate_structures(pair, plan))
    return attempt(pair, lambda: evaluate_case_pair(pair, read_case_pair(pair, plan.inputs), plan))


def _evaluate_structures(pair: Pair, plan: EvalPlan) -> CaseResult:
    """Read and score one structure after the other, each as a case of one label."""
    alone = dataclasses.replace(
        plan,
        labels={1: ""},
        regions={},
        inputs=dataclasses.replace(plan.inputs, channels_only=False, region_order=()),
    )
    found: list[CaseResult] = []
    for label, sides in read_structures(pair, alone.inputs, plan.labels):
        alone = dataclasses.replace(alone, metrics=_of_label(plan, label))
        # Error maps of each structure are files of their own.
        part = dataclasses.replace(pair, name=f"{pair.name}/{label}")
        found.append(_called(label, evaluate_case_pair(part, sides, alone)))
    if not found:
        raise CaseError(f"{pair.name} has no file for any of the structures that are scored")
    return dataclasses.replace(
        found[0],
        pair=pair,
        results=tuple(result for case in found for result in case.results),
        counts=tuple(each for case in found for each in case.counts),
        **row_fields(lambda name: tuple(row for case in found for row in getattr(case, name))),
        definitions=tuple(
            (preset, tuple(result for case in found for result in case.definitions[place][1]))
            for place, (preset, _) in enumerate(plan.definitions)
        ),
        notes=tuple(dict.fromkeys(note for case in found for note in case.notes)),
        signs=most_common([case.signs for case in found]),
    )


def _called(label: Label, case: CaseResult) -> CaseResult:
    """A case of one label with another name for it."""

    def named(results: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(dataclasses.replace(result, label=label) for result in results)

    return dataclasses.replace(
        case,
        results=named(case.results),
        counts=tuple((label, counts) for _, counts in case.counts),
        **row_fields(lambda name: named(getattr(case, name))),
        definitions=tuple((preset, named(results)) for preset, results in case.definitions),
    )


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
        signs = () if error.sign is None else (error.sign,)
        return CaseResult(pair, error=str(error), trace=traceback.format_exc(), signs=signs)
    # A defect that one case brings out, in a plugin too, must not cost the values of the others.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        return CaseResult(pair, error=reason, trace=traceback.format_exc())


def complete(cases: Iterable[CaseResult], plan: EvalPlan) -> tuple[CaseResult, ...]:
    """Give every case a row for every label of the plan.

    A case without a label in both of its files has the status ``both_empty`` there; which labels
    there are is known only when all files have been read, unless the plan names them.
    """
    cases = tuple(cases) if plan.labels is not None else _one_naming(tuple(cases))
    labels = plan_labels(cases, plan)
    return tuple(case if case.error else _complete(case, labels, plan) for case in cases)


def _one_naming(cases: tuple[CaseResult, ...]) -> tuple[CaseResult, ...]:
    """Cases that spell a name in one way, and none with numbers where others have names.

    What is label 1 here and Liver there would be two labels, each of them missing in some cases.
    """
    spelled: dict[str, str] = {}
    for case in cases:
        for result in case.results:
            if isinstance(result.label, str):
                spelled.setdefault(same_name(result.label), result.label)

    def one(label: Label | None) -> Label | None:
        return spelled.get(same_name(label), label) if isinstance(label, str) else label

    def named(rows: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(dataclasses.replace(each, label=one(each.label)) for each in rows)

    def renamed(case: CaseResult) -> CaseResult:
        labels = {each.label for each in case.results} - {None}
        if labels and not any(isinstance(label, str) for label in labels):
            return dataclasses.replace(
                case,
                results=(),
                counts=(),
                definitions=(),
                **row_fields(lambda name: ()),
                error="its labels pair by number and those of other cases by name; say with "
                "--labels which number is which name, such as 1=liver",
            )
        taken = (
            dataclasses.replace(
                row, predicted=tuple(one(label) or label for label in row.predicted)
            )
            for row in case.confusion
        )
        rows = row_fields(lambda name: named(getattr(case, name)))
        return dataclasses.replace(
            case,
            results=named(case.results),
            counts=tuple((one(label) or label, counts) for label, counts in case.counts),
            definitions=tuple((preset, named(found)) for preset, found in case.definitions),
            **{**rows, "confusion": named(taken)},
        )

    return tuple(map(renamed, cases)) if spelled else cases


def plan_labels(cases: Iterable[CaseResult], plan: EvalPlan) -> tuple[Label, ...]:
    """The labels that the plan names, else those found in any case: numbers, then names."""
    if plan.labels is not None:
        return tuple(plan.labels)
    names = dict.fromkeys(result.label for case in cases for result in case.results)
    return (
        *sorted(label for label in names if isinstance(label, int)),
        *(label for label in names if isinstance(label, str)),
    )


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
        objects=(cube, cube) if plan.inputs.instances else None,
    )
    if plan.lesions is not None:
        match_lesions(
            case.components(1),
            matching=plan.lesions.matching,
            connectivity=plan.lesions.connectivity,
        )
    for metric in plan.metrics:
        separate = {"components", "cells", "topology"} & {*metric.record.facts}
        objects = plan.inputs.instances and bool(separate)
        if objects and "connectivity" in metric.given:
            raise ValueError(
                f"{metric.column}: with --instances the objects are those of the files; drop "
                f"connectivity"
            )
        if metric.given or objects or "skeletons" in metric.record.facts:
            try:
                if plan.labels is not None:
                    metric.check_labels(plan.labels)
                for each in metric.alternatives():
                    list(_score(case, 1, 1, dataclasses.replace(plan, metrics=(each,))))
            except (TypeError, ValueError, ImportError) as error:
                raise ValueError(f"{metric.column}: {error}") from error
            except MemoryError as error:
                raise ValueError(f"{metric.column}: too large: {error}") from error


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
    of_chances = [m.column for m in plan.metrics if m.record.of_probabilities]
    if of_chances and not prediction.probabilities:
        raise CaseError(
            f"{of_chances[0]} needs probabilities, and of {prediction.path} there are labels alone "
            f"(nnU-Net's .npz is taken with --probabilities)"
        )
    asked = sides.classes if plan.labels is None else tuple(plan.labels)
    layers = sides.layers(
        asked, plan.regions, plan.inputs.ignore_label, probabilities=bool(of_chances)
    )
    labels = asked or tuple(label for layer in layers for label in layer.codes)
    spacing_mm, ignored, objects = reference.spacing_mm, sides.ignored, sides.objects
    # nibabel finds them, which takes as long to load as a small case to score.
    sliced = any("contours" in metric.record.facts for metric in plan.metrics)
    planes = planes_of(reference.affine) if sliced else PLANES
    rest = ignored, plan.device, objects, planes
    cases = ClassCases(layers, spacing_mm, plan.preset, *rest)
    results: list[Result] = []
    reliability: list[Reliability] = []
    candidates: list[CandidateRow] = []
    for label in labels:
        case, code = cases.find(label)
        results += _score(case, code, label, plan)
        if of_chances:  # now, while the case holds those of this label
            reliability.append(_reliability(case, code, label, plan))
            candidates += _candidates(case, code, label, plan)
    definitions = []
    for preset, policy in plan.definitions:
        by = dataclasses.replace(plan, preset=preset, policy=policy)
        others = ClassCases(layers, spacing_mm, preset, *rest)
        definitions.append(
            (preset, tuple(x for label in labels for x in _score(*others.find(label), label, by)))
        )
    if plan.error_maps is not None:
        from medloss.evaluation.error_maps import write_error_maps

        write_error_maps(plan.error_maps, pair.name, layers, reference, sides.ignored)
    if losses is None and plan.losses:
        from medloss.evaluation.losses import loss_values  # torch

        losses = loss_values(plan.losses, prediction, reference, sides.ignored)
    counts = tuple((label, _counts(*cases.find(label))) for label in labels)
    lesions: list[LesionRow] = []
    if plan.lesions is not None:
        for label in labels:
            case, code = cases.find(label)
            lesions += lesion_rows(case.components(code), label, plan.lesions, reference)
    results += [Result(None, column, value, "", "ok") for column, value in losses or ()]
    return CaseResult(
        pair,
        reference.spacing_mm,
        reference.shape,
        tuple(results),
        counts=counts,
        definitions=tuple(definitions),
        lesions=tuple(lesions),
        reliability=tuple(reliability),
        candidates=tuple(candidates),
        confusion=_confusion(cases, layers[0]) if sides.exclusive else (),
        notes=(*sides.notes, *filter(None, (find_preset(plan.preset).note,))),
        signs=signs_of(prediction, reference, sides.ignored, counts, sides.titles),
    )


def _confusion(cases: ClassCases, layer: Layer) -> tuple[Confusion, ...]:
    """Which label of a map is taken for which, where there is more than one."""
    titles = {code: label for label, code in layer.codes.items()}
    if len(titles) < 2:
        return ()
    case, _ = cases.find(next(iter(layer.codes)))
    rows: dict[Label, dict[Label, int]] = {}
    for (row, column), voxels in case.confused.items():
        label, predicted = ("" if code is None else titles[code] for code in (row, column))
        rows.setdefault(label, {})[predicted] = voxels
    return tuple(Confusion(row, tuple(found), tuple(found.values())) for row, found in rows.items())


def _counts(case: Case, code: int) -> Counts:
    return case.counts(code)


def _score(case: Case, code: int, label: Label, plan: EvalPlan) -> Iterator[Result]:
    for metric in _of_label(plan, label):
        found = score(metric.function, metric.record, case, code, plan.policy, **metric.options)
        left_out = metric.spurious == "exclude" and found.status is Status.SPURIOUS
        value = math.nan if left_out else float(found.value)
        yield Result(label, metric.column, value, metric.record.unit, str(found.status))


def _of_label(plan: EvalPlan, label: Label) -> tuple[MetricChoice, ...]:
    """The metrics with the options that a label has.

    Raises:
        CaseError: one has no value for it.
    """
    try:
        return tuple(metric.for_label(label, plan.name(label)) for metric in plan.metrics)
    except ValueError as error:
        raise CaseError(f"{error}; --metric gives one to each label, by number or name") from error


def _reliability(case: Case, code: int, label: Label, plan: EvalPlan) -> Reliability:
    """Of as many bins as the first metric of calibration has."""
    asked = (m.options["bins"] for m in _of_label(plan, label) if "bins" in m.options)
    bins = case.probabilities(code).bins(next(asked, BINS))
    probability, frequency = (tuple(each.tolist()) for each in bins.means)
    return Reliability(label, tuple(bins.voxels.tolist()), probability, frequency)


def _candidates(case: Case, code: int, label: Label, plan: EvalPlan) -> Iterator[CandidateRow]:
    for metric in _of_label(plan, label):
        if "candidates" in metric.record.facts:
            own = {k: metric.options[k] for k in CANDIDATE_OPTIONS if k in metric.options}
            found = case.candidates(code).found(**own)
            yield CandidateRow(label, metric.column, found.lesions, found.false)


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
    results: list[Result] = []
    for label in labels:
        results += own.get(label) or _score(absent, 1, label, plan)
    counted = dict(case.counts)
    voxels = next((counts.voxels for counts in counted.values()), math.prod(case.shape))
    return dataclasses.replace(
        case,
        results=(*results, *own.get(None, ())),
        counts=tuple((label, counted.get(label, Counts(0, 0, 0, voxels))) for label in labels),
    )
