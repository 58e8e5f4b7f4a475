"""Write the demo's data set from the brain template inside the nilearn package.

The template is exactly mirror-symmetric: its right half is its left half, voxel for voxel. A split
into hemispheres would train and test on one and the same image, so the split is front and back: the
back of the brain trains, the front is held out, and the two share no voxel.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from nilearn import datasets
from numpy.typing import NDArray

FRONT_BEGINS_MM = -16  # world y; halves the brain: 91 mm lie behind, 90 mm in front
MARGIN = 4  # voxels of air kept around the brain where it is not cut
BACK, FRONT = "mni152_back.nii.gz", "mni152_front.nii.gz"


def cases(dataset_dir: str, part: str) -> list[dict[str, str]]:
    """List the image and label files of one part, and make the data set first if there is none.

    Args:
        dataset_dir: Folder of the data set.
        part: ``"Tr"`` for training, ``"Ts"`` for the held-out part.

    Returns:
        One ``{"image": path, "label": path}`` a case, sorted by name.
    """
    folder = Path(dataset_dir)
    ensure_dataset(folder)
    return [
        {"image": str(image), "label": str(folder / f"labels{part}" / image.name)}
        for image in sorted((folder / f"images{part}").glob("*.nii.gz"))
    ]


def ensure_dataset(folder: Path) -> None:
    """Make the data set unless it is there already; nothing is ever overwritten.

    Args:
        folder: Folder of the data set.

    Raises:
        FileExistsError: If the folder holds something else.
    """
    if _has_images(folder):
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} exists and has no imagesTr/*.nii.gz or imagesTs/*.nii.gz; "
            "name a data set, or an empty or new folder to make the demo's data in"
        )
    write_dataset(folder)


def write_dataset(folder: Path) -> None:
    """Write images and labels of both parts into a new or empty folder.

    The folder appears all at once: a run that is cut short leaves no half data set behind, and when
    several processes start together the first one to finish wins.

    Args:
        folder: Where ``imagesTr``, ``labelsTr``, ``imagesTs`` and ``labelsTs`` will be.
    """
    t1, labels, affine = _template()
    front = round(FRONT_BEGINS_MM - affine[1, 3])
    brain = np.argwhere(t1)
    low = np.maximum(brain.min(axis=0) - MARGIN, 0).tolist()
    high = np.minimum(brain.max(axis=0) + MARGIN + 1, t1.shape).tolist()

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        for kind, volume in (("images", t1), ("labels", labels)):
            _save(volume, affine, (low, [high[0], front, high[2]]), made / f"{kind}Tr" / BACK)
            _save(volume, affine, ([low[0], front, low[2]], high), made / f"{kind}Ts" / FRONT)
        try:
            made.rename(folder)
        except OSError:
            if not _has_images(folder):
                raise


def _has_images(folder: Path) -> bool:
    return any(folder.glob("images*/*.nii.gz"))


def _template() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float64]]:
    """The T1 image, its labels (1 grey matter, 2 white matter) and their affine, at 1 mm."""
    image = datasets.load_mni152_template(resolution=1)
    t1 = _values(image)
    grey = _values(datasets.load_mni152_gm_template(resolution=1))
    white = _values(datasets.load_mni152_wm_template(resolution=1))
    labels = np.stack([1 - grey - white, grey, white]).argmax(axis=0)
    labels[t1 == 0] = 0  # the T1 image is zero outside the brain
    return np.rint(255 * t1).astype(np.uint8), labels.astype(np.uint8), image.affine


def _values(image: nib.Nifti1Image) -> NDArray[np.float32]:
    return np.asarray(image.dataobj, dtype=np.float32)


def _save(
    volume: NDArray[np.uint8],
    affine: NDArray[np.float64],
    corners: tuple[list[int], list[int]],
    target: Path,
) -> None:
    """Save the box between two corners where it lies in the world."""
    low, high = corners
    box = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
    placed = affine.copy()
    placed[:3, 3] += affine[:3, :3] @ low
    target.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(volume[box], placed), target)


def main() -> None:
    """Write the data set into the folder named on the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", help="new, empty, or with the data set already")
    ensure_dataset(Path(parser.parse_args().folder))


if __name__ == "__main__":
    main()
