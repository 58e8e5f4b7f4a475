"""Added path length: worked values, which axis is axial, and what cannot be meant."""

from __future__ import annotations

import math

import nibabel
import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

import medloss.metrics
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.score import EvalPlan, evaluate_pair
from medloss.objects.planes import planes_of
from medloss.scoring import Case
from medloss_boundary.metrics import added_path_length


def boxes(margin: int = 10):
    """Squares of 20 x 20 on slices 1 to 4, and on 1 to 3 five pixels aside; 1 x 1 x 3 mm."""
    reference, test = (np.zeros((2 * margin + 20, 45, 7), dtype=np.uint8) for _ in range(2))
    reference[margin : margin + 20, 10:30, 1:5] = 1
    test[margin : margin + 20, 15:35, 1:4] = 1
    return reference, test


def contours(reference, test, spacing_mm=(1.0, 1.0, 3.0), **options):
    return Case(reference, test, labels=[1], spacing_mm=spacing_mm, **options).contours(1)


@pytest.mark.parametrize(
    ("tolerance_mm", "pixels", "whole", "mean"),
    [(0, [46, 46, 46, 76], 214, 53.5), (1, [42, 42, 42, 76], 202, 50.5), (3.0, [], 178, 44.5)],
)
def test_worked_values(tolerance_mm, pixels, whole, mean):
    """Those of platipy 0.7.2."""
    for turn in (np.ascontiguousarray, np.asfortranarray):
        found = contours(*map(turn, boxes()))
        assert added_path_length(found, tolerance_mm=tolerance_mm) == whole
        assert added_path_length(found, tolerance_mm=tolerance_mm, per_slice=True) == mean
    if pixels:
        assert found.added(tolerance_mm=tolerance_mm).pixels[1:-1].tolist() == pixels


def test_missed_spurious_and_neither():
    reference, _ = boxes()
    nothing = np.zeros_like(reference)
    for pair, whole, mean in (
        ((reference, nothing), 304, 76),
        ((nothing, reference), 0, 0),
        ((nothing, nothing), 0, math.nan),
    ):
        assert added_path_length(contours(*pair)) == whole
        found = added_path_length(contours(*pair), per_slice=True)
        assert found == pytest.approx(mean, nan_ok=True)


def test_the_edge_of_the_image_is_no_outline():
    reference, test = boxes(margin=0)
    # Without the two rows of 20 at the edges, corners of which the columns have.
    assert added_path_length(contours(reference, test * 0)) == 4 * (20 + 20)
    square = np.ones((6, 6), dtype=np.uint8)
    assert added_path_length(contours(square, square * 0, (1.0, 2.0))) == 0
    square[:, 0] = 0
    assert added_path_length(contours(square, square * 0, (1.0, 2.0))) == 6 * 1.5, "a 2D image"


def test_ignored_voxels_are_not_drawn():
    reference, test = boxes()
    ignored = np.zeros(reference.shape, dtype=bool)
    ignored[..., 4] = True
    found = contours(reference, test, ignored=ignored)
    assert added_path_length(found, tolerance_mm=0) == 3 * 46
    assert added_path_length(found, tolerance_mm=0, per_slice=True) == 46


def test_axial_slices_are_found_by_the_orientation():
    """Whatever the order and direction of axes, the patient is drawn in the same slices."""
    reference, test = boxes()
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    tilted = affine.copy()
    tilted[:3, :3] = np.linalg.qr(np.eye(3) + 0.1)[0] @ tilted[:3, :3]
    metric = choose_metric(parse_request("added_path_length:tolerance_mm=0"))
    for axes in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        for start in (affine, tilted):
            turned = start[:, [*axes, 3]]
            turned[:, 0] *= -1
            maps = [np.flip(x.transpose(axes), 0) for x in (reference, test)]
            assert planes_of(turned)[axes.index(2)] == "axial"
            found = contours(
                *maps, np.linalg.norm(turned[:3, :3], axis=0), planes=planes_of(turned)
            )
            assert added_path_length(found, tolerance_mm=0) == pytest.approx(214)
            y, p = (MetaTensor(torch.from_numpy(x.copy())[None, None], affine=turned) for x in maps)
            form = medloss.metrics.AddedPathLengthMetric(tolerance_mm=0)
            assert form(p, y).item() == pytest.approx(214, rel=1e-6)
    assert metric.options["axis"] == "axial"
    assert added_path_length(found, tolerance_mm=0, axis=axes.index(2)) == pytest.approx(214)
    sagittal = added_path_length(found, tolerance_mm=0, axis="sagittal")
    assert sagittal == pytest.approx(added_path_length(found, tolerance_mm=0, axis=axes.index(0)))
    assert sagittal != pytest.approx(214)


def test_files_say_what_is_axial(tmp_path):
    reference, test = (x.transpose(2, 0, 1) for x in boxes())
    affine = np.array([[0, 1, 0, 0], [0, 0, 1.0, 0], [3, 0, 0, 0], [0, 0, 0, 1]])
    paths = []
    for name, array in (("test", test), ("reference", reference)):
        paths.append(tmp_path / f"{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(array, affine), paths[-1])
    asked = ("added_path_length:tolerance_mm={1:0}", "added_path_length:tolerance_mm=0,axis=2")
    plan = EvalPlan(tuple(choose_metric(parse_request(text)) for text in asked))
    case = evaluate_pair(Pair("a", *paths), plan)
    assert case.error == ""
    axial, last = case.results
    assert (axial.column, axial.value) == ("added_path_length[tolerance_mm={1:0}]", 214)
    assert last.value != 214


def test_what_cannot_be_meant_is_refused():
    found = contours(*boxes())
    for options, message in (
        ({"tolerance_mm": -1}, "tolerance_mm: expected a distance of at least 0, got -1"),
        ({"tolerance_mm": math.inf}, "tolerance_mm: expected a distance of at least 0, got inf"),
        ({"axis": "transverse"}, "axis: expected sagittal, coronal, axial, 0, 1 or 2, got 'tr"),
        ({"axis": 3}, "axis: expected sagittal, coronal, axial, 0, 1 or 2, got 3"),
        ({"axis": True}, "axis: expected sagittal, coronal, axial, 0, 1 or 2, got True"),
    ):
        with pytest.raises(ValueError, match=message):
            added_path_length(found, **options)
    with pytest.raises(ValueError, match="spacing_mm: distances need the size of a voxel"):
        Case(*boxes(), labels=[1]).contours(1)
