"""Counts and surfaces of tensors: the same facts as those of the compiled loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from interpreted import DEVICE
from scoring.adapted import Dice, Hausdorff95, close
from scoring.scenes import SPACING, scenes
from scoring.shapes import blobs, sides

from medloss.scoring import Case, adapter_inputs
from medloss.scoring.tensors import TensorMaps, tensor_of

SURFACES = {"cells": "deepmind", "voxels": "metricsreloaded", "faces": "exact"}
every_surface = pytest.mark.parametrize("preset", SURFACES.values())


def compare(maps: Any, labels: Any, **options: Any) -> None:
    expected = Case(*maps, labels=labels, **options)
    found = Case(*maps, labels=labels, device=DEVICE, **options)
    for label in labels:
        assert found.counts(label) == expected.counts(label)
        assert found.status(label) is expected.status(label)
        theirs, mine = expected.surfaces(label), found.surfaces(label)
        for a, b in zip(sides(mine), sides(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
        for width_mm in (0.0, 1.1, 2.5):
            assert mine.band(width_mm) == theirs.band(width_mm)


def labelled(top: int = 1, shape: tuple[int, ...] = (9, 8, 7)) -> list[Any]:
    """Two maps of noise in blocks: labels 0 to 4 times ``top``, 3 in the first only."""
    blocks = np.random.default_rng(0).integers(0, 5, (2, *(-(-n // 2) for n in shape)))
    blocks[1][blocks[1] == 3] = 1
    for axis in range(1, len(shape) + 1):
        blocks = blocks.repeat(2, axis=axis)
    return [top * m for m in blocks[(slice(None), *(slice(n) for n in shape))]]


@every_surface
@pytest.mark.parametrize("scene", scenes())
def test_scenes(preset: str, scene: str) -> None:
    maps = scenes()[scene]
    compare(maps, [1], spacing_mm=SPACING[: maps[0].ndim], preset=preset)


@every_surface
@pytest.mark.parametrize("shape", [(9, 8, 7), (12, 11)])
def test_many_labels_and_an_ignored_region(preset: str, shape: tuple[int, ...]) -> None:
    maps = labelled(shape=shape)
    region = np.random.default_rng(1).random(shape) < 0.04
    for ignored in (None, region, np.ones(shape, dtype=bool)):
        compare(maps, range(7), spacing_mm=SPACING[: len(shape)], preset=preset, ignored=ignored)


@pytest.mark.parametrize("top", [100, 30000, -1])
def test_labels_of_any_size(top: int) -> None:
    """Codes beyond a byte, too large to be codes, and below 0; labels that nothing has."""
    labels = [*(top * n for n in range(5)), 7, 12345]
    compare(labelled(top), labels, spacing_mm=1.0, preset="monai")


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.uint32, np.int16, ">i4"])
def test_every_type_and_memory_order(dtype: Any) -> None:
    maps = [np.asfortranarray(m).astype(dtype, order="K") for m in labelled()]
    maps[0].flags.writeable = False
    compare([maps[0], maps[1]], [0, 1], spacing_mm=SPACING, preset="monai")
    turned = [m[::-1, :, ::-1] for m in maps]
    compare(turned, [0, 1], spacing_mm=SPACING, preset="monai")


def test_tensors_are_scored_where_they_are() -> None:
    reference, prediction = labelled()
    case = Case(*map(torch.from_numpy, (reference, prediction)), labels=[1], spacing_mm=1)
    assert isinstance(case._counted, TensorMaps)
    plain = Case(reference, prediction, labels=[1], spacing_mm=1)
    assert case.counts(1) == plain.counts(1)
    voxels = [each.components(1).lesions().reference_voxels.tolist() for each in (case, plain)]
    assert voxels[0] == voxels[1]
    assert case.diagonal_mm == plain.diagonal_mm


def test_an_empty_side_is_infinitely_far() -> None:
    mask = np.eye(4, dtype=np.uint8)
    found = Case(mask, 0 * mask, labels=[1], spacing_mm=1, device=DEVICE).surfaces(1)
    assert found.reference_mm.tolist() == [math.inf]
    assert not len(found.prediction_mm)


@pytest.mark.parametrize("metric", [Dice, Hausdorff95])
def test_monai_metrics_leave_tensors_on_their_device(metric: Any, monkeypatch: Any) -> None:
    """Whether by channels or label maps, with and without a mask."""
    y, y_pred = (torch.from_numpy(m)[None, None] for m in labelled())
    one_hot = [torch.cat([m == n for n in range(5)], 1) for m in (y_pred, y)]
    mask = torch.from_numpy(np.random.default_rng(2).random(y.shape) < 0.9)
    by_label = {"num_classes": 5}
    calls = [((y_pred, y), by_label), (one_hot, {}), ((one_hot[0], y), by_label)]
    for given, options in calls:
        for kept in (None, mask):
            scored = metric(spacing_mm=SPACING, **options)
            monkeypatch.setattr(adapter_inputs, "stays_on_device", lambda *_: False)
            expected = scored(*given, mask=kept)
            monkeypatch.setattr(adapter_inputs, "stays_on_device", lambda *_: True)
            close(scored(*given, mask=kept), expected.tolist())


def test_what_is_refused() -> None:
    mask = torch.ones(3, 3)
    with pytest.raises(TypeError, match=r"reference: expected integers or bool, got torch.float32"):
        Case(mask, mask, labels=[1])
    with pytest.raises(ValueError, match=r"reference: expected a 2D or 3D label map, got shape"):
        Case(mask.int()[0], mask.int()[0], labels=[1])
    with pytest.raises(ValueError, match=r"prediction: expected it on the device of the reference"):
        TensorMaps(mask.int(), mask.int().to("meta"), [1])
    far_apart = torch.arange(70000).view(700, 100)
    with pytest.raises(ValueError, match="labels: expected fewer than 65536, got 70000"):
        TensorMaps(far_apart - 1, far_apart, range(70000))


def test_an_array_is_not_copied_without_need() -> None:
    array = np.zeros((3, 4), dtype=np.uint8)
    assert tensor_of(array).data_ptr() == array.ctypes.data


def test_random_masks() -> None:
    for seed, preset in enumerate(SURFACES.values()):
        compare(blobs(seed, (5, 6, 4)), [0, 1], spacing_mm=(0.8, 0.8, 2.5), preset=preset)
