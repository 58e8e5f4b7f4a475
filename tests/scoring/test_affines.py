"""The same voxels under any affine of the same spacing give the same numbers, in any format."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

import medloss.metrics
from medloss.evaluation.reading.dicom_grid import axes, plane
from medloss.evaluation.reading.images import read_image
from medloss.losses import BoundaryLoss, SurfaceDiceLoss
from medloss.objects.spacing import (
    affine_spacing,
    at_least,
    below,
    parse_spacing,
    reach,
    short_of,
    snapped,
    within,
)
from medloss.offers.host import host
from medloss.scoring import PRESETS, Case, EmptyPolicy, score

SPACINGS = [(1.0, 1.0, 1.0), (0.8, 0.8, 2.5), (0.7, 1.2, 1.2), (0.78125, 0.78125, 6.5)]
OFFERS = {offer.record.name: offer for offer in host().metrics if not offer.record.of_probabilities}


def turned(degrees: float, axis: int, spacing=(1.0, 1.0, 1.0), dtype=np.float32):
    """Affine of a grid that is turned about an axis."""
    i, j = (n for n in range(3) if n != axis)
    angle = math.radians(degrees)
    affine = np.eye(4)
    affine[[i, i, j, j], [i, j, i, j]] = (
        math.cos(angle),
        -math.sin(angle),
        math.sin(angle),
        math.cos(angle),
    )
    affine[:3, :3] *= spacing
    affine[:3, 3] = -12.5, 40.25, 3.0
    return affine.astype(dtype)


def cube():
    reference = np.zeros((12, 12, 12), dtype=np.uint8)
    reference[3:9, 3:9, 3:9] = 1
    return np.roll(reference, 1, axis=0), reference


def test_every_angle_has_the_spacing_that_was_meant():
    angles = itertools.product(range(1, 90), range(3), (np.float32, np.float64))
    for (degrees, axis, dtype), spacing in itertools.product(angles, SPACINGS):
        affine = turned(degrees, axis, spacing, dtype)
        lengths = np.linalg.norm(affine[:3, :3].astype(np.float64), axis=0)
        assert affine_spacing([lengths], batch=1, axes=3) == (spacing,)
        assert tuple(map(snapped, np.linalg.norm(affine[:3, :3], axis=0))) == spacing


def values(spacing_mm, maps, preset, tolerance_mm):
    options = {
        "normalized_surface_dice": {
            "tolerance_mm": min(parse_spacing(spacing_mm, batch=1, axes=3)[0])
        },
        "boundary_iou": {"width_mm": 2.0},
        "lesion_f1": {"min_reference_mm3": 216.0, "min_prediction_mm3": 216.0},
    }
    case = Case(*maps[::-1], labels=[1], spacing_mm=spacing_mm, preset=preset)
    return {
        name: score(
            offer.load(), offer.record, case, 1, EmptyPolicy(), **options.get(name, {})
        ).value
        for name, offer in OFFERS.items()
    }


@pytest.mark.parametrize("preset", ["deepmind", "exact", "metricsreloaded"])
def test_a_size_with_the_noise_of_float32_decides_nothing(preset):
    expected = values((1.0, 1.0, 1.0), cube(), preset, 1.0)
    assert expected["normalized_surface_dice"] == 1.0
    assert expected["lesion_f1"] == 1.0
    for noise in (1.5e-8, -3.4e-8, 6e-8):
        noisy = values(tuple(1 + n * noise for n in (1, -1, 1)), cube(), preset, 1.0)
        assert noisy == pytest.approx(expected, rel=1e-6, nan_ok=True)


def test_every_preset_gives_steps_along_an_axis_their_tolerance_at_any_angle():
    nsd = OFFERS["normalized_surface_dice"].load()
    prediction, reference = cube()
    for (degrees, size), steps in itertools.product(
        itertools.product((0, 1, 2, 3, 5), (0.7, 0.8, 1.2)), (1, 2)
    ):
        # in float32 as files keep it: as it is, and as it is read
        raw = np.linalg.norm(turned(degrees, 2, (size,) * 3)[:3, :3].astype(float), axis=0)
        for spacing_mm in (tuple(raw), tuple(map(snapped, raw))):
            for preset in (name for name, each in PRESETS.items() if not each.misreads):
                masks = reference, np.roll(prediction, steps - 1, axis=0)
                case = Case(*masks, labels=[1], spacing_mm=spacing_mm, preset=preset)
                surfaces, tolerance_mm = case.surfaces(1), steps * size
                assert nsd(surfaces, tolerance_mm=tolerance_mm) == 1.0
                assert nsd(surfaces, tolerance_mm=tolerance_mm * 0.999) < 0.9
                wide = surfaces.band(tolerance_mm)
                assert wide == Case(
                    *masks, labels=[1], spacing_mm=(size,) * 3, preset=preset
                ).surfaces(1).band(tolerance_mm)


def test_the_surface_dice_of_a_cube_that_noise_lowered():
    reference = np.zeros((40, 40, 40), dtype=bool)
    reference[10:30, 10:30, 10:30] = True
    masks = reference, np.roll(reference, 1, axis=0)
    nsd = OFFERS["normalized_surface_dice"].load()
    tilted = np.linalg.norm(turned(1, 2)[:3, :3].astype(float), axis=0)
    assert tilted[0] > 1
    for size, tolerance_mm, expected in (
        (1.0, 1.0, 1.0),
        (tilted, 1.0, 1.0),
        (float(np.float32(0.8)), 0.8, 1.0),
        (float(np.float32(1.2)), 1.2, 1.0),
        ((1.00001, 1.00001, 1.0), 1.0, 0.68286),
        (0.80001, 0.8, 0.66654),
    ):
        case = Case(*masks, labels=[1], spacing_mm=size, preset="deepmind")
        found = nsd(case.surfaces(1), tolerance_mm=tolerance_mm)
        assert found == pytest.approx(expected, abs=5e-6)
    lesion = np.zeros((10, 10, 10), dtype=np.uint8)
    lesion[0, :4, :5] = 1
    assert np.prod(np.linalg.norm(turned(3, 2)[:3, :3].astype(float), axis=0)) < 1
    found = Case(
        lesion,
        lesion,
        labels=[1],
        spacing_mm=tuple(np.linalg.norm(turned(3, 2)[:3, :3].astype(float), axis=0)),
    )
    f1 = OFFERS["lesion_f1"]
    assert score(f1.load(), f1.record, found, 1, EmptyPolicy(), min_reference_mm3=20.0).value == 1.0


def test_what_a_file_states_counts_unless_its_affine_is_another(tmp_path: Path):
    nibabel = pytest.importorskip("nibabel")
    for error, expected, said in (
        (5e-6, 0.8, ""),
        (-5e-6, 0.8, ""),
        (2e-3, 0.8016, "states voxels"),
    ):
        image = nibabel.Nifti1Image(cube()[0], turned(0, 2, (0.8 * (1 + error), 0.8, 2.5)))
        image.header["pixdim"][1:4] = 0.8, 0.8, 2.5
        nibabel.save(image, tmp_path / "case.nii")
        text = (tmp_path / "case.nii").read_bytes()
        assert np.frombuffer(text, "<f4", 3, 80).tolist() == pytest.approx([0.8, 0.8, 2.5])
        read = read_image(tmp_path / "case.nii")
        assert read.spacing_mm == (expected, 0.8, 2.5)
        assert said in read.note
        assert bool(said) == bool(read.note)


def test_cosines_in_decimal_text_do_not_stretch_a_voxel(tmp_path: Path):
    c, s = "0.999389", "0.0349"  # of 2 degrees, 0.999998 long
    (tmp_path / "case.mha").write_bytes(
        f"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementSpacing = 0.7 0.7 3\n"
        f"TransformMatrix = {c} {s} 0 -{s} {c} 0 0 0 1\nOffset = 0 0 0\n"
        f"BinaryData = True\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n".encode()
        + bytes(8)
    )
    read = read_image(tmp_path / "case.mha")
    assert np.linalg.norm(read.affine[:3, 0]) < 0.7 * (1 - 1e-6)
    assert (read.spacing_mm, read.note) == ((0.7, 0.7, 3.0), "")
    one = plane((0, 0, 0), (float(c), float(s), 0, -float(s), float(c), 0), (0.7, 0.7))
    lengths = [float(np.linalg.norm(step)) for step in axes(tmp_path, one)]
    assert lengths == pytest.approx([0.7, 0.7, 1.0], rel=1e-12)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
def test_formats_and_angles_change_no_number(tmp_path: Path, suffix):
    sitk, nibabel = pytest.importorskip("SimpleITK"), pytest.importorskip("nibabel")
    prediction, reference = cube()
    expected = values((0.8, 0.8, 2.5), (prediction, reference), "deepmind", 0.8)
    for n, (degrees, axis) in enumerate([(0, 0), (1, 2), (3, 0), (41, 1)]):
        affine, path = turned(degrees, axis, (0.8, 0.8, 2.5)), tmp_path / f"{n}{suffix}"
        if suffix == ".nii.gz":
            nibabel.save(nibabel.Nifti1Image(prediction, affine), path)
        else:
            image = sitk.GetImageFromArray(prediction.T)
            lengths = np.linalg.norm(affine[:3, :3].astype(float), axis=0)
            image.SetSpacing(lengths.tolist())
            image.SetDirection((affine[:3, :3] / lengths).ravel().tolist())
            sitk.WriteImage(image, path)
        read = read_image(path)
        assert read.spacing_mm == (0.8, 0.8, 2.5)
        found = values(read.spacing_mm, (read.array, reference), "deepmind", 0.8)
        assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_meta_tensors_at_any_angle(dtype):
    maps = [torch.from_numpy(m)[None, None] for m in cube()]
    logits = 8.0 * maps[0] - 4
    made = {
        "nsd": medloss.metrics.NormalizedSurfaceDiceMetric(tolerance_mm=1.0),
        "iou": medloss.metrics.BoundaryIouMetric(width_mm=2.0),
        "f1": medloss.metrics.LesionF1Metric(min_reference_mm3=216.0),
        "surface_dice": SurfaceDiceLoss(sigmoid=True, tolerance_mm=1.0),
        "boundary": BoundaryLoss(sigmoid=True),
    }
    found = set()
    for degrees, axis in [(0, 0), (1, 0), (1, 2), (2, 1), (40, 2)]:
        affine = torch.from_numpy(turned(degrees, axis, dtype=dtype))
        y = MetaTensor(maps[1], affine=affine)
        inputs = {
            name: logits if name in ("surface_dice", "boundary") else maps[0] for name in made
        }
        found.add(tuple(float(f(inputs[name], y).squeeze()) for name, f in made.items()))
    assert len(found) == 1
    assert found.pop()[:3] == (1.0, pytest.approx(1 - 72 / 252, abs=0.2), 1.0)


def test_oblique_lesions_have_the_surface_dice_of_straight_ones(data_dir: Path):
    for name in ("brain1", "brain2", "breast1"):
        image = read_image(data_dir / "lesions" / f"{name}_label.nrrd")
        mask = (image.array > 0).astype(np.uint8)
        moved = np.roll(mask, 1, axis=0)
        step = image.spacing_mm[0]
        straight = Case(mask, moved, labels=[1], spacing_mm=image.spacing_mm).surfaces(1)
        nsd = OFFERS["normalized_surface_dice"].load()
        assert nsd(straight, tolerance_mm=step) == 1.0
        for degrees, axis in [(1, 2), (2, 0), (5, 1)]:
            affine = turned(degrees, axis, image.spacing_mm)
            raw = np.linalg.norm(affine[:3, :3].astype(float), axis=0)
            for spacing_mm in (raw, affine_spacing([raw], batch=1, axes=3)[0]):
                surfaces = Case(mask, moved, labels=[1], spacing_mm=spacing_mm).surfaces(1)
                assert nsd(surfaces, tolerance_mm=step) == 1.0


def test_limits():
    for noise in (0, 3e-8, -3e-8):
        size = 1.2 * (1 + noise)
        assert within(size, 1.2)
        assert at_least(size, 1.2)
        assert not below(size, 1.2)
    assert not within(1.2001, 1.2)
    assert not at_least(1.1999, 1.2)
    assert below(1.1999, 1.2)
    assert short_of(0.0) == reach(0.0) == 0.0


@pytest.mark.parametrize("size", [1 / 3, 0.9371337890625, 0.7291666865348816, 123.456789])
def test_sizes_that_are_no_short_decimals_stay(size):
    assert snapped(size) == pytest.approx(size, rel=2e-7)
    assert snapped(snapped(size)) == snapped(size)
    assert parse_spacing(size, batch=1, axes=1) == ((size,),)  # what is given is taken at its word
