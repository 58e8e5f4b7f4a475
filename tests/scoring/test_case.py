from __future__ import annotations

import math

import numpy as np
import pytest
from scoring.shapes import box, sides

from medloss.scoring import Case, Counts, Status, count_classes, surface_distances
from medloss.scoring import case as module

SPACING = (0.78, 0.78, 6.5)


@pytest.fixture
def maps():
    """Labels 1 (both), 2 (missed), 3 (spurious); 4 occurs nowhere; 1 touches the image's edge."""
    reference = np.zeros((12, 11, 7), dtype=np.uint8)
    prediction = reference.copy()
    reference[0:5, 2:6, 1:4] = 1
    prediction[0:6, 3:6, 1:5] = 1
    reference[7:10, 7:10, 0:2] = 2
    prediction[8:9, 1:3, 3:7] = 3
    return reference, prediction


@pytest.mark.parametrize("label", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["uint8", "int64", "fortran", "mixed order"])
def test_facts_are_those_of_the_masks_of_the_whole_image(maps, label, kind):
    reference, prediction = maps
    if kind == "int64":
        maps = reference.astype(np.int64), prediction
    elif kind == "fortran":
        maps = np.asfortranarray(reference), np.asfortranarray(prediction)
    elif kind == "mixed order":
        maps = np.asfortranarray(reference), prediction
    case = Case(*maps, labels=range(5), spacing_mm=SPACING)
    assert case.counts(label) == count_classes(reference, prediction, [label])[label]
    whole = surface_distances(reference == label, prediction == label, SPACING)
    for mine, theirs in zip(sides(case.surfaces(label)), sides(whole), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)
    assert case.shape == reference.shape
    assert case.spacing_mm == SPACING


def test_labels_of_any_size_and_sign():
    reference = np.zeros((5, 6), dtype=np.int32)
    reference[1:3, 1:4] = -7
    prediction = np.roll(reference, 1, axis=0)
    prediction[4, 5] = 1 << 20
    case = Case(reference, prediction, labels=[-7, 1 << 20], spacing_mm=1)
    assert case.surfaces(-7).reference_mm[-1] == 1.0
    assert case.status(1 << 20) is Status.SPURIOUS
    assert case.surfaces(1 << 20).prediction_area.sum() == pytest.approx(4 * math.sqrt(2) / 2)


def test_status(maps):
    case = Case(*maps, labels=range(5), annotated=[0, 1, 2, 3])
    assert [case.status(label) for label in range(5)] == [
        Status.OK,
        Status.OK,
        Status.MISSED,
        Status.SPURIOUS,
        Status.NOT_ANNOTATED,
    ]
    assert Case(*maps, labels=[4]).status(4) is Status.BOTH_EMPTY
    assert Case(*maps, labels=[4]).status(4) == "both_empty"


def test_every_fact_is_computed_once_and_for_all_classes(maps, monkeypatch):
    calls = []
    for name in ("LabelMaps", "class_surfaces"):
        inner = getattr(module, name)

        def counted(*args, _name=name, _inner=inner, **kwargs):
            calls.append(_name)
            return _inner(*args, **kwargs)

        monkeypatch.setattr(module, name, counted)
    case = Case(*maps, labels=[1, 2, 4], spacing_mm=1)
    assert calls == []
    for _ in range(3):
        for label in (1, 2):
            case.counts(label)
            case.surfaces(label)
            case.status(label)
    assert calls == ["LabelMaps", "class_surfaces"]


def test_bool_maps_have_the_label_1():
    mask = box((4, 4), (1, 1), (3, 3))
    case = Case(mask, mask, labels=[1], spacing_mm="voxel")
    assert case.counts(1) == Counts(tp=4, fp=0, fn=0, tn=12)
    assert not case.surfaces(1).reference_mm.any()
    assert case.spacing_mm == (1.0, 1.0)


def test_the_diagonal_is_that_of_the_image(maps):
    case = Case(*maps, labels=[1], spacing_mm=SPACING)
    assert case.diagonal_mm == pytest.approx(math.hypot(12 * 0.78, 11 * 0.78, 7 * 6.5))


