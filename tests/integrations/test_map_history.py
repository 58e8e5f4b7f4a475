"""A map that no longer belongs to its label is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai import transforms as monai
from monai.data import CacheDataset, DataLoader, MetaTensor, PersistentDataset

from medloss.integrations.transforms import ComponentMapd, DistanceMapd, PrepareTargets

KEYS = ("label", "distance_map", "components")


def items(count: int = 2) -> list[dict[str, Any]]:
    made = []
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        label = (torch.rand(1, 12, 12, 12, generator=generator) > 0.5).float()
        made.append({"label": MetaTensor(label, affine=torch.eye(4)), "image": label})
    return made


def batch(transform: Any, dataset: Any = CacheDataset, **options: Any) -> tuple[Any, Any]:
    """As a trainer gets it: spacing before the maps, the transform after them."""
    chain = monai.Compose(
        [
            monai.Spacingd("label", (1.0, 1.0, 1.0), mode="nearest"),
            DistanceMapd("label"),
            ComponentMapd("label"),
            transform,
        ]
    )
    if dataset is CacheDataset:
        options["progress"] = False
    loader = DataLoader(dataset(items(), chain, **options), batch_size=2)
    return PrepareTargets()(next(iter(loader)))


@pytest.mark.parametrize(
    "transform",
    [
        monai.RandFlipd(KEYS, prob=1.0, spatial_axis=1),
        monai.RandAxisFlipd(KEYS, prob=1.0),
        monai.RandRotate90d(KEYS, prob=1.0),
        monai.RandSpatialCropd(KEYS, (6, 6, 6), random_size=False),
        monai.RandCropByPosNegLabeld(KEYS, "label", (6, 6, 6), num_samples=1),
        monai.CenterSpatialCropd(KEYS, (8, 8, 8)),
        monai.Orientationd(KEYS, "LPS", labels=None),
        monai.RandZoomd(KEYS, prob=0.0),
        monai.RandScaleIntensityd("image", factors=0.1, prob=1.0),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_moves_voxels_is_taken(transform: Any) -> None:
    _, target = batch(transform)
    assert set(target) == {"label", "distance_map", "components"}
    inside = target["distance_map"].as_tensor() < 0
    assert torch.equal(inside, target["label"].as_tensor() > 0)


@pytest.mark.parametrize(
    "transform",
    [
        monai.RandZoomd(KEYS, prob=1.0, min_zoom=1.2, max_zoom=1.3, mode="nearest"),
        monai.RandAffined(KEYS, prob=1.0, rotate_range=0.3, mode="nearest"),
        monai.RandRotated(KEYS, prob=1.0, range_x=0.3, mode="nearest"),
        monai.Spacingd(KEYS, (2.0, 2.0, 2.0), mode="nearest"),
        monai.Resized(KEYS, (10, 10, 10), mode="nearest"),
        monai.SpatialPadd(KEYS, (20, 20, 20)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_makes_new_voxels_is_refused_by_name(transform: Any) -> None:
    told = {"Spacingd": "SpatialResample", "Resized": "Resize", "SpatialPadd": "SpatialPad"}
    kind = type(transform).__name__
    with pytest.raises(ValueError, match=f"distance_map: {told.get(kind, kind)} was applied"):
        batch(transform)


def test_maps_come_from_a_persistent_cache(tmp_path: Any) -> None:
    flip = monai.RandFlipd(KEYS, prob=1.0, spatial_axis=0)
    _, fresh = batch(flip, PersistentDataset, cache_dir=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    _, again = batch(flip, PersistentDataset, cache_dir=tmp_path)
    assert torch.equal(fresh["distance_map"].as_tensor(), again["distance_map"].as_tensor())


def test_a_plain_tensor_has_no_history() -> None:
    given = {"image": torch.ones(1), "label": torch.zeros(1), "distance_map": torch.ones(1)}
    assert set(PrepareTargets()(given)[1]) == {"label", "distance_map"}
