"""Run MONAI's own tests with medloss's classes in place of MONAI's, and say what fails and why.

    git clone --depth 1 --branch 1.6.1 https://github.com/Project-MONAI/MONAI
    pip install parameterized
    python docs/examples/monais_tests.py MONAI

MONAI itself is the installed one. Metrics are made with ``preset="monai"``; losses are the plain
classes, some with the options of :data:`OPTIONS`. The exit code is 1 if a test fails that is not
among those that :data:`KNOWN` explains, or if one of these passes.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib
import inspect
import sys
import unittest
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import monai.losses
import torch

import medloss.losses
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


_SHAPE = {"keepdim": True}
_VOXELS = {"spacing_mm": "voxel", "empty": "zero"}
OPTIONS: dict[str, dict[str, Any]] = {
    "Dice": _SHAPE,
    "DiceLoss": _SHAPE,
    "MaskedDiceLoss": _SHAPE,
    "GeneralizedDiceLoss": _SHAPE,
    "generalized_dice": _SHAPE,
    "HausdorffDTLoss": _SHAPE | _VOXELS,
    "LogHausdorffDTLoss": _SHAPE | _VOXELS,
    "BoundaryLoss": {**_VOXELS, "convention": "kervadec"},
    "DeepSupervisionLoss": {"normalize": False},
}
"""Options under which losses have MONAI's shapes and numbers."""


def losses() -> Iterator[tuple[str, Maker]]:
    """Every loss of MONAI that medloss has under the same name."""
    for name, each in vars(monai.losses).items():
        if inspect.isclass(each) and name in dir(medloss.losses):
            yield name, functools.partial(getattr(medloss.losses, name), **OPTIONS.get(name, {}))


SWAPPED: dict[str, Mapping[str, Maker]] = {
    "losses": dict(losses()),
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
    "losses": (
        "test_boundary_loss.py",
        "test_cldice_loss.py",
        "test_dice_ce_loss.py",
        "test_dice_focal_loss.py",
        "test_dice_loss.py",
        "test_ds_loss.py",
        "test_focal_loss.py",
        "test_generalized_dice_focal_loss.py",
        "test_generalized_dice_loss.py",
        "test_generalized_wasserstein_dice_loss.py",
        "test_hausdorff_loss.py",
        "test_ignore_index_losses.py",
        "test_masked_dice_loss.py",
        "test_masked_loss.py",
        "test_mcc_loss.py",
        "test_multi_scale.py",
        "test_nacl_loss.py",
        "test_tversky_loss.py",
        "test_unified_focal_loss.py",
    ),
    "metrics": (
        "test_compute_confusion_matrix.py",
        "test_compute_meandice.py",
        "test_compute_meaniou.py",
        "test_hausdorff_distance.py",
        "test_surface_distance.py",
        "test_surface_dice.py",
    ),
}
"""Tests of these names, in the folder of the module; some are of a newer MONAI than others."""

