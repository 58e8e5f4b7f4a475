"""One input in all its forms gives one number, for every metric on offer."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

import medloss.metrics
from medloss.objects.planes import PLANES
from medloss.offers.host import host
from medloss.scoring import Case, EmptyPolicy, count_classes, score, surface_distances
from medloss.scoring.probabilities import Probabilities

OFFERS = {offer.record.name: offer for offer in host().metrics}
OPTIONS = {
    "normalized_surface_dice": {"tolerance_mm": 1.1},
    "lesion_f1": {"min_reference_mm3": 20.0, "matching": "iou@0.2"},
    "lesion_dice": {"dilation_voxels": 1},
    "lesion_hausdorff95": {"matching": "near@1", "connectivity": "edges"},
    "lesion_normalized_surface_dice": {"matching": "dice@0", "tolerance_mm": 1.1},
    "hausdorff": {"percentile": 90.0},
}
SPACING = (0.8, 1.1, 2.5)
THINNED = ("cl_dice",)  # thinning takes voxels in one direction after the other
SLICED = ("added_path_length",)  # along one axis


def maps(seed=4, shape=(9, 8, 7)):
    """Two maps of three rough classes, another class in one of them only."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.random((4, *shape)), (0, *[1] * len(shape)))
    reference = noise.argmax(axis=0)
    prediction = np.where(rng.random(shape) < 0.15, 0, np.roll(reference, 1, axis=0))
    prediction.flat[-1] = 4
    return reference, prediction


def table(
    reference, prediction, spacing_mm=SPACING, *, names=OFFERS, labels=(1, 2, 4, 5), **options
):
    case = Case(reference, prediction, labels=labels, spacing_mm=spacing_mm, **options)
    names = [n for n in names if not OFFERS[n].record.of_probabilities]
    return {
        (name, label): score(
            OFFERS[name].load(),
            OFFERS[name].record,
            case,
            label,
            EmptyPolicy(),
            **OPTIONS.get(name, {}),
        ).value
        for name, label in itertools.product(names, labels)
    }


def same(found, expected):
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-10, nan_ok=True)


@pytest.mark.parametrize("preset", ["deepmind", "exact", "monai"])
def test_axes_and_memory_and_device(preset):
    reference, prediction = maps()
    expected = table(reference, prediction, preset=preset)
    assert sum(not math.isnan(v) for v in expected.values()) > 60
    for order in ((1, 0, 2), (2, 0, 1)):
        turned = [m.transpose(order) for m in (reference, prediction)]
        spacing_mm = [SPACING[n] for n in order]
        straight = {key: v for key, v in expected.items() if key[0] not in (*THINNED, *SLICED)}
        names = {name for name, _ in straight}
        planes = [PLANES[n] for n in order]
        same(table(*turned, spacing_mm, names=names, preset=preset, planes=planes), straight)
    fortran = [np.asfortranarray(m) for m in (reference, prediction)]
    same(table(*fortran, preset=preset), expected)
    mixed = reference[::-1].copy()[::-1], np.asfortranarray(prediction)
    same(table(*mixed, preset=preset), expected)
    same(table(reference, prediction, preset=preset, device="cpu"), expected)
    same(table(*map(torch.from_numpy, (reference, prediction)), preset=preset), expected)


@pytest.mark.parametrize(
    "dtype", ["i1", "u1", "u2", "u4", "u8", "i8", ">u2", ">i4", ">u8"], ids=str
)
@pytest.mark.parametrize("device", [None, "cpu"])
def test_dtypes(dtype, device):
    reference, prediction = maps()
    names = ("dice", "normalized_surface_dice", "boundary_iou", "lesion_f1")
    expected = table(reference, prediction, names=names)
    cast = [m.astype(dtype) for m in (reference, prediction)]
    same(table(*cast, names=names, device=device), expected)
    if not dtype.startswith(">"):
        same(table(*map(torch.from_numpy, cast), names=names), expected)
    one = [(m == 1) for m in (reference, prediction)]
    same(table(*one, names=names, labels=[1]), {k: v for k, v in expected.items() if k[1] == 1})


