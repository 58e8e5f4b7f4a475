from __future__ import annotations

import itertools
import math

import nibabel
import numpy as np
import pytest

from medloss.evaluation.error_maps import distance_map, error_map, file_stem, map_paths
from medloss.evaluation.inputs.layers import make_layers
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading.images import read_image
from medloss.evaluation.score import EvalPlan, evaluate_pair


def brute_distances(prediction, reference, labels, spacing_mm):
    """Every voxel against every voxel."""
    out = np.zeros(prediction.shape)
    diagonal = math.hypot(*(n * mm for n, mm in zip(prediction.shape, spacing_mm, strict=True)))
    for place in itertools.product(*map(range, prediction.shape)):
        p, r = (int(m[place]) if m[place] in labels else 0 for m in (prediction, reference))
        if p == r:
            continue
        label, other, sign = (p, reference, 1) if p else (r, prediction, -1)
        there = np.argwhere(other == label)
        away = np.linalg.norm((there - place) * spacing_mm, axis=1)
        out[place] = sign * (away.min() if len(away) else diagonal)
    return out


@pytest.mark.parametrize("seed", range(4))
def test_distances_are_those_of_a_search(seed):
    rng = np.random.default_rng(seed)
    maps = [(rng.random((5, 6, 4)) < 0.3) * rng.integers(1, 5, (5, 6, 4)) for _ in range(2)]
    spacing_mm = (0.5, 1.0, 2.5)
    found = distance_map(*maps, [1, 2, 3], spacing_mm)  # 4 is no class, so it is background
    assert found == pytest.approx(brute_distances(*maps, [1, 2, 3], spacing_mm), rel=1e-6)
    assert found.dtype == np.float32
    assert np.array_equal(found != 0, error_map(*maps, [1, 2, 3]) > 1)


def test_labels_may_be_large():
    prediction = np.array([[70000, 0, 3]])
    reference = np.array([[70000, 70000, 9]])
    assert error_map(prediction, reference, [70000, 3]).tolist() == [[1, 3, 2]]
    assert distance_map(prediction, reference, [70000, 3], (1, 2))[0, 1] == -2


def test_the_files_lie_where_the_reference_lies(save, oblique, tmp_path):
    reference = np.zeros((5, 6, 4), np.uint8)
    reference[1:3, 1:4, 1:3] = 1
    prediction = np.roll(reference, 1, axis=0)
    pair = Pair("a/b", save("p.nii", prediction, oblique), save("r.nii", reference, oblique))
    case = evaluate_pair(pair, EvalPlan((), error_maps=tmp_path / "maps"))
    assert case.error == ""
    paths = map_paths(tmp_path / "maps", "a/b")
    assert all(path.parent == tmp_path / "maps" for path in paths)
    assert len(list((tmp_path / "maps").iterdir())) == 2
    errors, distances = map(nibabel.load, paths)
    for image in (errors, distances):
        assert image.affine == pytest.approx(oblique)
    counts = dict(case.counts)[1]
    values = np.asarray(errors.dataobj)
    assert values.dtype == np.uint8
    assert [int((values == n).sum()) for n in (1, 2, 3)] == [counts.tp, counts.fp, counts.fn]
    assert np.unique(distances.get_fdata()) == pytest.approx([-0.8, 0, 0.8])


def test_regions_that_overlap_become_volumes_of_their_own(save, tmp_path):
    reference = np.array([[1, 2, 0, 0]], np.uint8)
    prediction = np.array([[2, 2, 1, 0]], np.uint8)
    pair = Pair("c", save("p.nii", prediction[..., None]), save("r.nii", reference[..., None]))
    study = EvalPlan(
        (),
        labels={"whole": "whole", "core": "core"},
        regions={"whole": (1, 2), "core": (1,)},
        error_maps=tmp_path / "maps",
    )
    assert evaluate_pair(pair, study).error == ""
    errors = np.asarray(nibabel.load(map_paths(tmp_path / "maps", "c")[0]).dataobj)
    assert errors.shape == (1, 4, 1, 2)
    assert errors[0, :, 0, 0].tolist() == [1, 1, 2, 0]
    assert errors[0, :, 0, 1].tolist() == [3, 0, 2, 0]


def test_ignored_voxels_are_not_wrong(save, tmp_path):
    from medloss.evaluation.error_maps import write_error_maps

    image = read_image(save("r.nii", np.array([[[1, 0, 2]]], np.uint8)))
    other = read_image(save("p.nii", np.array([[[0, 1, 1]]], np.uint8)))
    layers = make_layers(other, image, (1, 2), {})
    write_error_maps(tmp_path, "x", layers, image, np.array([[[False, True, False]]]))
    for path in map_paths(tmp_path, "x"):
        assert (np.asarray(nibabel.load(path).dataobj) != 0).tolist() == [[[True, False, True]]]


def test_names_of_cases_make_safe_and_different_files(tmp_path):
    names = ["a", "a/b", "a_b", "../a", "/a", "..", ".a", "a\x00b", "é", "x" * 300, "x" * 301]
    stems = [file_stem(name) for name in names]
    assert len(set(stems)) == len(names)
    for stem in stems:
        assert "/" not in stem
        assert not stem.startswith(".")
        assert len(stem) < 200
        (tmp_path / f"{stem}_distances.nii.gz").touch()
    assert len(list(tmp_path.iterdir())) == len(names)
