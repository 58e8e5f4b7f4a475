"""Metrics with ``preset="monai"`` against MONAI's own, with every kind of empty class."""

from __future__ import annotations

import math
import warnings

import monai.metrics
import pytest
import torch

import medloss.metrics as ours
from medloss.offers.records import Metric
from medloss.scoring import Counts
from medloss.scoring.adapter import adapt
from medloss.scoring.grid_steps import StepsCase

SPACING = (0.8, 1.1, 2.5)
REDUCTIONS = ("none", "mean", "sum", "mean_batch", "sum_batch", "mean_channel", "sum_channel")


def scenes(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and references (B, 4, ...) one-hot: classes found, missed, spurious, in neither,
    a class that fills the image and an image that is background alone."""
    generator = torch.Generator().manual_seed(seed)
    shape = (6, 7, 5)
    y_pred, y = (torch.randint(0, 4, (7, *shape), generator=generator) for _ in range(2))
    y[1][y[1] == 2] = 0  # spurious
    y_pred[2][y_pred[2] == 3] = 0  # missed
    y_pred[3][y_pred[3] == 1] = y[3][y[3] == 1].new_tensor(0)
    y[3][y[3] == 1] = 0  # in neither
    y[4] = 2  # full
    y_pred[5], y[5] = 0, 0  # background alone
    y_pred[6] = 0  # everything missed
    hot = [torch.nn.functional.one_hot(m, 4).movedim(-1, 1).float() for m in (y_pred, y)]
    return hot[0], hot[1]


Y_PRED, Y = scenes()
OVERLAP = {
    "DiceMetric": (ours.DiceMetric, monai.metrics.DiceMetric),
    "MeanIoU": (ours.JaccardMetric, monai.metrics.MeanIoU),
}


def compared(mine, theirs, **call):
    """Buffers and aggregates of both; MONAI warns of empty classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs(Y_PRED, Y, **call)
    mine(Y_PRED, Y, **call)
    same(mine.get_buffer(), theirs.get_buffer())
    for reduction in REDUCTIONS:
        for one, other in zip(mine.aggregate(reduction), theirs.aggregate(reduction), strict=True):
            same(one, other)


def same(mine, theirs):
    torch.testing.assert_close(mine.float(), theirs.float(), rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("ignore_empty", [True, False])
@pytest.mark.parametrize("name", OVERLAP)
def test_overlap_is_monais_by_position(name, ignore_empty, background):
    mine, theirs = OVERLAP[name]
    given = (background, "mean", True, ignore_empty)
    compared(mine(*given, preset="monai"), theirs(*given))


@pytest.mark.parametrize("name", OVERLAP)
def test_ignore_empty_means_the_same_without_the_preset(name):
    mine, theirs = OVERLAP[name]
    for ignore_empty in (True, False):
        metric = mine(ignore_empty=ignore_empty)
        metric(Y_PRED, Y)
        reference = theirs(ignore_empty=ignore_empty)
        reference(Y_PRED, Y)
        same(metric.get_buffer(), reference.get_buffer())


def test_a_class_that_is_predicted_but_absent_from_the_reference():
    y = torch.zeros(1, 1, 6, 6, dtype=torch.long)
    y[0, 0, :2] = 1
    y_pred = y.clone()
    y_pred[0, 0, 4:] = 2
    values = {}
    for name, options in {
        "default": {},
        "monai": {"preset": "monai"},
        "ignored": {"ignore_empty": True},
        "counted": {"preset": "monai", "ignore_empty": False},
    }.items():
        metric = ours.DiceMetric(include_background=False, num_classes=3, **options)
        metric(y_pred, y)
        values[name] = metric.aggregate().item()
    assert values == {"default": 0.5, "monai": 1.0, "ignored": 1.0, "counted": 0.5}


def test_a_label_map_is_the_reference_of_channels():
    y = Y.argmax(1, keepdim=True)
    ignored = torch.zeros_like(y, dtype=torch.bool)
    ignored[..., :2] = True
    for make, call in (
        (ours.DiceMetric, {}),
        (ours.JaccardMetric, {}),
        (ours.HausdorffMetric, {"spacing": SPACING}),
        (ours.LesionF1Metric, {"spacing": SPACING}),
        (ours.DiceMetric, {"mask": ~ignored}),
    ):
        for label_map in (y, y.float(), y.to(torch.uint8)):
            expected = make(preset="monai")(Y_PRED, Y, **call)
            torch.testing.assert_close(
                make(preset="monai")(Y_PRED, label_map, **call), expected, equal_nan=True
            )
    for background in (True, False):
        theirs = monai.metrics.DiceMetric(include_background=background)(Y_PRED, y)
        same(ours.DiceMetric(include_background=background, preset="monai")(Y_PRED, y), theirs)
    found = ours.ExpectedCalibrationErrorMetric()
    torch.testing.assert_close(found(Y_PRED, y), found(Y_PRED, Y), equal_nan=True)
    with pytest.raises(ValueError, match=r"^y: expected label maps of whole numbers from 0 to 3"):
        ours.DiceMetric()(Y_PRED, y + 1)
    with pytest.raises(TypeError, match="y: expected a tensor, or a list of them, got an array"):
        ours.DiceMetric()(Y_PRED, y.numpy())
    with pytest.raises(ValueError, match="y_pred: expected 4 channels, got 1"):
        ours.DiceMetric()(y.float(), Y)


# MONAI's cases of its metrics, retold: what is in y and y_pred, options, and the value.
RETOLD = [
    ("DiceMetric", [[1, 0], [0, 1]], [[1, 0], [1, 1]], {}, 0.8),
    ("JaccardMetric", [[1, 0], [0, 1]], [[1, 0], [1, 1]], {}, 2 / 3),
    ("DiceMetric", [[0, 0], [0, 0]], [[0, 0], [0, 0]], {"ignore_empty": False}, 1.0),
    ("DiceMetric", [[1, 1], [1, 1]], [[0, 0], [0, 0]], {"ignore_empty": False}, 0.0),
    ("DiceMetric", [[1, 1], [1, 1]], [[0, 0], [0, 0]], {}, math.nan),
    ("HausdorffMetric", [[1, 0, 0, 0]], [[0, 0, 0, 1]], {}, 3.0),
    ("HausdorffMetric", [[1, 1, 0, 0]], [[1, 1, 1, 1]], {"directed": True}, 0.0),
    ("HausdorffMetric", [[0, 0]], [[1, 0]], {"directed": True}, math.inf),
    ("AverageSurfaceDistanceMetric", [[1, 1, 0, 0]], [[1, 1, 1, 1]], {}, 0.0),
    ("AverageSymmetricSurfaceDistanceMetric", [[1, 1, 0, 0]], [[1, 1, 1, 1]], {}, 0.5),
    ("NormalizedSurfaceDiceMetric", [[1, 1, 0, 0]], [[1, 1, 1, 1]], {}, 5 / 6),
]


@pytest.mark.parametrize(("name", "y_pred", "y", "options", "expected"), RETOLD)
def test_cases_of_monais_tests(name, y_pred, y, options, expected):
    metric = getattr(ours, name)(preset="monai", spacing_mm="voxel", **options)
    found = metric(*(torch.tensor(m)[None, None].float() for m in (y_pred, y)))
    assert found.item() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("background", [True, False])
def test_distances_are_monais(background):
    options = {"include_background": background, "get_not_nans": True}
    pairs = [
        (ours.HausdorffMetric(preset="monai", **options), {"percentile": None}),
        (ours.Hausdorff95Metric(preset="monai", **options), {"percentile": 95}),
        (ours.HausdorffMetric(percentile=80, preset="monai", **options), {"percentile": 80}),
        (
            ours.HausdorffMetric(percentile=95, directed=True, preset="monai", **options),
            {"percentile": 95, "directed": True},
        ),
        (
            ours.HausdorffMetric(directed=True, preset="monai", **options),
            {"percentile": None, "directed": True},
        ),
    ]
    for mine, own in pairs:
        compared(mine, monai.metrics.HausdorffDistanceMetric(**own, **options), spacing=SPACING)
    for mine, symmetric in (
        (ours.AverageSurfaceDistanceMetric, False),
        (ours.AverageSymmetricSurfaceDistanceMetric, True),
    ):
        theirs = monai.metrics.SurfaceDistanceMetric(symmetric=symmetric, **options)
        compared(mine(preset="monai", **options), theirs, spacing=SPACING)
    thresholds = [1.1] * (4 if background else 3)
    theirs = monai.metrics.SurfaceDiceMetric(thresholds, **options)
    mine = ours.NormalizedSurfaceDiceMetric(tolerance_mm=1.1, preset="monai", **options)
    compared(mine, theirs, spacing=SPACING)


@pytest.mark.parametrize("steps", ["chessboard", "taxicab"])
def test_steps_of_the_grid_are_monais(steps):
    both = {"get_not_nans": True, "distance_metric": steps}
    options = {"preset": "monai", **both}
    hausdorff = monai.metrics.HausdorffDistanceMetric
    surface = monai.metrics.SurfaceDistanceMetric
    for mine, theirs in (
        (ours.HausdorffMetric(**options), hausdorff(**both)),
        (ours.Hausdorff95Metric(**options), hausdorff(percentile=95, **both)),
        (ours.HausdorffMetric(directed=True, **options), hausdorff(directed=True, **both)),
        (ours.AverageSurfaceDistanceMetric(**options), surface(**both)),
        (ours.AverageSymmetricSurfaceDistanceMetric(**options), surface(symmetric=True, **both)),
        (
            ours.NormalizedSurfaceDiceMetric(class_thresholds=[1, 2, 1], **options),
            monai.metrics.SurfaceDiceMetric([1, 2, 1], **both),
        ),
    ):
        compared(mine, theirs, spacing=SPACING)
        found = mine.get_buffer()
        torch.testing.assert_close(mine(Y_PRED, Y), found, rtol=0, atol=0, equal_nan=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for y_pred, y in ((Y_PRED, Y), (Y_PRED[..., 2], Y[..., 2])):  # exactly, in 3D and 2D
            found = ours.HausdorffMetric(**options)(y_pred, y)
            expected = hausdorff(**both)(y_pred, y)
            torch.testing.assert_close(found.float(), expected, rtol=0, atol=0, equal_nan=True)
        kept = torch.ones_like(Y[:, :1])
        kept[..., 3:] = 0
        expected = hausdorff(**both)(Y_PRED * kept, Y * kept)
        same(ours.HausdorffMetric(**options)(Y_PRED, Y, mask=kept), expected)


def test_steps_of_the_grid_are_refused_elsewhere():
    for options, words in (
        ({"preset": "deepmind"}, "expected 'euclidean' unless preset='monai', got 'taxicab'"),
        ({"preset": "monai", "missed": "diagonal"}, "missed: expected 'inf', 'exclude' or a numb"),
        ({"distance_metric": "manhattan"}, "expected one of euclidean, chessboard, taxicab"),
    ):
        with pytest.raises(ValueError, match=words):
            ours.HausdorffMetric(**{"distance_metric": "taxicab", **options})
    with pytest.raises(TypeError, match="no option 'distance_metric'"):
        ours.BoundaryIouMetric(preset="monai", distance_metric="taxicab")
    metric = ours.HausdorffMetric(preset="monai", distance_metric="taxicab", missed=40)
    assert metric(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)).item() == 40
    maps = Y.argmax(1)[0], Y_PRED.argmax(1)[0]
    one, other = (
        StepsCase(*each, steps="taxicab", labels=[1], preset="monai").surfaces(1)
        for each in (maps, [m.numpy() for m in maps])
    )
    assert one.reference_mm.tolist() == other.reference_mm.tolist()
    with pytest.raises(ValueError, match="distance_metric: expected 'euclidean' for boundary"):
        one.band(1.0)


@pytest.mark.parametrize(
    ("mine", "name"),
    [
        (ours.SensitivityMetric, "sensitivity"),
        (ours.SpecificityMetric, "specificity"),
        (ours.PrecisionMetric, "precision"),
        (ours.AccuracyMetric, "accuracy"),
        (ours.MccMetric, "matthews correlation coefficient"),
    ],
)
def test_ratios_are_those_of_monais_confusion_matrix_of_each_sample(mine, name):
    matrix = monai.metrics.ConfusionMatrixMetric(
        metric_name=name, compute_sample=True, get_not_nans=True
    )
    matrix(Y_PRED, Y)
    metric = mine(get_not_nans=True, preset="monai")
    metric(Y_PRED, Y)
    for reduction in REDUCTIONS:
        ((value, counted),) = matrix.aggregate(compute_sample=True, reduction=reduction)
        same(metric.aggregate(reduction)[0], value)
        if reduction != "none":
            same(metric.aggregate(reduction)[1], counted)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # MONAI calls itself with an old argument
def test_surfaces_of_ignored_voxels_are_monais():
    y = Y.argmax(1, keepdim=True)[:1].clone()
    y_pred = Y_PRED.argmax(1, keepdim=True)[:1].clone()
    y[..., 3:] = 9
    kept = (y != 9).float()
    hot = [
        torch.nn.functional.one_hot(m[:, 0] % 9, 4).movedim(-1, 1).float() * kept
        for m in (y_pred, y)
    ]
    theirs = monai.metrics.HausdorffDistanceMetric()(*hot, spacing=SPACING)
    metric = ours.HausdorffMetric(num_classes=4, ignore_index=9, preset="monai")
    same(metric(y_pred, y, spacing=SPACING), theirs)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("ignored", [0, 2, 9])
def test_dice_of_what_is_not_ignored_is_monais(ignored):
    y, y_pred = Y.argmax(1, keepdim=True), Y_PRED.argmax(1, keepdim=True)
    y[..., :1] = ignored
    options = {"num_classes": 4, "ignore_index": ignored}
    mine = ours.DiceMetric(preset="monai", **options)
    same(mine(y_pred, y), monai.metrics.DiceMetric(**options)(y_pred, y))


def test_names_of_labels():
    for background, names in ((True, True), (False, True), (False, ["a", "b", "c"])):
        options = {
            "include_background": background,
            "reduction": "mean_batch",
            "return_with_label": names,
        }
        mine, theirs = (
            ours.DiceMetric(preset="monai", **options),
            monai.metrics.DiceMetric(**options),
        )
        mine(Y_PRED, Y)
        theirs(Y_PRED, Y)
        found, expected = mine.aggregate(), theirs.aggregate()
        assert list(found) == list(expected)
        assert list(found.values()) == pytest.approx(list(expected.values()), abs=1.1e-4)


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(ValueError, match="return_with_label: expected reduction='mean_batch'"):
        ours.DiceMetric(return_with_label=True)
    metric = ours.DiceMetric(reduction="mean_batch", return_with_label=["one", "two"])
    metric(Y_PRED, Y)
    with pytest.raises(ValueError, match="return_with_label: expected a name for each of 4"):
        metric.aggregate()
    with pytest.raises(ValueError, match="per_component: expected False"):
        ours.DiceMetric(per_component=True)
    with pytest.raises(ValueError, match="ignore_empty: expected it without both_empty"):
        ours.DiceMetric(ignore_empty=True, both_empty="perfect")
    with pytest.raises(TypeError, match="HausdorffMetric has no option 'ignore_empty'"):
        ours.HausdorffMetric(ignore_empty=True)
    # the order of another metric of MONAI is no order of this one
    for call, named in (
        (lambda: ours.HausdorffMetric(False, "euclidean", 95), "reduction"),
        (lambda: ours.AverageSurfaceDistanceMetric(False, True), "reduction"),
    ):
        with pytest.raises(ValueError, match=f"^{named}: expected"):
            call()
    for call, named in (
        (lambda: ours.NormalizedSurfaceDiceMetric([1.0]), "include_background"),
        (lambda: ours.PanopticQualityMetric(2), "include_background"),
        (lambda: ours.DiceMetric(include_background="false"), "include_background"),
        (lambda: ours.DiceMetric(get_not_nans=1), "get_not_nans"),
        (lambda: ours.DiceMetric(num_classes=True), "num_classes"),
    ):
        with pytest.raises(TypeError, match=f"^{named}: expected"):
            call()
    with pytest.raises(TypeError, match="by position"):
        ours.SensitivityMetric(True, "mean", False, True)
    with pytest.raises(TypeError, match="reduction is given twice"):
        ours.DiceMetric(True, "mean", reduction="sum")


def test_the_default_aggregates_nothing_to_nan_and_monai_to_0():
    y = torch.zeros(1, 2, 5, 5)
    for preset, expected in (("deepmind", math.nan), ("monai", 0.0)):
        metric = ours.DiceMetric(include_background=False, preset=preset)
        metric(y, y)
        assert metric.aggregate().item() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("background", [False, True])
def test_a_threshold_for_each_class(background):
    limits = [1.5, 0.0, 2.5, 1.1][not background :]
    theirs = monai.metrics.SurfaceDiceMetric(limits, background, reduction="none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs(Y_PRED, Y, spacing=SPACING)
    shared = {"include_background": background, "reduction": "none", "preset": "monai"}
    numbered = {n + (not background): limit for n, limit in enumerate(limits)}
    for given in (limits, tuple(limits), torch.tensor(limits, dtype=torch.float64), numbered):
        metric = ours.NormalizedSurfaceDiceMetric(class_thresholds=given, **shared)
        torch.testing.assert_close(
            metric(Y_PRED, Y, spacing=SPACING), expected, check_dtype=False, equal_nan=True
        )
    assert torch.equal(metric.get_buffer().isnan(), expected.isnan())
    metric = ours.NormalizedSurfaceDiceMetric(tolerance_mm=limits, num_classes=4, **shared)
    labels = (each.argmax(1, keepdim=True) for each in (Y_PRED, Y))
    torch.testing.assert_close(
        metric(*labels, spacing=SPACING), expected, check_dtype=False, equal_nan=True
    )


def test_another_number_of_thresholds_is_refused():
    for given in ([1.0, 2.0], {1: 1.0, 2: 2.0}, {0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}):
        metric = ours.NormalizedSurfaceDiceMetric(class_thresholds=given)
        with pytest.raises(ValueError, match="tolerance_mm: expected a value for each of the cl"):
            metric(Y_PRED, Y, spacing=SPACING)
    with pytest.raises(ValueError, match="of at least 0, got 'a'"):
        ours.NormalizedSurfaceDiceMetric(tolerance_mm=[1, "a"])
    with pytest.raises(ValueError, match="tolerance_mm: expected a distance of at least 0, got -1"):
        ours.NormalizedSurfaceDiceMetric(tolerance_mm=[1.0, -1.0])
    with pytest.raises(ValueError, match="tolerance_mm: expected a value for each class, got none"):
        ours.NormalizedSurfaceDiceMetric(tolerance_mm=[])
    with pytest.raises(TypeError, match="class_thresholds and tolerance_mm are one option"):
        ours.NormalizedSurfaceDiceMetric(tolerance_mm=1.0, class_thresholds=[1.0])
    with pytest.raises(TypeError, match="has no option 'class_thresholds'"):
        ours.BoundaryIouMetric(class_thresholds=[1.0])


def share(counts: Counts, *, weight: float = 1.0) -> float:
    return weight * counts.reference / counts.voxels


def test_a_number_for_each_class_where_a_batch_is_counted_at_once():
    record = Metric(
        name="share", target="m:f", family="x", summary="-", facts=("counts",), better="lower"
    )
    metric = adapt(record, share)
    found = metric(weight=[1.0, 2.0, 0.5], include_background=False)(Y_PRED, Y)
    plain = metric(include_background=False)(Y_PRED, Y)
    torch.testing.assert_close(found, plain * plain.new_tensor([1.0, 2.0, 0.5]))
