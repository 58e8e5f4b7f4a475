"""Run MONAI's own tests with medloss's classes in place of MONAI's, and say what fails and why.

    git clone --depth 1 --branch 1.6.1 https://github.com/Project-MONAI/MONAI
    pip install parameterized
    python docs/examples/monais_tests.py MONAI

MONAI itself is the installed one. Each swapped class is made with ``preset="monai"``. The exit code
is 1 if a test fails that is not among those that :data:`KNOWN` explains, or if one of these passes.
"""

from __future__ import annotations

import fnmatch
import importlib
import sys
import unittest
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import medloss.metrics as ours

Maker = Callable[..., Any]


def not_offered(what: str) -> Any:
    """End a test that asks for what medloss has under no name."""
    raise unittest.SkipTest(f"medloss does not offer {what}")


def check_offered(ignore_index: int | None) -> None:
    """End a test that ignores a channel."""
    if ignore_index is not None:
        not_offered("ignore_index of one-hot references: give a mask")


def hausdorff(
    include_background: bool = False,
    distance_metric: str = "euclidean",
    percentile: float | None = None,
    directed: bool = False,
    reduction: Any = "mean",
    get_not_nans: bool = False,
    ignore_index: int | None = None,
) -> Any:
    """HausdorffDistanceMetric of MONAI; a percentile of 0 means the maximum there."""
    check_offered(ignore_index)
    given = include_background, reduction, get_not_nans
    options = {"percentile": percentile or 100.0, "directed": directed}
    options |= {"preset": "monai", "spacing_mm": "voxel", "distance_metric": distance_metric}
    return ours.HausdorffMetric(*given, **options)


def surface_distance(
    include_background: bool = False,
    symmetric: bool = False,
    distance_metric: str = "euclidean",
    reduction: Any = "mean",
    get_not_nans: bool = False,
    ignore_index: int | None = None,
) -> Any:
    """SurfaceDistanceMetric of MONAI: one way, or both."""
    check_offered(ignore_index)
    made = (
        ours.AverageSymmetricSurfaceDistanceMetric
        if symmetric
        else ours.AverageSurfaceDistanceMetric
    )
    given = include_background, reduction, get_not_nans
    return made(*given, preset="monai", spacing_mm="voxel", distance_metric=distance_metric)


def surface_dice(
    class_thresholds: list[float],
    include_background: bool = False,
    distance_metric: str = "euclidean",
    reduction: Any = "mean",
    get_not_nans: bool = False,
    use_subvoxels: bool = False,
    ignore_index: int | None = None,
) -> Any:
    """SurfaceDiceMetric of MONAI; its subvoxels are the surface of another preset."""
    check_offered(ignore_index)
    return ours.NormalizedSurfaceDiceMetric(
        include_background,
        reduction,
        get_not_nans,
        class_thresholds=class_thresholds,
        spacing_mm="voxel",
        distance_metric=distance_metric,
        **({"preset": "deepmind", "missed": "inf"} if use_subvoxels else {"preset": "monai"}),
    )


def as_function(make: Maker) -> Maker:
    """What MONAI has as a function too: values of each case and class."""

    def compute(y_pred: Any, y: Any, *given: Any, spacing: Any = None, **options: Any) -> Any:
        metric = make(*given, **options)
        return metric(y_pred, y) if spacing is None else metric(y_pred, y, spacing=spacing)

    return compute


def dice(*given: Any, **options: Any) -> Any:
    """DiceMetric of MONAI."""
    if options.get("per_component"):
        not_offered("per_component of DiceMetric, which is a metric of its own")
    return ours.DiceMetric(*given, preset="monai", **options)


def iou(*given: Any, **options: Any) -> Any:
    """MeanIoU of MONAI."""
    return ours.JaccardMetric(*given, preset="monai", **options)