@pytest.mark.parametrize("device", [None, "cpu"])
def test_numbers_that_a_type_does_not_hold_are_no_labels(device):
    reference, prediction = maps()
    huge = reference.astype(np.uint64)
    huge[reference == 3] = 2**64 - 1
    labels = (1, 3, -1, -(2**62), 300)
    case = Case(huge, prediction.astype(np.uint8), labels=labels, device=device)
    assert case.counts(1).tp == np.count_nonzero((reference == 1) & (prediction == 1))
    assert case.counts(3).reference == 0
    assert [case.counts(n).reference for n in labels[2:]] == [0, 0, 0]
    assert [case.counts(n).prediction for n in labels[2:]] == [0, 0, 0]
    wide = (reference * 100).astype(np.int16)  # the small type would wrap 300 to 44
    case = Case(np.full(reference.shape, 44, np.uint8), wide, labels=[300], device=device)
    assert case.counts(300).reference == 0
    with pytest.raises(ValueError, match="labels: expected numbers within"):
        Case(huge, huge, labels=[2**64 - 1])
    with pytest.raises(ValueError, match=r"labels: expected whole numbers, got 1\.5"):
        count_classes(huge, huge, labels=[1.5])


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (3, 0, 2)])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_an_image_without_voxels_has_no_class(shape, device):
    nothing = np.zeros(shape, dtype=np.uint8)
    names = [name for name in OFFERS if name not in THINNED]
    found = table(nothing, nothing, 1.0, names=names, labels=[1], device=device)
    ratios = {"accuracy", "specificity", "expected_calibration_error"}  # of no voxels at all
    counts = {n for n in names if "in_neither_map_is_undefined" in OFFERS[n].record.exempt} - ratios
    assert all(math.isnan(v) != (name in counts) for (name, _), v in found.items())


def batches():
    reference, prediction = (torch.from_numpy(m)[None, None] for m in maps())
    y = torch.cat([reference, prediction, torch.zeros_like(reference)])
    y_pred = torch.cat([prediction, reference, reference])
    return y_pred, y


@pytest.mark.parametrize("name", [n for n, o in OFFERS.items() if not o.record.of_probabilities])
def test_an_item_alone_and_in_a_batch(name):
    metric = getattr(medloss.metrics, OFFERS[name].record.class_name)
    y_pred, y = batches()
    made = metric(num_classes=5, **OPTIONS.get(name, {}))
    expected = made(y_pred, y, spacing=SPACING)
    each = [made(y_pred[n : n + 1], y[n : n + 1], spacing=SPACING) for n in range(3)]
    torch.testing.assert_close(torch.cat(each), expected, equal_nan=True, rtol=0, atol=0)
    listed = made(list(y_pred), list(y), spacing=SPACING)
    torch.testing.assert_close(listed, expected, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.uint8,
        torch.int16,
        torch.uint16,
        torch.uint32,
        torch.uint64,
        torch.float16,
        torch.float64,
    ],
)
def test_tensors_of_every_type(dtype):
    y_pred, y = batches()
    expected = medloss.metrics.DiceMetric(num_classes=5)(y_pred, y)
    found = medloss.metrics.DiceMetric(num_classes=5)(y_pred.to(dtype), y.to(dtype))
    torch.testing.assert_close(found, expected, equal_nan=True)
    many = medloss.metrics.DiceMetric(num_classes=257)(y_pred.to(dtype), y.to(dtype))
    torch.testing.assert_close(many[:, :5], expected, equal_nan=True)
    hot = [torch.cat([m == n for n in range(5)], dim=1).to(dtype) for m in (y_pred, y)]
    found = medloss.metrics.DiceMetric()(*hot)
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.uint16, torch.int64, torch.float32]
)
@pytest.mark.parametrize("sentinel", [-100, -999, 256, 300, 65536])
def test_a_sentinel_that_is_nowhere_ignores_nothing(dtype, sentinel):
    y_pred, y = batches()
    y = torch.where(y == 3, 25, y)  # -999 in eight bits
    expected = medloss.metrics.DiceMetric(num_classes=157)(y_pred, y)
    metric = medloss.metrics.DiceMetric(num_classes=157, ignore_index=sentinel)
    torch.testing.assert_close(metric(y_pred, y.to(dtype)), expected, equal_nan=True)


