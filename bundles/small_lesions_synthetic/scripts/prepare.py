"""Write the data set: many small lesions in noise, whose labels are exact because they are drawn.

Everything comes from one seed and the number of the volume, so that every machine makes the same
lesions; a volume does not change when others are added.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

SEED = 2026
SIZE, SPACING_MM = 64, 1.0
COUNTS = {"Tr": 32, "Ts": 24}
LESIONS = (3, 20)
RADII_MM = (2.0, 6.0)
CONTRAST = (0.4, 0.8)
NOISE, TEXTURE, BIAS = 0.25, 0.15, 0.15

Floats = NDArray[np.float64]


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
            "name a data set, or an empty or new folder to make the synthetic data in"
        )
    write_dataset(folder)


def write_dataset(folder: Path, counts: dict[str, int] | None = None) -> None:
    """Write images and labels of both parts into a new or empty folder.

    The folder appears all at once: a run that is cut short leaves no half data set behind, and when
    several processes start together the first one to finish wins.

    Args:
        folder: Where ``imagesTr``, ``labelsTr``, ``imagesTs`` and ``labelsTs`` will be.
        counts: Volumes of each part; by default those of the bundle.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        for part, count in (counts or COUNTS).items():
            for number in range(count):
                image, label = volume(part, number)
                for kind, array in (("images", image), ("labels", label)):
                    _save(array, made / f"{kind}{part}" / f"lesions_{part}_{number:03}.nii.gz")
        try:
            made.rename(folder)
        except OSError:
            if not _has_images(folder):
                raise


def volume(part: str, number: int, size: int = SIZE) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Draw a volume and its exact label map.

    Args:
        part: ``"Tr"`` or ``"Ts"``.
        number: Of the volume in that part.
        size: Voxels along each axis.

    Returns:
        The image, 1000 for plain tissue; the label, 1 in every lesion.
    """
    rng = np.random.default_rng([SEED, sorted(COUNTS).index(part), number])
    shape = (size,) * 3
    label, bright = np.zeros(shape, dtype=np.uint8), np.zeros(shape)
    for _ in range(rng.integers(LESIONS[0], LESIONS[1] + 1)):
        box, inside = _ellipsoid(rng, size)
        label[box][inside] = 1
        bright[box][inside] = np.maximum(bright[box][inside], rng.uniform(*CONTRAST))
    # The edge of a lesion is as blurred as a voxel is large; its label is not.
    tissue = 1 + gaussian_filter(bright, 0.6) + TEXTURE * _smooth(rng, shape, 1.5)
    image = (1 + BIAS * _smooth(rng, shape, 14)) * tissue + NOISE * rng.standard_normal(shape)
    return np.rint(1000 * image).astype(np.int16), label


def _ellipsoid(rng: np.random.Generator, size: int) -> tuple[tuple[slice, ...], NDArray[np.bool_]]:
    """A box and where in it an ellipsoid is; small ones are more common than large ones."""
    low, high = RADII_MM
    mean = low + (high - low) * rng.beta(1, 2.5)
    radii = np.clip(mean * np.exp(rng.uniform(-0.25, 0.25, size=3)), low, high)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    reach = int(np.ceil(high / SPACING_MM))
    centre = rng.uniform(reach, size - 1 - reach, size=3)
    first = np.floor(centre).astype(int) - reach
    box = tuple(slice(start, start + 2 * reach + 2) for start in first)
    places = np.stack(np.mgrid[box], axis=-1) - centre
    inside: NDArray[np.bool_] = (((places * SPACING_MM) @ turn / radii) ** 2).sum(axis=-1) <= 1
    return box, inside


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Floats:
    """Smooth noise with mean 0 and standard deviation 1."""
    field: Floats = gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap", truncate=3)
    return (field - field.mean()) / field.std()


def _has_images(folder: Path) -> bool:
    return any(folder.glob("images*/*.nii.gz"))


def _save(array: NDArray[np.int16] | NDArray[np.uint8], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([SPACING_MM] * 3 + [1.0])), target)


def main() -> None:
    """Write the data set into the folder named on the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", help="new, empty, or with the data set already")
    ensure_dataset(Path(parser.parse_args().folder))


if __name__ == "__main__":
    main()
