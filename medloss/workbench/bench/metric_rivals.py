"""The surface metrics of others that ours are measured beside, one adapter each.

Every adapter turns another package into a function of a reference and a prediction, label maps of
uint8, that gives for each label the three values HD95, ASSD and NSD in mm; NaN where it has none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.offers.host import host
from medloss.scoring import Case
from medloss.workbench.bench.contest import not_installed

TOLERANCE_MM = 2.0
NAN = float("nan")

Labels = NDArray[np.uint8]
Values = NDArray[np.float64]
"""(labels, 3)."""


@dataclass(frozen=True)
class MetricTask:
    """What all entrants do.

    Args:
        reference: label map.
        prediction: label map.
        labels: classes to score.
        spacing_mm: size of a voxel.
    """

    reference: Labels
    prediction: Labels
    labels: tuple[int, ...]
    spacing_mm: tuple[float, float, float]


Score = Callable[[MetricTask], Values]


@dataclass(frozen=True)
class MetricRival:
    """Another package.

    Args:
        name: in tables.
        needs: the module to import.
        install: the package that has it.
        preset: of ours that has the same definition.
        computes: what it computes, in words.
        score: the adapter.
        most_classes: it loops over classes; with more of them it would take minutes.
        differs: how its definition differs from the preset's; its values are then not checked.
        has: which of the three values it gives.
        close: relative difference that its precision explains.
    """

    name: str
    needs: str
    install: str
    preset: str
    computes: str
    score: Score
    most_classes: int = 1000
    differs: str = ""
    has: tuple[bool, bool, bool] = (True, True, True)
    close: float = 1e-9

    def why_not(self, task: MetricTask) -> str:
        """Why it does not take part, or nothing."""
        if why := not_installed(self.needs, f"pip install {self.install}"):
            return why
        if len(task.labels) > self.most_classes:
            return f"not run: {len(task.labels)} classes one after another take minutes"
        return ""


def ours(preset: str) -> Score:
    """The three metrics of this package."""
    named = {"hausdorff95": {}, "average_symmetric_surface_distance": {},
             "normalized_surface_dice": {"tolerance_mm": TOLERANCE_MM}}  # fmt: skip
    metrics = [(host().metrics.find(name).load(), options) for name, options in named.items()]

    def score(task: MetricTask) -> Values:
        case = Case(
            task.reference,
            task.prediction,
            labels=task.labels,
            spacing_mm=task.spacing_mm,
            preset=preset,
        )
        found = [case.surfaces(label) for label in task.labels]
        return np.array(
            [[metric(each, **options) for metric, options in metrics] for each in found]
        )

    return score


def _exacta(surface: str) -> Score:
    def score(task: MetricTask) -> Values:
        chosen: dict[str, dict[str, Any]] = {
            name: {"surface": surface} for name in ("hd95", "assd")
        }
        chosen["nsd"] = {"surface": surface, "tolerance": TOLERANCE_MM}
        found = import_module("exacta.functional").evaluate(
            task.prediction[None],
            task.reference[None],
            metrics=chosen,
            spacing=task.spacing_mm,
            num_classes=max(task.labels) + 1,
            include_background=False,
        )
        rows = [label - 1 for label in task.labels]
        columns = [np.asarray(found[name])[0][rows] for name in ("hd95", "assd", "nsd")]
        return np.stack(columns, axis=1)

    return score


def _each(one: Callable[[Any, Any, MetricTask], Sequence[float]]) -> Score:
    """One class after another, as a package of binary masks is used."""

    def score(task: MetricTask) -> Values:
        return np.array(
            [one(task.reference == n, task.prediction == n, task) for n in task.labels], dtype=float
        )

    return score


def _monai(reference: Any, prediction: Any, task: MetricTask) -> Sequence[float]:
    metrics, torch = import_module("monai.metrics"), import_module("torch")
    y, y_pred = (torch.from_numpy(mask)[None, None] for mask in (reference, prediction))
    options = {"include_background": True, "spacing": list(task.spacing_mm)}
    return (
        float(metrics.compute_hausdorff_distance(y_pred, y, percentile=95, **options)),
        float(metrics.compute_average_surface_distance(y_pred, y, symmetric=True, **options)),
        float(metrics.compute_surface_dice(y_pred, y, [TOLERANCE_MM], **options)),
    )


def _deepmind(reference: Any, prediction: Any, task: MetricTask) -> Sequence[float]:
    package = import_module("surface_distance")
    found = package.compute_surface_distances(reference, prediction, task.spacing_mm)
    means = package.compute_average_surface_distance(found)
    areas = [found[f"surfel_areas_{which}"].sum() for which in ("gt", "pred")]
    return (
        package.compute_robust_hausdorff(found, 95),
        float(np.average(means, weights=areas)),
        package.compute_surface_dice_at_tolerance(found, TOLERANCE_MM),
    )


def _medpy(reference: Any, prediction: Any, task: MetricTask) -> Sequence[float]:
    binary = import_module("medpy.metric.binary")
    masks = (prediction, reference, task.spacing_mm)
    return binary.hd95(*masks), binary.assd(*masks), NAN


def _mikan(task: MetricTask) -> Values:
    evaluator = import_module("mikan").ArrayEvaluator(
        task.reference, task.prediction, task.spacing_mm[::-1]
    )
    chosen = evaluator.labels(list(task.labels))
    found = chosen.metrics(["hd95", "assd"])
    rows = [found] if isinstance(found, list) else [list(each.values()) for each in found.values()]
    return np.array([(*row, NAN) for row in rows])


def _panoptica(task: MetricTask) -> Values:
    module = import_module("panoptica")
    module.disable_citation_reminder()
    chosen = [module.Metric.HD95, module.Metric.ASSD, module.Metric.NSD]
    evaluator = module.Panoptica_Evaluator(
        expected_input=module.InputType.MATCHED_INSTANCE, instance_metrics=chosen
    )
    found = evaluator.evaluate(task.prediction, task.reference, voxelspacing=task.spacing_mm)
    result = found["ungrouped"]
    mode = module.MetricMode.ALL
    return np.array([result.get_list_metric(metric, mode) for metric in chosen]).T


@functools.cache
def rivals() -> tuple[MetricRival, ...]:
    """All of them."""
    monai = "compute_hausdorff_distance, compute_average_surface_distance, compute_surface_dice"
    return (
        MetricRival(
            "exacta, voxels",
            "exacta",
            "exacta==0.0.1a5",
            "monai",
            "exacta.functional.evaluate, surface='voxels'",
            _exacta("voxels"),
        ),
        MetricRival(
            "exacta, surfels",
            "exacta",
            "exacta==0.0.1a5",
            "deepmind",
            "exacta.functional.evaluate, surface='surfels'",
            _exacta("surfels"),
        ),
        MetricRival(
            "exacta, mesh",
            "exacta",
            "exacta==0.0.1a5",
            "exact",
            "exacta.functional.evaluate, surface='mesh'",
            _exacta("mesh"),
            differs="it looks at the middle of each triangle of another surface, discrete marching "
            "cubes; ours at 16 points of each face",
        ),
        MetricRival(
            "MONAI",
            "monai",
            "monai",
            "monai",
            f"{monai}, class by class; they compute in float32",
            _each(_monai),
            most_classes=20,
            close=1e-5,
        ),
        MetricRival(
            "surface-distance",
            "surface_distance",
            "surface-distance",
            "deepmind",
            "DeepMind's package, class by class",
            _each(_deepmind),
            most_classes=20,
        ),
        MetricRival(
            "mikan-rs",
            "mikan",
            "mikan-rs",
            "monai",
            "mikan.ArrayEvaluator, HD95 and ASSD (it has no NSD)",
            _mikan,
            most_classes=20,
            differs="it does not count the edge of the image as surface; no NSD",
        ),
        MetricRival(
            "panoptica",
            "panoptica",
            "panoptica",
            "medpy",
            "panoptica.Panoptica_Evaluator on matched instances, HD95, ASSD and NSD",
            _panoptica,
            most_classes=20,
            differs="its ASSD is the mean of the means, its NSD has a tolerance of its own, and it "
            "leaves out classes without overlap",
        ),
        MetricRival(
            "MedPy",
            "medpy",
            "medpy",
            "medpy",
            "medpy.metric.binary hd95 and assd (it has no NSD), class by class",
            _each(_medpy),
            most_classes=1,
            has=(True, True, False),
        ),
    )
