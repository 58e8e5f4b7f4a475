"""The demo's data: made once from the template, placed where it was cut, never overwritten."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
from bundles.tiny import BUNDLES
from numpy.typing import NDArray


@pytest.fixture(scope="module")
def prepare() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BUNDLES / "brain_tissue_mr")
        from scripts import prepare

        yield prepare
    for module in ("scripts.prepare", "scripts"):
        del sys.modules[module]


@pytest.fixture(scope="module")
def data(prepare: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("brain") / "made" / "data"
    prepare.ensure_dataset(folder)
    return folder


def volumes(data: Path, kind: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    back = nib.load(data / f"{kind}Tr" / "mni152_back.nii.gz")
    front = nib.load(data / f"{kind}Ts" / "mni152_front.nii.gz")
    return np.asarray(back.dataobj), np.asarray(front.dataobj)


def test_only_the_data_set_is_left_behind(data: Path) -> None:
    assert [path.name for path in data.parent.iterdir()] == ["data"]
    assert sorted(p.name for p in data.iterdir()) == [
        "imagesTr",
        "imagesTs",
        "labelsTr",
        "labelsTs",
    ]


def test_front_begins_where_back_ends(data: Path) -> None:
    back = nib.load(data / "imagesTr" / "mni152_back.nii.gz")
    front = nib.load(data / "imagesTs" / "mni152_front.nii.gz")
    beyond_back = back.affine @ [0, back.shape[1], 0, 1]
    np.testing.assert_array_equal(beyond_back, front.affine[:, 3])
    assert front.affine[1, 3] == -16
    assert back.header.get_zooms() == front.header.get_zooms() == (1, 1, 1)


def test_parts_join_into_the_template(data: Path) -> None:
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=1)
    joined = np.concatenate(volumes(data, "images"), axis=1)
    x, y, z = (nib.load(data / "imagesTr" / "mni152_back.nii.gz").affine - image.affine)[:3, 3]
    low = np.array([x, y, z], dtype=int)
    box = tuple(slice(start, start + size) for start, size in zip(low, joined.shape, strict=True))
    template = np.rint(255 * np.asarray(image.dataobj)).astype(np.uint8)
    np.testing.assert_array_equal(joined, template[box])
    assert joined.sum(dtype=np.int64) == template.sum(dtype=np.int64), "the crop lost some brain"


def test_hemispheres_are_mirror_images(data: Path) -> None:
    """Why the split is front and back."""
    for kind in ("images", "labels"):
        for volume in volumes(data, kind):
            np.testing.assert_array_equal(volume, volume[::-1])


def test_labels_lie_in_the_brain_and_order_by_brightness(data: Path) -> None:
    for image, label in zip(volumes(data, "images"), volumes(data, "labels"), strict=True):
        assert np.unique(label).tolist() == [0, 1, 2]
        assert not label[image == 0].any()
        rest, grey, white = (image[(image > 0) & (label == n)].mean() for n in range(3))
        assert rest < grey < white


def test_cases_pair_images_with_labels_and_keep_what_is_there(
    prepare: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "imagesTs").mkdir()
    (tmp_path / "imagesTs" / "mine.nii.gz").write_bytes(b"my file")
    [case] = prepare.cases(str(tmp_path), "Ts")
    assert case["image"] == str(tmp_path / "imagesTs" / "mine.nii.gz")
    assert case["label"] == str(tmp_path / "labelsTs" / "mine.nii.gz")
    assert Path(case["image"]).read_bytes() == b"my file"
    assert [path.name for path in tmp_path.iterdir()] == ["imagesTs"]


def test_folder_with_something_else_is_refused(prepare: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="exists and has no"):
        prepare.ensure_dataset(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_empty_folder_is_filled_and_late_writer_gives_way(
    prepare: ModuleType, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    prepare.write_dataset(empty)
    [image] = (empty / "imagesTr").iterdir()
    first = image.stat().st_mtime_ns
    prepare.write_dataset(empty)
    assert image.stat().st_mtime_ns == first
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