REASONS: dict[str, str] = {
    "without an activation values outside [0, 1] are refused": """
        dice_ce.*.test_result_[345] dice_focal.*.test_result_onehot_target_include_bg
        dice_focal.*.test_with_alpha_* dice.*.test_shape_1[2-7] generalized_dice.*.test_shape_1[23]
        generalized_dice_focal.*.test_result_* hausdorff.*.test_shape_1[0-4] masked.*.test_shape_0
        tversky.*.test_shape_1[345] boundary.*.test_runs_7 mcc.*.test_shape_12
        ignore_index.*.test_*_3 ignore_index.*.test_loss_ignore_class_index_[67]
    """,
    "TorchScript is not supported; torch.compile is": """
        dice_focal.*.test_script dice.*.test_script ds.*.test_script focal.*.test_script
        generalized_dice.*.test_script generalized_dice_focal.*.test_script
        generalized_wasserstein_dice.*.test_script masked.*.test_script mcc.*.test_script
        multi_scale.*.test_script tversky.*.test_script
    """,
    "softmax over a single channel is refused: MONAI takes the logits as they are": """
        dice.*.test_input_warnings generalized_dice.*.test_input_warnings
        hausdorff.*.test_input_warnings_1 masked_dice.*.test_input_warnings
        tversky.*.test_input_warnings_1 mcc.*.test_input_warnings_1
        boundary.*.test_single_channel_*
    """,
    "without an activation MONAI's cross entropy and focal term see logits where Dice sees "
    "probabilities; here all terms see probabilities": """
        dice_ce.*.test_result_[012] ds.TestDSLossDiceCE*.test_result_* ds.TestDSLossDiceFocal.*
    """,
    "with softmax MONAI's focal term is one of a sigmoid": """
        dice_focal.*.test_result_no_onehot_no_bg_*
    """,
    "with softmax and without background MONAI leaves out alpha": """
        focal.*.test_warnings
    """,
    "MONAI's smoothing is one of volumes scaled by their squares, which drowns large organs": """
        generalized_dice.*.test_shape_0[13]
    """,
    "MONAI gives 0 without a gradient where no class that counts is present": """
        generalized_dice.*.test_shape_09
    """,
    "MONAI takes the logarithm of the mean over the batch, here of each sample": """
        hausdorff.TesLog*.test_shape_0[4678]
    """,
    "MONAI 1.5.0 masked logits, and masked voxels become background in its one-hot target; "
    "MONAI 1.6.1 fails these too": """
        masked_dice.*.test_shape_[013]
    """,
    "MONAI's value is of 64 bits where the matrix is, so that steps below 1e-7 count": """
        generalized_wasserstein_dice.*.test_convergence
    """,
    "a perfect prediction is set to 0 in MONAI; here it is 3e-7, by smooth_dr, and 1, as chance, "
    "where all voxels are of one kind": """
        mcc.*.test_shape_0[24] mcc.*.test_shape_1[01]
    """,
    "what a class of MONAI has beside the loss": """
        boundary.*.test_degenerate_* boundary.*.test_distance_map_computation
    """,
    "a pooled batch keeps its axis, (1, C) for MONAI's (C,)": """
        boundary.*.test_batch_reduction_*
    """,
    "what is wrong is refused in other words": """
        boundary.*.test_ill_shape metrics.test_surface_dice.*.test_asserts
    """,
}
"""Why tests fail, and which: patterns of their names; ``dice`` is ``losses.test_dice_loss``."""


def full(pattern: str) -> str:
    """A pattern with its module and file."""
    file, _, rest = pattern.partition(".")
    if file == "metrics":
        return pattern
    named = {"ignore_index": "ignore_index_losses", "multi_scale": "multi_scale"}
    return f"losses.test_{named.get(file, f'{file}_loss')}.{rest}"


KNOWN: dict[str, str] = {
    full(tests): reason for reason, all_tests in REASONS.items() for tests in all_tests.split()
}
"""The same by full pattern."""


def tests_in(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """Tests, those of suites inside too."""
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from tests_in(each)
        else:
            yield each


def main(checkout: Path) -> int:
    """Swap, run and tell."""
    warnings.simplefilter("ignore")
    sys.path.append(str(checkout))  # behind the installed MONAI
    tests: list[unittest.TestCase] = []
    loader = unittest.defaultTestLoader
    for module, names in SWAPPED.items():
        importlib.import_module(f"monai.{module}")
        inside = [each for name, each in sys.modules.items() if name.startswith(f"monai.{module}")]
        for name, made in names.items():
            for each in inside:  # some tests import from the package, some from a module of it
                if inspect.isroutine(kind := getattr(each, name, None)) or inspect.isclass(kind):
                    setattr(each, name, made)
        for file in FILES[module]:
            if (checkout / "tests" / module / file).exists():
                tests += tests_in(loader.loadTestsFromName(f"tests.{module}.{Path(file).stem}"))
            else:
                print(f"{module}/{file} is not in this MONAI")
    result = unittest.TestResult()
    for test in tests:
        torch.manual_seed(0)  # whichever went before
        unittest.TestSuite([test]).run(result)
    collected = [test.id().removeprefix("tests.") for test in tests]
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
        if fnmatch.filter(collected, what) and not fnmatch.filter(failed, what):
            unknown += 1
            print(f"{what}\n    passes, and was known to fail")
    for module in SWAPPED:
        some = fnmatch.filter(collected, f"{module}.*")
        fail = fnmatch.filter(failed, f"{module}.*")
        left = [test for test, _ in result.skipped if test.id().startswith(f"tests.{module}.")]
        passed = len(some) - len(fail) - len(left)
        print(
            f"{module}: {len(some)} tests, {passed} passed, {len(fail)} failed, {len(left)} not run"
        )
    print(f"{unknown} without a known reason")
    print("\n".join(sorted({f"not run: {why}" for _, why in result.skipped})))
    return int(unknown > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
