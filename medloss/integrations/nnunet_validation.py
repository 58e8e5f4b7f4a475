"""Metrics of medloss in the validation of nnU-Net v2: into its summary, its logger and its log.

``medloss nnunet-trainer --metric NAME`` writes a trainer that derives from :class:`MetricsTrainer`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from medloss._version import __version__
from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.inputs.nnunet_results import FoldResults
from medloss.evaluation.planning import Definition, make_plan
from medloss.evaluation.records import CaseResult
from medloss.evaluation.requests import MetricChoice, choose_metric, parse_requests
from medloss.evaluation.run import default_workers, evaluate_all
from medloss.evaluation.score import EvalPlan, check_options, complete
from medloss.evaluation.settings import InputSettings
from medloss.runtime.files import whole_file

if TYPE_CHECKING:

    class _Trainer:
        """What :class:`MetricsTrainer` uses of the trainer of nnU-Net that stands beside it."""

        dataset_json: dict[str, Any]
        output_folder: str
        output_folder_base: str
        preprocessed_dataset_folder_base: str
        local_rank: int
        logger: Any

        def initialize(self) -> None: ...
        def perform_actual_validation(self, save_probabilities: bool = False) -> None: ...
        def print_to_log_file(self, *args: Any, also_print_to_console: bool = True) -> None: ...
else:
    _Trainer = object


class MetricsTrainer(_Trainer):
    """What a trainer needs beside one of nnU-Net's, to report ``validation_metrics``.

    They are computed once, at the end of a training, from the label maps that nnU-Net's validation
    has written: epochs take as long as before.
    """

    validation_metrics: ClassVar[Sequence[str]] = ()

    def initialize(self) -> None:
        """Try the metrics before the training, then what nnU-Net does."""
        choose_metrics(self.validation_metrics)
        super().initialize()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Validate as nnU-Net does; then add the metrics to its summary and its log."""
        super().perform_actual_validation(save_probabilities)
        if self.local_rank != 0:
            return
        folder = Path(self.output_folder, "validation")
        results = FoldResults(
            (folder,),
            Path(self.preprocessed_dataset_folder_base, "gt_segmentations"),
            Path(self.output_folder_base, "dataset.json"),
        )
        cases, plan = score_validation(results, self.validation_metrics)
        for case in cases:
            if case.error:
                self.print_to_log_file(f"medloss: {case.name}: {case.error}")
        means = add_to_summary(folder / "summary.json", cases, plan)
        log = getattr(self.logger, "log_summary", None)  # nnU-Net 2.6 and older have none
        for metric in plan.metrics:
            for label, values in means.items():
                if log is not None:
                    log(f"final_val/class_{label}_{metric.column}", values[metric.column])
            told = ", ".join(f"{label}: {each[metric.column]:.4f}" for label, each in means.items())
            unit = f" ({metric.record.unit})" if metric.record.unit else ""
            self.print_to_log_file(f"Mean Validation {metric.column}{unit}: {told}")


def choose_metrics(texts: Sequence[str]) -> tuple[MetricChoice, ...]:
    """The metrics by what a user types, tried.

    Raises:
        ValueError: there is none, one twice, or one of them cannot be meant or needs probabilities.
    """
    if isinstance(texts, str) or not texts:
        raise ValueError(f"validation_metrics: expected names of metrics, got {texts!r}")
    chosen = tuple(map(choose_metric, parse_requests(texts)))
    columns = [metric.column for metric in chosen]
    for metric in chosen:
        if columns.count(metric.column) > 1:
            raise ValueError(f"validation_metrics: {metric.column} is asked for twice")
        if metric.record.of_probabilities:
            raise ValueError(
                f"validation_metrics: {metric.column} needs probabilities, and nnU-Net validates "
                f"label maps"
            )
    check_options(EvalPlan(metrics=chosen))
    return chosen


def score_validation(
    results: FoldResults, metrics: Sequence[str]
) -> tuple[tuple[CaseResult, ...], EvalPlan]:
    """Score what nnU-Net has validated, by the labels, regions and ignore label of its data set."""
    found = results.cases()
    plan = make_plan(InputSettings(), Definition(metrics=tuple(metrics)), found)
    workers = min(default_workers(found), int(os.environ.get("nnUNet_def_n_proc", 8)))  # noqa: SIM112
    return complete(evaluate_all(found.pairs, plan, workers=workers), plan), plan


def add_to_summary(
    path: Path, cases: Sequence[CaseResult], plan: EvalPlan
) -> dict[str, dict[str, float]]:
    """Write values beside nnU-Net's Dice: of each case, their means, and the mean over classes.

    Means leave out what is undefined, as nnU-Net's do. Under ``medloss`` the file says how they are
    defined.

    Args:
        path: the ``summary.json`` of nnU-Net.
        cases: what was scored.
        plan: by what.

    Returns:
        The means, by nnU-Net's key of a class.

    Raises:
        ValueError: the file has classes or cases of another data set.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    by_file = {Path(str(case.pair.prediction)).name: case for case in cases}
    labels = {_members(label, plan): label for label in plan.labels or ()}
    columns = [metric.column for metric in plan.metrics]
    found: dict[str, dict[str, list[float]]] = {}
    for entry in content["metric_per_case"]:
        case = by_file.get(Path(entry["prediction_file"]).name)
        if case is None:
            raise ValueError(f"{path} has {entry['prediction_file']}, which was not scored")
        for key, values in entry["metrics"].items():
            label = labels.get(_key_members(key))
            if label is None:
                raise ValueError(f"{path} has the class {key}, which the data set has not")
            for column in columns:
                result = case.values.get((str(label), column))
                values[column] = math.nan if result is None else result.value
                found.setdefault(key, {}).setdefault(column, []).append(values[column])
    means = {
        key: {column: _mean([x for x in each if not math.isnan(x)]) for column, each in own.items()}
        for key, own in found.items()
    }
    for key, own in means.items():
        content["mean"][key] |= own
    for column in columns:
        content["foreground_mean"][column] = _mean(
            [own[column] for key, own in means.items() if key != "0"]
        )
    content["medloss"] = {
        "version": __version__,
        "preset": plan.preset,
        "policy": plan.policy.describe(),
        "metrics": [
            {
                "metric": metric.column,
                "unit": metric.record.unit,
                "better": metric.record.better,
                "options": dict(metric.options),
            }
            for metric in plan.metrics
        ],
        "failed": {case.name: case.error for case in cases if case.error},
    }
    with whole_file(path) as file:
        json.dump(content, file, indent=4, sort_keys=True)  # NaN as nnU-Net writes it
    return means


def _members(label: Label, plan: EvalPlan) -> frozenset[int]:
    return frozenset(plan.regions[label] if isinstance(label, str) else (label,))


def _key_members(key: str) -> frozenset[int]:
    """Labels of ``2`` or ``(1, 2)``."""
    return frozenset(int(word) for word in key.strip("()").split(",") if word.strip())


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