@pytest.mark.parametrize("sentinel", [255, 2**63, 2**64 - 1])
def test_a_sentinel_may_be_any_number_that_the_labels_hold(sentinel):
    y_pred, y = batches()
    expected = medloss.metrics.DiceMetric(num_classes=5, ignore_index=255)(
        y_pred, torch.where(y == 3, 255, y)
    )
    wide = y.numpy().astype(np.uint64)
    wide[wide == 3] = sentinel
    metric = medloss.metrics.DiceMetric(num_classes=5, ignore_index=sentinel)
    rows = [tensor.flatten(2) for tensor in (y_pred, torch.from_numpy(wide))]
    for pair in ((y_pred, torch.from_numpy(wide)), (y_pred, MetaTensor(wide)), rows):
        torch.testing.assert_close(metric(*pair), expected, equal_nan=True)


def test_masks_may_be_off_by_rounding_and_nothing_else():
    y_pred, y = (torch.cat([m == n for n in range(3)], dim=1).double() for m in batches())
    expected = medloss.metrics.DiceMetric()(y_pred, y)
    found = medloss.metrics.DiceMetric()(y_pred * 0.9999999, y + 1e-7)
    torch.testing.assert_close(found, expected, equal_nan=True)
    for bad, shown in ((math.nan, "nan"), (math.inf, "inf"), (0.99, "0.99"), (-1.0, r"-1\.0")):
        wrong = y_pred.clone()
        wrong[0, 0, 0, 0, 0] = bad
        for call, name in (((wrong, y), "y_pred"), ((y, wrong), "y")):
            with pytest.raises(ValueError, match=f"^{name}: expected only 0 and 1, got {shown}"):
                medloss.metrics.DiceMetric()(*call)
        with pytest.raises(ValueError, match="reference_mask: expected 0 and 1"):
            surface_distances(wrong[0, 0].numpy(), y[0, 0].numpy(), 1.0)
    with pytest.raises(ValueError, match="mask: expected true or false for each voxel, got NaN"):
        medloss.metrics.DiceMetric()(y, y, mask=torch.full_like(y[:, :1], math.nan))
    labels = torch.where(batches()[1] == 1, 0.9999999, batches()[1].double())
    medloss.metrics.DiceMetric(num_classes=5)(labels, labels)
    with pytest.raises(ValueError, match=r"y_pred: expected label maps of whole .* got nan"):
        medloss.metrics.DiceMetric(num_classes=5)(labels * math.nan, labels)


def test_nan_probabilities_are_seen():
    ece = OFFERS["expected_calibration_error"].load()
    chances = np.array([[0.2, math.nan], [0.9, 1.02]])
    for binning in ("equal_width", "equal_mass"):
        assert math.isnan(ece(Probabilities(chances, chances > 0.5), binning=binning))
    for bad in (7.0, math.inf, -math.inf):
        with pytest.raises(ValueError, match="probabilities: expected probabilities from 0 to 1"):
            ece(Probabilities(np.array([[0.2, bad]]), np.array([[True, False]])))
    y = torch.zeros(1, 2, 4, 4)
    with pytest.raises(
        ValueError, match="y_pred: expected probabilities from 0 to 1, got values from nan"
    ):
        medloss.metrics.ExpectedCalibrationErrorMetric()(y * math.nan, y)


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_counts_take_any_number_of_axes(axes):
    y_pred, y = (torch.cat([m == n for n in range(3)], dim=1).float() for m in batches())
    shaped = [
        m.reshape(3, 3, *{1: (504,), 2: (9, 56), 3: (9, 8, 7), 4: (3, 3, 8, 7)}[axes])
        for m in (y_pred, y)
    ]
    found = medloss.metrics.DiceMetric()(*shaped)
    torch.testing.assert_close(found, medloss.metrics.DiceMetric()(y_pred, y), equal_nan=True)
    volumes = medloss.metrics.VolumeDifferenceMetric()(*shaped, spacing=2.0)
    plain = medloss.metrics.VolumeDifferenceMetric(spacing_mm="voxel")(y_pred, y)
    torch.testing.assert_close(volumes, plain * 2.0**axes)
    if axes not in (2, 3):
        with pytest.raises(ValueError, match=r"y_pred: expected .* in 2D or 3D"):
            medloss.metrics.Hausdorff95Metric()(*shaped, spacing=1.0)
