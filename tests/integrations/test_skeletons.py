"""Tubed skeletons made once per volume."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, Rotate90d, SpatialCropd
from scipy import ndimage

measure = pytest.importorskip("skimage.measure", reason="scikit-image is not installed")

from medloss.integrations.skeletons import SkeletonMapd  # noqa: E402
from medloss.integrations.transforms import PrepareTargets  # noqa: E402
from medloss.objects.skeletons import centre_lines, tubed_skeleton  # noqa: E402


def blobs(axes: int, seed: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    noise = np.random.default_rng(seed).standard_normal([18] * axes)
    smooth: Any = ndimage.gaussian_filter(noise, 1.2)
    return np.asarray(smooth > 0.1, np.bool_)


def rod() -> torch.Tensor:
    """A rod of 3 x 5 voxels along the last axis; class 2 in its second half."""
    label = torch.zeros(1, 9, 11, 20, dtype=torch.int64)
    label[:, 3:6, 3:8, 2:18] = 1
    label[:, 3:6, 3:8, 10:18] = 2
    return label


@given(axes=st.sampled_from([2, 3]), seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_skeleton_is_thin_inside_and_has_the_shape_of_the_object(axes: int, seed: int) -> None:
    mask = blobs(axes, seed)
    skeleton = tubed_skeleton(mask, 0)
    assert not (skeleton & ~mask).any()
    assert skeleton.sum() < mask.sum() / 2
    around = np.ones([3] * axes)
    assert ndimage.label(skeleton, around)[1] == ndimage.label(mask, around)[1]
    assert measure.euler_number(skeleton, axes) == measure.euler_number(mask, axes)


@given(axes=st.sampled_from([2, 3]), seed=st.integers(0, 10_000), radius=st.integers(0, 3))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_tube_holds_the_voxels_within_its_radius(axes: int, seed: int, radius: int) -> None:
    """The formula, distance by distance."""
    mask = blobs(axes, seed)[:12, :12]
    centres = np.argwhere(tubed_skeleton(mask, 0))
    voxels = np.argwhere(mask)
    steps = np.abs(voxels[:, None] - centres[None]).sum(-1).min(1)
    expected = np.zeros_like(mask)
    expected[tuple(voxels[steps <= radius].T)] = True
    assert np.array_equal(tubed_skeleton(mask, radius), expected)


def test_the_skeleton_of_a_rod_is_its_axis() -> None:
    made = SkeletonMapd(keys="label", classes=3, tube_radius=0)({"label": rod()})["skeleton"]
    assert made.dtype == torch.uint8
    assert made.shape == (3, 9, 11, 20)
    assert not made[0].any()
    for index, (first, last) in ((1, (2, 9)), (2, (10, 17))):
        where = made[index].nonzero()
        assert where[:, :2].unique(dim=0).tolist() == [[4, 5]]
        assert first <= where[:, 2].min()
        assert where[:, 2].max() <= last
    whole = SkeletonMapd(keys="label", classes=3, tube_radius=0, each_class=False)
    together = whole({"label": rod()})["skeleton"]
    assert together[1, 4, 5, 9] == 1  # it does not end where the classes meet
    assert together[2, 4, 5, 10] == 1
    assert made[:, 4, 5, 9:11].sum() < 2
    assert torch.equal(together.sum(0) > 0, together.any(0))
    assert not (together[1] & together[2]).any()


@pytest.mark.parametrize("thickness", [2, 4, 6])
def test_objects_of_even_thickness_have_a_skeleton(thickness: int) -> None:
    """scikit-image alone leaves nothing of them."""
    mask = np.zeros((10, 10, 30), np.bool_)
    mask[1 : 1 + thickness, 1 : 1 + thickness, 2:28] = True
    mask[8, 8, 8] = True  # and what has one keeps it
    skeleton = centre_lines(mask)
    assert skeleton[8, 8, 8]
    where = np.argwhere(skeleton[:8, :8])
    assert len(np.unique(where[:, :2], axis=0)) == 1
    assert np.ptp(where[:, 2]) >= 26 - thickness - 1
    block = np.zeros((6, 6, 6), np.bool_)
    block[1:3, 1:3, 1:3] = True
    assert 1 <= centre_lines(block).sum() <= 2


def test_the_tube_of_the_paper_is_cut_where_classes_meet() -> None:
    made = SkeletonMapd(keys="label", classes=3, each_class=False)({"label": rod()})["skeleton"]
    for index in (1, 2):
        assert not (made[index].bool() & (rod()[0] != index)).any()
    assert made[1, 3:6, 3:8, 6].tolist() == [  # within 2 steps of the axis
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
        [0, 1, 1, 1, 0],
    ]


def test_channels_masks_and_chosen_classes() -> None:
    label = rod()
    whole = SkeletonMapd(keys="label", classes=3)({"label": label})["skeleton"]
    channels = torch.stack([label[0] == c for c in range(3)]).float()
    assert torch.equal(SkeletonMapd(keys="label")({"label": channels})["skeleton"], whole)
    single = SkeletonMapd(keys="label")({"label": channels[1:2]})["skeleton"]
    assert torch.equal(single, whole[1:2])
    some = SkeletonMapd(keys="label", classes=[2, 0, 1])({"label": label})["skeleton"]
    assert torch.equal(some, whole[[2, 0, 1]])
    foreground = SkeletonMapd(keys="label", classes=[1, 2])
    with pytest.raises(ValueError, match=r"expected labels out of \[1, 2\], got \[0\] too"):
        foreground({"label": label})
    background = SkeletonMapd(keys="label", classes=3, include_background=True)
    assert background({"label": label})["skeleton"][0].any()
    empty = SkeletonMapd(keys="label", classes=3)({"label": torch.zeros_like(label)})["skeleton"]
    assert not empty.any()


def test_two_dimensions_keys_and_what_is_missing() -> None:
    label = rod()[:, 4]
    made = SkeletonMapd(keys=["a", "b"], classes=3, map_keys=["x", "y"])
    item = made({"a": label, "b": label.flip(1)})
    assert item["x"].shape == (3, 11, 20)
    assert type(item["x"]) is torch.Tensor
    assert item["y"].any()
    missing = SkeletonMapd(keys="label", classes=3, allow_missing_keys=True)({"image": label})
    assert list(missing) == ["image"]
    again = pickle.loads(pickle.dumps(made))({"a": label, "b": label})
    assert torch.equal(again["x"], item["x"])


def test_flips_turns_and_crops_carry_a_skeleton_exactly() -> None:
    affine = torch.diag(torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=torch.float64))
    label = MetaTensor(rod(), affine=affine, meta={"filename_or_obj": "case_7.nii.gz"})
    keys = ["label", "skeleton"]
    made = SkeletonMapd(keys="label", classes=3)({"label": label})
    assert made["skeleton"].meta["filename_or_obj"] == "case_7.nii.gz"
    assert torch.equal(made["skeleton"].affine, affine)
    plain = made["skeleton"].as_tensor()
    moves = Compose(
        [
            Flipd(keys, spatial_axis=0),
            Rotate90d(keys, k=1, spatial_axes=(0, 2)),
            SpatialCropd(keys, roi_start=(3, 2, 1), roi_end=(17, 10, 8)),
        ]
    )
    moved = moves(made)["skeleton"]
    assert moved.dtype == torch.uint8
    expected = plain.flip(1).rot90(1, (1, 3))[:, 3:17, 2:10, 1:8]
    assert torch.equal(moved.as_tensor(), expected)


def test_it_reaches_the_loss() -> None:
    item = SkeletonMapd(keys="label", classes=3)({"label": rod(), "image": torch.zeros(1)})
    _, target = PrepareTargets()({key: value[None] for key, value in item.items()})
    assert target["skeleton"].shape == (1, 3, 9, 11, 20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tube_radius": -1}, "tube_radius: expected a whole number of voxels from 0 on, got -1"),
        ({"tube_radius": 1.5}, "tube_radius"),
        ({"tube_radius": True}, "tube_radius"),
        ({"classes": []}, "classes"),
        ({"include_background": True, "each_class": False}, "include_background: expected False"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SkeletonMapd(keys="label", **options)


def test_labels_that_cannot_be_meant() -> None:
    made = SkeletonMapd(keys="label")
    with pytest.raises(TypeError, match=r"label: expected a torch.Tensor, got ndarray"):
        made({"label": np.zeros((1, 3, 3))})
    with pytest.raises(ValueError, match="classes: expected them for the integer labels"):
        made({"label": rod()})


def test_without_scikit_image_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "skimage.morphology", None)
    with pytest.raises(ImportError, match="scikit-image: the extra skeleton of medloss"):
        SkeletonMapd(keys="label")
