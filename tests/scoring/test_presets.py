"""Each preset gives the numbers of the package that it is named after."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai import metrics as monai
from scoring.scenes import SPACING, scenes
from scoring.shapes import blobs

from medloss.scoring import Case, EmptyPolicy, score, surface_distances
from medloss_boundary import medloss_metrics
from medloss_boundary.metrics import (
    average_surface_distance,
    average_symmetric_surface_distance,
    boundary_iou,
    hausdorff,
    hausdorff95,
    mean_average_surface_distance,
    normalized_surface_dice,
)

RECORDS = {record.name: record for record in medloss_metrics()}
SCENES = scenes()
LESIONS = ("brain1", "brain2", "breast1")

# medpy.metric.binary of MedPy 0.5.2: hd, hd95, asd, assd of (prediction, reference, SPACING).
MEDPY = {
    "moved ball": (3.1654383582688825, 2.6400757564888173, 1.0797191914483877, 1.2333669058118275),
    "ball with a far speck": (
        *(19.4961534667739, 2.720294101747089, 1.293913855058451, 1.3282379972891554),
    ),
    "cube with a bar": (8.0, 2.340939982143925, 0.5241379310344828, 0.2928041188084165),
    "cut by the edge": (2.968164415931166, 2.5, 1.0535326676753907, 0.9255581987434544),
    "rough": (2.6400757564888173, 1.6, 0.7971555343984503, 0.770873403911636),
    "flat": (3.66742416417845, 3.3000000000000003, 1.324104051310036, 1.4666923611910991),
    "brain1": (6.68516314311027, 6.499999999999998, 3.2167815847292203, 3.3832392778150897),
    "brain2": (6.68516314311027, 6.499999999999998, 1.7659545940900436, 2.724042534398782),
    "breast1": (2.4847360743901956, 2.4847360743901956, 1.3036996977275592, 1.151793959924932),
}

# BinaryPairwiseMeasures of MetricsReloaded, commit cb38dfc: hd, hd95, assd, masd, nsd (2 mm),
# boundary IoU (2 voxels; it knows no spacing).
METRICSRELOADED = {
    "moved ball": (
        *(3.1654383582688825, 2.720294101747089, 1.2333669058118277, 1.2178469346640055),
        *(0.7724719101123596, 0.36521022258862323),
    ),
    "ball with a far speck": (
        *(19.4961534667739, 2.720294101747089, 1.3282379972891551, 1.3249442664690372),
        *(0.7681564245810056, 0.3640098603122432),
    ),
    "cube with a bar": (
        *(8.0, 5.6000000000000005, 0.2928041188084165, 0.28179654315113384),
        *(0.9488103821196827, 0.8941441441441441),
    ),
    "cut by the edge": (
        *(2.968164415931166, 2.6248809496813377, 0.9255581987434546, 0.9142663338376953),
        *(0.7837837837837838, 0.4605263157894737),
    ),
    "rough": (
        *(2.6400757564888173, 1.94164878389476, 0.770873403911636, 0.7707169626587382),
        *(0.9955621301775148, 0.16151202749140894),
    ),
    "flat": (
        *(3.66742416417845, 3.3238963423174823, 1.466692361191099, 1.4587707884199288),
        *(0.7205882352941176, 0.24369747899159663),
    ),
    "brain1": (
        *(6.68516314311027, 6.546781771412576, 3.3832392778150897, 3.3832392778150897),
        *(0.4115419569827325, 0.3233590733590734),
    ),
    "brain2": (
        *(6.68516314311027, 6.546781771412576, 2.724042534398782, 2.724042534398782),
        *(0.5477326968973747, 0.2851063829787234),
    ),
    "breast1": (
        *(2.4847360743901956, 2.4847360743901956, 1.151793959924932, 1.1517939599249318),
        *(0.6692913385826772, 0.20168067226890757),
    ),
}


@pytest.fixture
def pair(request):
    """Reference, prediction and spacing of a scene, or of a real lesion and the same moved."""
    name = request.param
    if name in SCENES:
        reference, prediction = SCENES[name]
        return reference, prediction, SPACING[: reference.ndim]
    data_dir = request.getfixturevalue("data_dir")
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(str(data_dir / "lesions" / f"{name}_label.nrrd"))
    reference = sitk.GetArrayFromImage(image) > 0
    return reference, np.roll(reference, (1, 2), axis=(0, 2)), image.GetSpacing()[::-1]


def both(names, table):
    return pytest.mark.parametrize(
        ("pair", "expected"), [(name, table[name]) for name in names], indirect=["pair"]
    )


@both(MEDPY, MEDPY)
def test_medpy(pair, expected):
    found = surface_distances(*pair, preset="medpy")
    functions = (
        hausdorff,
        hausdorff95,
        average_surface_distance,
        average_symmetric_surface_distance,
    )
    assert [f(found) for f in functions] == pytest.approx(list(expected), rel=1e-9)


@both(METRICSRELOADED, METRICSRELOADED)
def test_metricsreloaded(pair, expected):
    found = surface_distances(*pair, preset="metricsreloaded")
    in_voxels = surface_distances(*pair[:2], "voxel", preset="metricsreloaded")
    values = [
        hausdorff(found),
        hausdorff95(found),
        average_symmetric_surface_distance(found),
        mean_average_surface_distance(found),
        normalized_surface_dice(found, tolerance_mm=2),
        boundary_iou(in_voxels, width_mm=2),
    ]
    assert values == pytest.approx(list(expected), rel=1e-9)


FLOAT32 = 5e-6
"""MONAI computes in float32, the place between two distances too."""


def monai_values(reference, prediction, spacing):
    p, r = (torch.from_numpy(m)[None, None].float() for m in (prediction, reference))
    options = {"include_background": True, "spacing": list(spacing)}
    return [
        monai.compute_hausdorff_distance(p, r, **options),
        monai.compute_hausdorff_distance(p, r, percentile=95, **options),
        monai.compute_hausdorff_distance(p, r, percentile=60, **options),
        monai.compute_average_surface_distance(p, r, **options),
        monai.compute_average_surface_distance(p, r, symmetric=True, **options),
        monai.compute_surface_dice(p, r, [1.3], **options),
    ]


def our_values(found):
    return [
        hausdorff(found),
        hausdorff95(found),
        hausdorff(found, percentile=60),
        average_surface_distance(found),
        average_symmetric_surface_distance(found),
        normalized_surface_dice(found, tolerance_mm=1.3),
    ]


# MONAI warns of an argument of its own that it uses itself.
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize("pair", [*SCENES, *LESIONS], indirect=True)
def test_monai(pair):
    theirs = [float(value) for value in monai_values(*pair)]
    mine = our_values(surface_distances(*pair, preset="monai"))
    assert mine == pytest.approx(theirs, rel=FLOAT32, abs=FLOAT32)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize("seed", range(6))
def test_monai_on_random_masks(seed):
    masks = blobs(seed, (9, 7, 8))
    spacing = np.random.default_rng(seed).uniform(0.5, 3, 3)
    theirs = [float(value) for value in monai_values(*masks, spacing)]
    mine = our_values(surface_distances(*masks, spacing, preset="monai"))
    assert mine == pytest.approx(theirs, rel=FLOAT32, abs=FLOAT32)


# The package asks scipy for functions under their old names.
@pytest.mark.filterwarnings("ignore:Please import .* namespace is deprecated:DeprecationWarning")
@pytest.mark.parametrize("preset", ["deepmind", "brats2023"])
@pytest.mark.parametrize("pair", [*SCENES, *LESIONS], indirect=True)
def test_deepmind_and_brats2023(pair, preset):
    package = pytest.importorskip(
        "surface_distance", reason="the package surface-distance is not installed"
    )
    reference, prediction, spacing = pair
    theirs = package.compute_surface_distances(reference, prediction, spacing)
    found = surface_distances(reference, prediction, spacing, preset=preset)
    assert hausdorff(found) == pytest.approx(package.compute_robust_hausdorff(theirs, 100))
    assert hausdorff95(found) == pytest.approx(package.compute_robust_hausdorff(theirs, 95))
    assert found.means == pytest.approx(package.compute_average_surface_distance(theirs))
    dice = package.compute_surface_dice_at_tolerance(theirs, 1.3)
    assert normalized_surface_dice(found, tolerance_mm=1.3) == pytest.approx(dice)


def test_brats2023_counts_374_mm_for_a_missed_region_and_nothing_for_none():
    reference = np.zeros((6, 6, 6), dtype=np.uint8)
    reference[1:3, 1:3, 1:3] = 1
    reference[4, 4, 4] = 2
    prediction = np.where(reference == 2, 0, reference)
    case = Case(reference, prediction, labels=[1, 2, 3], spacing_mm=1, preset="brats2023")
    policy = EmptyPolicy.of("brats2023")
    values = [score(hausdorff95, RECORDS["hausdorff95"], case, n, policy).value for n in (1, 2, 3)]
    assert values == [0.0, 374.0, 0.0]
    assert EmptyPolicy.of("brats2023", missed="inf").missed == "inf"
    assert EmptyPolicy.of("monai") == EmptyPolicy()


def test_the_definitions_differ_on_one_pair_of_masks():
    masks = SCENES["cube with a bar"]
    values = {
        preset: hausdorff95(surface_distances(*masks, 1.0, preset=preset))
        for preset in ("deepmind", "exact", "monai", "medpy")
    }
    assert values["medpy"] < 3 < 5 < values["monai"]
    assert math.isclose(values["deepmind"], values["monai"], abs_tol=1.5)
    assert math.isclose(values["deepmind"], values["exact"], abs_tol=1.5)
