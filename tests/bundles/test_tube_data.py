"""The synthetic tubes: the same on every machine, exact, thin, whole, and hard to see in places."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
from bundles.tiny import BUNDLES
from monai.bundle import ConfigParser, verify_net_in_out
from scipy import ndimage

ROOT = BUNDLES / "thin_tubes_synthetic"
TOUCHING = np.ones((3, 3, 3))


@pytest.fixture(scope="module")
def prepare() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        from scripts import prepare

        yield prepare
    for module in ("scripts.prepare", "scripts"):
        del sys.modules[module]


def test_a_volume_is_always_the_same_and_no_other(prepare: ModuleType) -> None:
    image, label = prepare.volume("Ts", 1)
    again = prepare.volume("Ts", 1)
    np.testing.assert_array_equal(image, again[0])
    np.testing.assert_array_equal(label, again[1])
    assert not np.array_equal(label, prepare.volume("Tr", 1)[1])


def test_tubes_are_thin_bright_and_hang_together(prepare: ModuleType) -> None:
    """As many objects as trees at most, whatever the grid, and none deeper than their radius."""
    for number in range(3):
        image, label = prepare.volume("Tr", number)
        assert label.shape == (48, 48, 24)
        assert 1 <= ndimage.label(label, TOUCHING)[1] <= 4
        assert 0.005 < label.mean() < 0.05
        depth = ndimage.distance_transform_edt(label, (1, 1, 2))
        assert np.median(depth[label == 1]) < 2.2
        assert image[label == 1].mean() > image[label == 0].mean() + 150


def test_a_tube_is_every_voxel_within_its_radius(prepare: ModuleType) -> None:
    line = np.array([[10.0, 10.0, z] for z in np.arange(4, 30, 0.5)])
    found = prepare.tube(line, 2.0)
    x, y, z = np.indices(found.shape) * np.array([1, 1, 2]).reshape(3, 1, 1, 1)
    beyond = np.maximum(np.maximum(4 - z, z - 29.5), 0)
    inside = (x - 10) ** 2 + (y - 10) ** 2 + beyond**2 <= 4
    np.testing.assert_array_equal(found, inside)
    thin = prepare.tube(line + 0.4, 0.1)  # thinner than the grid: still one object from end to end
    assert ndimage.label(thin, TOUCHING)[1] == 1
    assert thin.any((0, 1))[2:15].all()


def test_the_data_set_is_made_once_with_its_spacing(prepare: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    prepare.write_dataset(folder, {"Tr": 1, "Ts": 1})
    (case,) = prepare.cases(str(folder), "Ts")
    image, label = nib.load(case["image"]), nib.load(case["label"])
    np.testing.assert_array_equal(image.affine, label.affine)
    assert image.header.get_zooms() == (1, 1, 2)
    np.testing.assert_array_equal(np.asarray(label.dataobj), prepare.volume("Ts", 0)[1])


def config(name: str) -> dict:
    return ConfigParser.load_config_file(str(ROOT / "configs" / f"{name}.json"))


@pytest.mark.parametrize("name", ["train", "inference"])
def test_network_is_as_its_metadata_says(name: str) -> None:
    files = [str(ROOT / "configs" / f"{part}.json") for part in ("metadata", name)]
    verify_net_in_out("network_def", meta_file=files[0], config_file=files[1])


def test_inference_sees_what_validation_saw() -> None:
    train, inference = config("train"), config("inference")
    assert inference["network_def"] == train["network_def"]
    assert inference["inferer"]["roi_size"] == train["patch_size"]
    first, *others = train["validate"]["preprocessing"]["transforms"]
    assert inference["preprocessing"]["transforms"] == [{**first, "keys": "image"}, *others]
