"""Centreline boundary Dice: worked values, a slow reading of the formula, its holes, ready maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage
from torch import Tensor

import medloss
from medloss.integrations.skeletons import SkeletonMapd
from medloss.integrations.transforms import DistanceMapd
from medloss_topology.soft_skeleton import skeletons_of_masks, soft_skeleton


def bar() -> tuple[Tensor, Tensor]:
    """Input K: a bar with a gap."""
    g = torch.zeros(1, 1, 7, 9, dtype=torch.float64)
    g[..., 2:5, :] = 1
    p = 0.1 + 0.8 * g
    p[..., 2:5, 4] = 0.2
    return p, g


def thick_and_thin() -> Tensor:
    g = torch.zeros(1, 1, 7, 9, dtype=torch.float64)
    g[..., 1:6, :5], g[..., 3, 5:] = 1, 1
    return g


def cb_dice(**options: Any) -> Any:
    return medloss.loss("cb_dice", **{"spacing_mm": 1.0, **options})


def value_and_slope(p: Tensor, g: Tensor, **extras: Any) -> tuple[float, Tensor]:
    z = p.logit().requires_grad_()
    value = cb_dice(sigmoid=True)(z, g, **extras)
    value.backward()
    assert z.grad is not None
    return float(value.detach()), z.grad[0, 0]


def vessels(shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Probability and mask of blurred noise: tubes and lumps of every width."""
    rng = np.random.default_rng(seed)

    def field() -> np.ndarray:
        found = ndimage.gaussian_filter(rng.standard_normal(shape), 1.2)
        return found / found.std()

    first, second = field(), field()
    g = torch.from_numpy((first > 0.5).astype(np.float64))
    return torch.sigmoid(torch.from_numpy(2 * first + second - 1))[None, None], g[None, None]


def skeleton(mask: np.ndarray, iterations: int = 10) -> np.ndarray:
    """What opening by the full block removes of each erosion by the cross."""
    cross = ndimage.generate_binary_structure(mask.ndim, 1)
    block = np.ones([3] * mask.ndim)
    found, layer = np.zeros_like(mask), mask
    for _ in range(iterations + 1):
        eroded = ndimage.binary_erosion(layer, cross, border_value=1)
        found |= layer & ~ndimage.binary_dilation(eroded, block)
        layer = eroded
    return found


def slowly(p: np.ndarray, g: np.ndarray, spacing: tuple[float, ...], smooth: float = 1) -> float:
    """The formula with SciPy's distances, for one image."""
    sides = []
    for mask in (g > 0.5, p > 0.5):
        s = skeleton(mask)
        d = ndimage.distance_transform_edt(mask, spacing)
        r = max(min(spacing), *d[s]) if s.any() else min(spacing)
        d = np.minimum(d, r)
        sides.append((s, d / r, np.where(s, ((r - d + min(spacing)) / r) ** (p.ndim - 1), 0)))
    (s_g, d_g, w_g), (s_p, d_p, w_p) = sides
    below = np.where(s_g, d_g, p * d_p), np.where(s_p, p * d_p, d_g)
    precision = ((p * w_p * d_g).sum() + smooth) / ((p * w_p * below[0]).sum() + smooth)
    recall = ((w_g * p * d_p).sum() + smooth) / ((w_g * below[1]).sum() + smooth)
    return float(1 - 2 * precision * recall / (precision + recall))


def test_worked_values() -> None:
    value, slope = value_and_slope(*bar())
    assert value == pytest.approx(1 - 0.887700534759, abs=1e-12)
    assert float(slope[3, 3]) == pytest.approx(-0.00267665646716, abs=1e-13)
    assert float(slope[3, 0]) == pytest.approx(-0.00108095741943, abs=1e-13)
    assert slope[3, 4] == 0
    g = thick_and_thin()
    assert float(cb_dice()(g, g)) == 0
    for gap, expected in (((3, 7), 0.94555323214), ((slice(1, 6), 2), 0.836145594878)):
        p = 0.1 + 0.8 * g
        p[(0, 0, *gap)] = 0.2
        assert float(cb_dice()(p, g)) == pytest.approx(1 - expected, abs=1e-11)


