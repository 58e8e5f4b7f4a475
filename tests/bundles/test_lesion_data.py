"""The synthetic lesions: the same on every machine, exact, small and apart from one another."""

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

ROOT = BUNDLES / "small_lesions_synthetic"


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


def test_lesions_are_few_small_and_brighter(prepare: ModuleType) -> None:
    for number in range(4):
        image, label = prepare.volume("Tr", number)
        assert label.shape == (64, 64, 64)
        components, count = ndimage.label(label)
        assert 1 <= count <= 20
        # an ellipsoid with half axes from 2 to 6 mm; several may touch
        volumes = np.bincount(components.ravel())[1:]
        assert volumes.min() >= 4 / 3 * np.pi * 2**3 * 0.7
        assert 0 < label.mean() < 0.05
        assert image[label == 1].mean() > image[label == 0].mean() + 250


def test_an_ellipsoid_has_the_volume_of_its_axes(prepare: ModuleType) -> None:
    """Drawn by its definition, voxel by voxel, in a box that holds all of it."""

    class Fixed:
        def beta(self, *_: float) -> float:
            return 0.5

        def uniform(self, low: float, high: float, size: int) -> np.ndarray:
            middle = (low + high) / 2
            return np.full(size, 0.0 if low < 0 else np.floor(middle))

        def standard_normal(self, shape: tuple[int, int]) -> np.ndarray:
            return np.eye(*shape)

    box, inside = prepare._ellipsoid(Fixed(), 64)
    assert inside.sum() == sum(
        x * x + y * y + z * z <= 16
        for x in range(-4, 5)
        for y in range(-4, 5)
        for z in range(-4, 5)
    )
    assert all(part.start >= 0 for part in box)


def test_the_data_set_is_made_once_and_nothing_is_overwritten(
    prepare: ModuleType, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    prepare.write_dataset(folder, {"Tr": 1, "Ts": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    (case,) = prepare.cases(str(folder), "Ts")
    image, label = nib.load(case["image"]), nib.load(case["label"])
    np.testing.assert_array_equal(image.affine, label.affine)
    assert image.header.get_zooms() == (1, 1, 1)
    np.testing.assert_array_equal(np.asarray(label.dataobj), prepare.volume("Ts", 0)[1])
    before = Path(case["image"]).stat().st_mtime_ns
    prepare.ensure_dataset(folder)
    assert Path(case["image"]).stat().st_mtime_ns == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(FileExistsError, match="name a data set"):
        prepare.ensure_dataset(tmp_path / "mine")


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