def test_without_spacing_there_are_counts_but_no_distances(maps):
    case = Case(*maps, labels=[1])
    assert case.counts(1).tp == 5 * 3 * 3
    for ask in (lambda: case.surfaces(1), lambda: case.diagonal_mm):
        with pytest.raises(ValueError, match=r"spacing_mm: .*one number of mm.*'voxel'"):
            ask()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"prediction": np.zeros((4, 5), dtype=int)}, ValueError, r"prediction: .*\(4, 4\).*got"),
        ({"reference": np.zeros((4, 4))}, TypeError, "reference: expected integers or bool, got f"),
        ({"prediction": np.zeros(4, dtype=int)}, ValueError, r"prediction: expected a 2D or 3D"),
        ({"spacing_mm": (1.0, -2.0)}, ValueError, "spacing_mm: expected"),
        ({"spacing_mm": (1.0, math.nan)}, ValueError, "spacing_mm: expected"),
        ({"spacing_mm": (1.0, 1.0, 1.0)}, ValueError, "spacing_mm: expected"),
        ({"spacing_mm": "mm"}, ValueError, "spacing_mm: expected"),
        ({"preset": "monay"}, ValueError, "preset: expected one of deepmind, exact, .*got 'monay'"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, message):
    good = {"reference": np.zeros((4, 4), dtype=int), "prediction": np.zeros((4, 4), dtype=int)}
    with pytest.raises(error, match=message):
        Case(**{**good, "labels": [1], **change})


def test_unknown_labels_and_facts_are_refused(maps):
    case = Case(*maps, labels=[1, 2])
    with pytest.raises(ValueError, match=r"label: expected one of \[1, 2\], got 3"):
        case.counts(3)
    with pytest.raises(ValueError, match=r"fact: expected one of counts, surf.*got 'distances'"):
        case.fact("distances", 1)


@pytest.mark.parametrize("name", ["brain1", "brain2", "breast1"])
def test_on_real_lesions_a_crop_and_the_whole_agree(data_dir, name):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(str(data_dir / "lesions" / f"{name}_label.nrrd"))
    reference = (sitk.GetArrayFromImage(image) > 0).astype(np.uint8)
    spacing = image.GetSpacing()[::-1]
    prediction = np.roll(reference, 2, axis=2)
    found = Case(reference, prediction, labels=[1], spacing_mm=spacing).surfaces(1)
    whole = surface_distances(reference, prediction, spacing)
    for mine, theirs in zip(sides(found), sides(whole), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    # Moved by two voxels along x, no element is farther than that from where it came from.
    assert 0 < found.reference_mm[-1] <= 2 * spacing[2] + 1e-9
    assert Case(reference, prediction, labels=[1]).status(1) is Status.OK


def test_an_only_object_has_the_surfaces_of_its_class():
    reference = box((9, 8, 7), (2, 1, 2), (7, 5, 5))
    prediction = box((9, 8, 7), (3, 1, 1), (8, 6, 5))
    ignored = np.zeros(reference.shape, dtype=bool)
    ignored[:3, :2] = True
    for region, preset in ((None, "deepmind"), (None, "exact"), (ignored, "monai")):
        for order in "CF":
            maps = [np.array(m, order=order) for m in (reference, prediction)]
            options = {"spacing_mm": SPACING, "preset": preset, "ignored": region}
            shared = Case(*maps, labels=[1], **options)
            alone = Case(*maps, labels=[1], **options)
            alone._whole = lambda label: None
            found = []
            for case in (shared, alone):
                lesions = case.components(1).lesions()
                found.append([*case.cells(1).surfaces(), *lesions.surfaces([((0,), (0,))])])
            assert [s is shared.surfaces(1) for s in found[0]] == [region is None] * 2
            for one, other in zip(*found, strict=True):
                for mine, theirs in zip(sides(one), sides(other), strict=True):
                    np.testing.assert_allclose(mine, theirs, rtol=1e-12)
