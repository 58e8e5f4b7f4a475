"""Maps made once per volume: what they are, and that flips, turns and crops carry them exactly."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedTrainer
from monai.transforms import Compose, Flipd, RandSpatialCropd, Rotate90d, SpatialCropd
from scipy import ndimage
from torch import Tensor

import medloss
from medloss.distance import signed_distance
from medloss.integrations.transforms import ComponentMapd, DistanceMapd, PrepareTargets

SPACING_MM = (1.0, 2.0, 0.5)
AFFINE = torch.diag(torch.tensor([*SPACING_MM, 1.0], dtype=torch.float64))


def labels(shape: tuple[int, ...] = (14, 11, 12), classes: int = 3, seed: int = 0) -> MetaTensor:
    """Blobs of every class, (1, *shape)."""
    noise = np.random.default_rng(seed).standard_normal((classes, *shape))
    smooth = ndimage.gaussian_filter(noise, (0, *[1.5] * len(shape)))
    label = torch.from_numpy(smooth.argmax(0)[None])
    return MetaTensor(label, affine=AFFINE, meta={"filename_or_obj": "case_7.nii.gz"})


def masks(label: Tensor, classes: int = 3) -> Tensor:
    return torch.stack([label[0] == c for c in range(classes)])


@pytest.mark.parametrize("convention", ["surface", "kervadec", "symmetric"])
def test_distance_map_is_that_of_the_losses(convention: Any) -> None:
    label = labels()
    item = DistanceMapd(keys="label", classes=3, convention=convention)({"label": label})
    made = item["distance_map"]
    expected = signed_distance(masks(label.as_tensor())[None], SPACING_MM, convention=convention)[0]
    assert torch.equal(made.as_tensor(), expected)
    assert made.dtype == torch.float32
    assert torch.equal(made.affine, label.affine)
    assert made.meta["filename_or_obj"] == "case_7.nii.gz"
    assert item["label"] is label


def test_classes_in_any_order_and_labels_of_channels() -> None:
    label = labels()
    whole = DistanceMapd(keys="label", classes=3)({"label": label})["distance_map"].as_tensor()
    some = DistanceMapd(keys="label", classes=[2, 0, 1])({"label": label})["distance_map"]
    assert torch.equal(some.as_tensor(), whole[[2, 0, 1]])
    channels = MetaTensor(masks(label.as_tensor()).float(), affine=AFFINE)
    for classes in (None, 3):
        made = DistanceMapd(keys="label", classes=classes)({"label": channels})["distance_map"]
        assert torch.equal(made.as_tensor(), whole)
    single = DistanceMapd(keys="label")({"label": channels[1:2]})["distance_map"]
    assert torch.equal(single.as_tensor(), whole[1:2])


def test_two_keys_and_spacing_of_plain_tensors() -> None:
    label = labels().as_tensor()
    made = DistanceMapd(
        keys=["a", "b"], classes=3, map_keys=["map_a", "map_b"], spacing_mm=SPACING_MM
    )({"a": label, "b": label.flip(1)})
    assert type(made["map_a"]) is Tensor
    assert torch.equal(made["map_b"], made["map_a"].flip(1))
    missing = DistanceMapd(keys="label", classes=3, allow_missing_keys=True)({"image": label})
    assert list(missing) == ["image"]


MOVES: list[Any] = [
    Flipd(keys=["label", "distance_map", "components"], spatial_axis=0),
    Flipd(keys=["label", "distance_map", "components"], spatial_axis=(1, 2)),
    Rotate90d(keys=["label", "distance_map", "components"], k=1, spatial_axes=(0, 1)),
    Rotate90d(keys=["label", "distance_map", "components"], k=3, spatial_axes=(1, 2)),
    Rotate90d(keys=["label", "distance_map", "components"], k=2, spatial_axes=(0, 2)),
]


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_flips_and_turns_carry_a_map_exactly(move: Any, dtype: str) -> None:
    """Made and moved it is what is made of the moved label, whose spacing moves along."""
    make = Compose([DistanceMapd(keys="label", classes=3, dtype=dtype), ComponentMapd("label")])
    made = move(make({"label": labels()}))
    moved = {"label": made["label"]}
    again = make(moved)
    # the order in which squares are added may change the last bit
    torch.testing.assert_close(
        made["distance_map"].as_tensor(),
        again["distance_map"].as_tensor(),
        rtol=3e-7 if dtype == "float32" else 1e-3,
        atol=0,
    )
    assert torch.allclose(made["distance_map"].affine, made["label"].affine)
    a, b = (each["components"].as_tensor() for each in (made, again))
    assert torch.equal(a > 0, b > 0)
    pairs = {(int(x), int(y)) for x, y in zip(a.flatten(), b.flatten(), strict=True)}
    assert len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})  # renumbered


CROPPED = ["label", "distance_map", "where"]


@pytest.mark.parametrize(
    "crop",
    [
        SpatialCropd(CROPPED, roi_start=(3, 2, 4), roi_end=(9, 8, 9)),
        RandSpatialCropd(CROPPED, roi_size=(5, 6, 7)),
    ],
)
def test_a_cropped_map_is_that_of_the_whole_volume(crop: Any) -> None:
    label = labels()
    whole = signed_distance(masks(label.as_tensor())[None], SPACING_MM)[0]
    place = torch.arange(label.numel()).view(label.shape)
    item = {"label": label, "where": MetaTensor(place, affine=AFFINE)}
    if isinstance(crop, RandSpatialCropd):
        crop.set_random_state(7)
    cropped = crop(DistanceMapd(keys="label", classes=3)(item))
    at = cropped["where"].as_tensor()[0]
    assert torch.equal(cropped["distance_map"].as_tensor(), whole.flatten(1)[:, at])
    alone = DistanceMapd(keys="label", classes=3)({"label": cropped["label"]})["distance_map"]
    assert not torch.equal(alone.as_tensor(), cropped["distance_map"].as_tensor())


def test_half_precision_holds_what_is_squared_beyond_it() -> None:
    label = torch.zeros(1, 400, 3)
    label[:, 0, 0] = 1
    made = DistanceMapd(keys="label", spacing_mm=(5.0, 1.0), dtype="float16")({"label": label})
    half = made["distance_map"]
    assert half.dtype == torch.float16
    assert bool(half.isfinite().all())
    exact = signed_distance(label[None], (5.0, 1.0))[0]
    torch.testing.assert_close(half.float(), exact, rtol=1e-3, atol=0)
    far = DistanceMapd(keys="label", spacing_mm=1e4, dtype=torch.float16)({"label": label})
    assert bool(far["distance_map"].isfinite().all())


def test_components_of_each_class_and_of_all() -> None:
    label = torch.tensor([[[1, 1, 0, 2, 2, 0], [0, 0, 0, 0, 1, 1], [2, 0, 0, 0, 0, 0]]])
    each = ComponentMapd(keys="label")({"label": label})["components"]
    assert each.tolist() == [[[1, 1, 0, 3, 3, 0], [0, 0, 0, 0, 2, 2], [4, 0, 0, 0, 0, 0]]]
    together = ComponentMapd(keys="label", each_class=False)({"label": label})["components"]
    assert together.tolist() == [[[1, 1, 0, 2, 2, 0], [0, 0, 0, 0, 2, 2], [3, 0, 0, 0, 0, 0]]]
    channels = torch.stack([label[0] == c for c in range(3)]).float()
    from_channels = ComponentMapd(keys="label")({"label": channels})["components"]
    assert torch.equal(from_channels, each)
    background = ComponentMapd(keys="label", include_background=True)({"label": channels})
    assert int(background["components"].max()) == 6
    nothing = ComponentMapd(keys="label")({"label": torch.zeros(1, 2, 3)})["components"]
    assert nothing.shape == (1, 2, 3)
    assert nothing.dtype == torch.int64
    assert int(nothing.max()) == 0


@pytest.mark.parametrize(("connectivity", "objects"), [(1, 3), (2, 2), (3, 1), (None, 1)])
def test_connectivity(connectivity: int | None, objects: int) -> None:
    label = torch.zeros(1, 3, 3, 3)
    label[0, 0, 0, 0] = label[0, 1, 1, 0] = label[0, 2, 2, 1] = 1
    made = ComponentMapd(keys="label", connectivity=connectivity)({"label": label})
    assert int(made["components"].max()) == objects
    with pytest.raises(ValueError, match="connectivity: expected None or 1 to 3, got 4"):
        ComponentMapd(keys="label", connectivity=4)({"label": label})


def test_a_bundle_trains_on_maps_of_whole_volumes() -> None:
    """From the config alone: maps, crops, a prepare_batch, and a loss that needs no spacing."""
    config = json.loads("""{
      "transform": {"_target_": "Compose", "transforms": [
        {"_target_": "medloss.integrations.transforms.DistanceMapd", "keys": "label", "classes": 3},
        {"_target_": "medloss.integrations.transforms.ComponentMapd", "keys": "label"},
        {"_target_": "RandSpatialCropd", "keys": ["image", "label", "distance_map", "components"],
         "roi_size": [8, 8, 8]},
        {"_target_": "RandFlipd", "keys": ["image", "label", "distance_map", "components"],
         "prob": 1.0}
      ]},
      "prepare_batch": {"_target_": "medloss.integrations.transforms.PrepareTargets"},
      "loss": {"_target_": "medloss.losses.CompoundLoss", "softmax": true,
               "terms": ["dice", "cross_entropy", "boundary"], "weights": [1, 1, 0.01]}
    }""")
    parser = ConfigParser(config)
    parser.parse()
    transform, prepare, loss = (
        parser.get_parsed_content(name) for name in ("transform", "prepare_batch", "loss")
    )
    transform.set_random_state(0)
    items = [
        {"image": MetaTensor(torch.randn(1, 14, 11, 12), affine=AFFINE), "label": labels(seed=seed)}
        for seed in range(2)
    ]
    network = torch.nn.Conv3d(1, 3, 3, padding=1)
    before = network.weight.detach().clone()
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=DataLoader(Dataset(items, transform), batch_size=2),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        loss_function=loss,
        prepare_batch=prepare,
    )
    trainer.run()
    assert not torch.equal(network.weight, before)
    batch = next(iter(DataLoader(Dataset(items, transform), batch_size=2)))
    image, target = prepare(batch)
    assert sorted(target) == ["components", "distance_map", "label"]
    logits = network(image.as_tensor())
    boundary = medloss.loss("boundary", softmax=True)
    by_hand = (logits.softmax(1) * target["distance_map"].as_tensor()).mean()
    torch.testing.assert_close(boundary(logits, target), by_hand)


def test_transforms_are_pickled_for_the_workers_of_a_loader() -> None:
    for transform in (DistanceMapd("label", 3), ComponentMapd("label"), PrepareTargets()):
        again = pickle.loads(pickle.dumps(transform))
        assert type(again) is type(transform)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"convention": "mine"}, "convention: expected one of"),
        ({"empty": "none"}, "empty: expected one of"),
        ({"dtype": "int8"}, "dtype: expected one of"),
        ({"dtype": torch.int8}, "dtype: expected one of"),
        ({"classes": 0}, "classes: expected a number or different labels"),
        ({"classes": [1, 1]}, "classes: expected a number or different labels"),
        ({"classes": 2.5}, "classes: expected a number or different labels"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DistanceMapd(keys="label", **options)


@pytest.mark.parametrize(
    ("options", "label", "error", "words"),
    [
        ({"classes": 2}, labels(), ValueError, r"label: expected labels out of \[0, 1\], got \[2"),
        ({}, labels(), ValueError, "classes: expected them for the integer labels of label"),
        ({"classes": 3}, labels().as_tensor(), ValueError, "spacing_mm: expected the size"),
        ({"classes": 3}, labels()[0], ValueError, "label: expected"),
        ({"classes": 3}, labels().numpy(), TypeError, "label: expected a torch.Tensor"),
        ({"classes": 3}, masks(labels())[:2], ValueError, "label: expected 1 channel or 3"),
        ({}, 2 * masks(labels()), ValueError, "label: expected masks in its 3 channels"),
    ],
)
def test_labels_that_cannot_be_meant(
    options: dict[str, Any], label: Any, error: type[Exception], words: str
) -> None:
    if label.ndim == 3:
        label = label[0]
    with pytest.raises(error, match=words):
        DistanceMapd(keys="label", **options)({"label": label})
