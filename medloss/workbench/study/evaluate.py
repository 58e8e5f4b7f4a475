"""The held-out cases of a run, predicted and scored as ``medloss eval --bundle`` does."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser
from torch import nn

from medloss.evaluation.inputs.case_pair import make_case_pair, one_file
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.outputs.folder import write_tables
from medloss.evaluation.outputs.tables import make_table, with_origin
from medloss.evaluation.reading.images import Image, read_image
from medloss.evaluation.records import CaseResult
from medloss.evaluation.requests import choose_metric, parse_requests
from medloss.evaluation.score import EvalPlan, attempt, complete, evaluate_case_pair
from medloss.integrations.bundle.evaluate import bundle_pairs, evaluate_bundle
from medloss.integrations.bundle.settings import BundleInference, ConfigReader, read_inference
from medloss.workbench.study.bundle import StudyBundle


class _Remembered:
    """A transform of cases whose results are kept: the same cases are predicted by every run."""

    def __init__(self, transform: Callable[[Any], Any]) -> None:
        self._transform = transform
        self._kept: dict[str, Any] = {}

    def __call__(self, case: Mapping[str, Any]) -> Any:
        key = repr(sorted(case.items(), key=str))
        if key not in self._kept:
            self._kept[key] = self._transform(case)
        return self._kept[key]


def inference_of(bundle: StudyBundle, parser: ConfigParser, network: nn.Module) -> BundleInference:
    """How the bundle's evaluator predicts; results of its transforms are kept.

    Raises:
        ValueError: an entry is missing, or cannot be used.
    """
    reader = ConfigReader(bundle.config, parser)
    found = read_inference(reader, bundle.held_out, network, ())
    return dataclasses.replace(found, transform=_Remembered(found.transform))


def plan_of(bundle: StudyBundle, source: tuple[tuple[str, str], ...] = ()) -> EvalPlan:
    """What is computed for every held-out case.

    Raises:
        PluginError: there is no such metric.
        ValueError: a metric has no such option.
    """
    metrics = tuple(map(choose_metric, parse_requests(bundle.conditions.metrics)))
    classes = bundle.classes()
    return EvalPlan(
        metrics=metrics, labels=classes.names or None, regions=classes.regions, source=source
    )


def score(
    inference: BundleInference,
    network: nn.Module | None,
    plan: EvalPlan,
    predictions: Path | None = None,
    most: int | None = None,
) -> tuple[CaseResult, ...]:
    """Score the held-out cases.

    Args:
        inference: of the fold.
        network: that was trained; None scores empty predictions instead, which is what a diverged
            run counts.
        plan: what is computed.
        predictions: folder for label maps, or None.
        most: only so many of the cases.
    """
    pairs = bundle_pairs(inference, None, predictions)[:most]
    if network is None:
        cases = [attempt(pair, functools.partial(_empty, pair, plan)) for pair in pairs]
        return complete(cases, plan)
    trained = dataclasses.replace(inference, network=network.to(inference.device).eval())
    return complete(evaluate_bundle(trained, pairs, plan), plan)


def write(folder: Path, cases: Sequence[CaseResult], plan: EvalPlan, command: str) -> None:
    """Write the same files as ``medloss eval --output``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(folder, with_origin(make_table(cases, plan), plan, command))


def foreground(cases: Sequence[CaseResult]) -> Iterator[int]:
    """Voxels that were predicted as any label, of each case."""
    for case in cases:
        yield sum(counts.prediction for _, counts in case.counts)


def _empty(pair: Pair, plan: EvalPlan) -> CaseResult:
    reference = read_image(one_file(pair, pair.reference))
    nothing = np.zeros(reference.shape, dtype=np.uint8)
    path = Path("empty") if pair.prediction is None else one_file(pair, pair.prediction)
    prediction = Image(path, nothing, reference.spacing_mm, reference.affine, space=reference.space)
    return evaluate_case_pair(pair, make_case_pair(prediction, reference, plan.inputs), plan)