@pytest.mark.parametrize(
    ("shape", "spacing"), [((14, 17), (1.0, 1.0)), ((9, 12, 11), (2.5, 0.7, 0.7))]
)
def test_equals_the_formula_in_mm(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    for seed in range(3):
        p, g = vessels(shape, seed)
        found = cb_dice(spacing_mm=spacing)(p, g)
        assert float(found) == pytest.approx(slowly(p[0, 0].numpy(), g[0, 0].numpy(), spacing))
        # millimetres are a unit: of voxels ten times as large it is the same picture
        larger = cb_dice(spacing_mm=tuple(10 * each for each in spacing))(p, g)
        torch.testing.assert_close(larger, found)
        in_voxels = float(cb_dice(spacing_mm="voxel")(p, g))
        assert (in_voxels == pytest.approx(float(found))) == (len(set(spacing)) == 1)


def test_classes_have_their_own_tubes() -> None:
    """Not merged: the loss of several is the mean of each alone."""
    both = [vessels((12, 13), seed) for seed in (0, 1)]
    p, g = (torch.cat(each, 1) for each in zip(*both, strict=True))
    alone = [float(cb_dice()(*each)) for each in both]
    assert float(cb_dice()(p, g)) == pytest.approx(sum(alone) / 2)
    assert cb_dice(reduction="none")(p, g).tolist() == [pytest.approx(alone)]


class TestHoles:
    """What the card warns of; a region loss beside it has the gradient that is missing here."""

    def test_a_missed_branch_and_a_faint_prediction_have_no_gradient(self) -> None:
        value, slope = value_and_slope(0.4 * torch.ones(1, 1, 7, 9).double(), thick_and_thin())
        assert value == pytest.approx(1 - 0.450627815687, abs=1e-11)
        assert not slope.any()

    def test_an_empty_target_costs_on_the_false_skeleton_alone(self) -> None:
        empty = torch.zeros(1, 1, 7, 9, dtype=torch.float64)
        p = empty + 0.1
        p[..., 2:5, :] = 0.9
        value, slope = value_and_slope(p, empty)
        assert value == pytest.approx(1 - 0.354295837024, abs=1e-11)
        assert float(slope[3, 4]) == pytest.approx(0.00508378437537, abs=1e-13)
        assert not slope[[0, 1, 2, 4, 5, 6]].any()

    def test_what_fills_the_image_has_no_skeleton(self) -> None:
        empty = torch.zeros(1, 1, 7, 9, dtype=torch.float64)
        value, slope = value_and_slope(empty + 0.9, empty)
        assert value == pytest.approx(0, abs=1e-12)
        assert not slope.any()


def test_ready_maps_of_the_target_are_taken() -> None:
    p, g = vessels((12, 13, 9))
    spacing = (1.0, 1.0, 2.0)
    affine = torch.diag(torch.tensor([*spacing, 1.0]))
    item = {"label": MetaTensor(g[0].long(), affine=affine)}
    item = DistanceMapd(keys="label", convention="symmetric")(item)
    loss = cb_dice(spacing_mm=spacing)
    expected = float(loss(p, g))
    distance = torch.as_tensor(item["distance_map"])[None].double()
    own = torch.from_numpy(skeleton(g[0, 0].numpy() > 0))[None, None]
    for ready in ({"distance_map": distance}, {"skeleton": own.byte()}):
        assert float(loss(p, g, **ready)) == pytest.approx(expected, rel=1e-6)
    lines = SkeletonMapd(keys="label", tube_radius=0)(item)["skeleton"][None]
    assert loss(p, g, skeleton=lines) != expected
    assert loss(p, g, skeleton=torch.zeros_like(lines)) != expected


def test_ignored_voxels_are_as_if_cut_away() -> None:
    p, g = vessels((12, 14))
    expected = cb_dice()(p[..., :9], g[..., :9])
    p[..., 9:] = 0.9
    ignored = g.long()
    ignored[..., 9:] = 255
    torch.testing.assert_close(cb_dice(ignore_index=255)(p, ignored), expected)


def test_skeletons_of_masks_are_the_soft_ones() -> None:
    for shape in ((11, 12), (7, 8, 9)):
        mask = vessels(shape)[1] > 0
        known = torch.ones_like(mask)
        known[..., :3, :2] = False
        for counts in (None, known):
            soft = soft_skeleton(mask[0].double(), 4, None if counts is None else counts[0])
            counted = mask if counts is None else mask & counts
            found = skeletons_of_masks(counted, counts, 4)
            assert torch.equal(found[0].double(), soft)


def test_it_needs_a_spacing_and_whole_iterations() -> None:
    with pytest.raises(ValueError, match="spacing_mm: expected the size of a voxel"):
        medloss.loss("cb_dice")(*bar())
    with pytest.raises((ValueError, TypeError), match="iterations"):
        medloss.loss("cb_dice", iterations=-1)
