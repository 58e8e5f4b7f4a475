"""Write the data set: thin branching tubes in noise, whose labels are exact because they are drawn.

Everything comes from one seed and the number of the volume, so that every machine makes the same
tubes; a volume does not change when others are added.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

SEED = 2026
SHAPE, SPACING_MM = (48, 48, 24), np.array([1.0, 1.0, 2.0])
EXTENT_MM = (np.array(SHAPE) - 1) * SPACING_MM
COUNTS = {"Tr": 32, "Ts": 20}
TREES, BRANCHINGS = (2, 4), 2
RADII_MM = (0.9, 2.2)
LENGTHS_MM, STEP_MM, BEND = (12.0, 24.0), 0.5, 0.12
CONTRAST = (0.5, 0.9)
GAP_MM, GAP_CHANCE, GAP_CONTRAST = 3.0, 0.3, 0.25
SPOTS = (3, 8)
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
                    _save(array, made / f"{kind}{part}" / f"tubes_{part}_{number:03}.nii.gz")
        try:
            made.rename(folder)
        except OSError:
            if not _has_images(folder):
                raise


def volume(part: str, number: int) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Draw a volume and its exact label map.

    Args:
        part: ``"Tr"`` or ``"Ts"``.
        number: Of the volume in that part.

    Returns:
        The image, 1000 for plain tissue; the label, 1 in every tube.
    """
    rng = np.random.default_rng([SEED, sorted(COUNTS).index(part), number])
    label, bright = np.zeros(SHAPE, dtype=np.uint8), np.zeros(SHAPE)
    for _ in range(rng.integers(TREES[0], TREES[1] + 1)):
        contrast = rng.uniform(*CONTRAST)
        for points, radius_mm in tree(rng):
            inside = tube(points, radius_mm)
            label[inside] = 1
            bright[inside] = np.maximum(bright[inside], contrast)
            for gap in _gaps(rng, points):  # the tube goes on, and can hardly be seen
                faint = inside & tube(gap, radius_mm)
                bright[faint] = np.minimum(bright[faint], GAP_CONTRAST * contrast)
    for _ in range(rng.integers(SPOTS[0], SPOTS[1] + 1)):  # as bright, and no tube
        spot = tube(rng.uniform(0, EXTENT_MM, size=(1, 3)), rng.uniform(*RADII_MM))
        bright[spot & (label == 0)] = rng.uniform(*CONTRAST)
    # The edge of a tube is as blurred as a voxel is large; its label is not.
    tissue = 1 + gaussian_filter(bright, 0.6) + TEXTURE * _smooth(rng, SHAPE, 1.5)
    image = (1 + BIAS * _smooth(rng, SHAPE, 10)) * tissue + NOISE * rng.standard_normal(SHAPE)
    return np.rint(1000 * image).astype(np.int16), label


def tree(rng: np.random.Generator) -> Iterator[tuple[Floats, float]]:
    """Centre lines in mm, (N, 3), and radii in mm of a tube and its branches."""
    start = rng.uniform(0.2, 0.8, size=3) * EXTENT_MM
    side = rng.integers(3)
    start[side] = 0
    direction = rng.standard_normal(3)
    direction[side] = 1.5 + abs(direction[side])
    waiting = [(start, direction, RADII_MM[1], 0)]
    while waiting:
        start, direction, radius, depth = waiting.pop()
        points = _walk(rng, start, direction, rng.uniform(*LENGTHS_MM))
        yield points, radius
        if depth == BRANCHINGS or len(points) < 2:
            continue
        for _ in range(2):
            turned = points[-1] - points[-2] + STEP_MM * rng.uniform(-1, 1, size=3)
            thinner = max(RADII_MM[0], radius * rng.uniform(0.6, 0.9))
            waiting.append((points[-1], turned, thinner, depth + 1))


def tube(points: Floats, radius_mm: float) -> NDArray[np.bool_]:
    """The voxels on a line, and those whose centre is within a radius of it."""
    inside = np.zeros(SHAPE, np.bool_)
    voxels = np.rint(points / SPACING_MM).astype(int)
    voxels = voxels[((voxels >= 0) & (voxels < SHAPE)).all(axis=1)]
    inside[tuple(voxels.T)] = True
    centres = np.stack(np.indices(SHAPE), axis=-1) * SPACING_MM
    bound = np.nextafter(radius_mm, np.inf)  # it is below the bound that a tree looks for
    near = KDTree(points).query(centres.reshape(-1, 3), distance_upper_bound=bound)[0]
    return inside | np.isfinite(near.reshape(SHAPE))


def _walk(rng: np.random.Generator, start: Floats, direction: Floats, length_mm: float) -> Floats:
    """A line that bends, up to where it leaves the volume."""
    points = [start]
    for _ in range(int(length_mm / STEP_MM)):
        direction = direction / np.linalg.norm(direction) + BEND * rng.standard_normal(3)
        points.append(points[-1] + STEP_MM * direction / np.linalg.norm(direction))
        if (points[-1] < 0).any() or (points[-1] > EXTENT_MM).any():
            break
    return np.array(points)


def _gaps(rng: np.random.Generator, points: Floats) -> Iterator[Floats]:
    """Pieces of a line."""
    pieces = int(GAP_MM / STEP_MM)
    for first in range(pieces, len(points) - pieces, 2 * pieces):
        if rng.random() < GAP_CHANCE:
            yield points[first : first + pieces]


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Floats:
    """Smooth noise with mean 0 and standard deviation 1."""
    field: Floats = gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap", truncate=3)
    return (field - field.mean()) / field.std()


def _has_images(folder: Path) -> bool:
    return any(folder.glob("images*/*.nii.gz"))


def _save(array: NDArray[np.int16] | NDArray[np.uint8], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*SPACING_MM, 1.0])), target)


def main() -> None:
    """Write the data set into the folder named on the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", help="new, empty, or with the data set already")
    ensure_dataset(Path(parser.parse_args().folder))


if __name__ == "__main__":
    main()