RATIOS = {
    "tpr": ours.SensitivityMetric,
    "tnr": ours.SpecificityMetric,
    "ppv": ours.PrecisionMetric,
    "acc": ours.AccuracyMetric,
    "mcc": ours.MccMetric,
    "f1": ours.DiceMetric,
    "ts": ours.JaccardMetric,
}
"""Ratios of ConfusionMatrixMetric that are metrics of their own."""


class ConfusionMatrix:
    """ConfusionMatrixMetric of MONAI, of each sample: one metric for each ratio."""

    def __init__(
        self, metric_name: str | list[str] = "tpr", compute_sample: bool = False, **options: Any
    ) -> None:
        names = [metric_name] if isinstance(metric_name, str) else metric_name
        for name in names:
            if name not in RATIOS:
                not_offered(f"{name!r} of ConfusionMatrixMetric")
        if not compute_sample:
            not_offered("ConfusionMatrixMetric of all samples together")
        self.metrics = [RATIOS[name](preset="monai", **options) for name in names]

    def __call__(self, y_pred: Any, y: Any) -> None:
        """Score a batch."""
        for metric in self.metrics:
            metric(y_pred, y)

    def aggregate(self) -> list[Any]:
        """Of each ratio."""
        return [metric.aggregate() for metric in self.metrics]


SWAPPED: dict[str, Mapping[str, Maker]] = {
    "metrics": {
        "DiceMetric": dice,
        "MeanIoU": iou,
        "ConfusionMatrixMetric": ConfusionMatrix,
        "HausdorffDistanceMetric": hausdorff,
        "SurfaceDistanceMetric": surface_distance,
        "SurfaceDiceMetric": surface_dice,
        "compute_dice": as_function(dice),
        "compute_iou": as_function(iou),
        "compute_hausdorff_distance": as_function(hausdorff),
        "compute_average_surface_distance": as_function(surface_distance),
    },
}
"""By the module of MONAI, what takes the place of its names."""

FILES = {
    "metrics": (
        "test_compute_confusion_matrix.py",
        "test_compute_meandice.py",
        "test_compute_meaniou.py",
        "test_hausdorff_distance.py",
        "test_surface_distance.py",
        "test_surface_dice.py",
    ),
}
"""Tests of these names, in the folder of the module."""

KNOWN: dict[str, str] = {
    "metrics.test_surface_dice.*.test_asserts": "what is wrong is refused in other words",
}
"""Tests that fail, by patterns of their names, and why."""


def main(checkout: Path) -> int:
    """Swap, run and tell."""
    warnings.simplefilter("ignore")
    sys.path.append(str(checkout))  # behind the installed MONAI
    suite, loader = unittest.TestSuite(), unittest.defaultTestLoader
    for module, names in SWAPPED.items():
        importlib.import_module(f"monai.{module}")
        inside = [each for name, each in sys.modules.items() if name.startswith(f"monai.{module}")]
        for name, made in names.items():
            for each in inside:  # some tests import from the package, some from a module of it
                if hasattr(each, name):
                    setattr(each, name, made)
        for file in FILES[module]:
            suite.addTest(loader.loadTestsFromName(f"tests.{module}.{Path(file).stem}"))
    result = unittest.TestResult()
    suite.run(result)
    failed = {
        test.id().removeprefix("tests."): text.strip().splitlines()[-1]
        for test, text in (*result.failures, *result.errors)
    }
    unknown = 0
    for test, last in failed.items():
        reason = next((why for what, why in KNOWN.items() if fnmatch.fnmatch(test, what)), "")
        unknown += not reason
        print(f"{test}\n    {last[:200]}\n    {reason or 'NOT EXPLAINED'}")
    for what in KNOWN:
        if not any(fnmatch.fnmatch(test, what) for test in failed):
            unknown += 1
            print(f"{what}\n    passes, and was known to fail")
    skipped = sorted({why for _, why in result.skipped})
    print(
        f"{result.testsRun} tests: {len(failed)} failed, {unknown} of them without a known "
        f"reason; {len(result.skipped)} not run:"
    )
    print("\n".join(f"    {why}" for why in skipped))
    return int(unknown > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
