"""Make two example reports with images, lesions and limits, from public data that lie beside.

python docs/examples/example_reports.py DATA OUT

DATA holds ``Task04_Hippocampus`` (Medical Segmentation Decathlon, which MONAI's DecathlonDataset
downloads) and ``lesions`` (images and masks ``NAME_image.nrrd``, ``NAME_label.nrrd``); a study
whose folder is missing is left out. What is evaluated takes seconds to make and is wrong on
purpose, so that there is something to see: the vote of other patients' labels, and lesions that are
too large, invented or forgotten. The pages are report.html in OUT/hippocampus and OUT/lesions.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK
from numpy.typing import NDArray

VOTERS, CASES = 40, 20
INVENTED = 3
"""Lesions that an image does not have."""


def evaluate(folder: Path, *words: str) -> None:
    """``medloss eval`` of the predictions and references in a folder, with a report."""
    sides = [str(folder / name) for name in ("predicted", "reference")]
    command = [
        "eval",
        *sides,
        "--output",
        str(folder),
        "--force",
        "--images",
        str(folder / "images"),
    ]
    done = subprocess.run([sys.executable, "-m", "medloss", *command, *words], check=False)
    if done.returncode not in (0, 3):  # 3: a limit is not met, which is part of the example
        raise SystemExit(done.returncode)


def folders(folder: Path) -> tuple[Path, Path, Path]:
    """Empty folders of predictions, references and images."""
    found = tuple(folder / name for name in ("predicted", "reference", "images"))
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    return found[0], found[1], found[2]


def vote(maps: list[NDArray[np.uint8]], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The most frequent label of each voxel, with the middles of all maps at one place."""
    counts = np.zeros((3, *shape), np.int32)
    for one in maps:
        source, target = [], []
        for theirs, ours in zip(one.shape, shape, strict=True):
            many = min(theirs, ours)
            source.append(slice((theirs - many) // 2, (theirs - many) // 2 + many))
            target.append(slice((ours - many) // 2, (ours - many) // 2 + many))
        for label in range(3):
            counts[(label, *target)] += one[tuple(source)] == label
    return counts.argmax(axis=0).astype(np.uint8)


def hippocampus(data: Path, folder: Path) -> None:
    """20 patients, each labelled by the vote of 40 others."""
    predicted, reference, images = folders(folder)
    paths = sorted((data / "labelsTr").glob("hippocampus_*.nii.gz"))[: VOTERS + CASES]
    maps = [np.asarray(nibabel.load(path).dataobj).astype(np.uint8) for path in paths]
    for path, own in list(zip(paths, maps, strict=True))[VOTERS:]:
        image = nibabel.load(path)
        labels = vote(maps[:VOTERS], own.shape)
        nibabel.save(nibabel.Nifti1Image(labels, image.affine), predicted / path.name)
        shutil.copy(path, reference / path.name)
        shutil.copy(data / "imagesTr" / path.name, images / path.name)
    words = ["--labels", "anterior=1,posterior=2", "--title", "Hippocampus by a vote of 40 others"]
    limits = ["all: dice>=0.7 in 90% of cases", "all: NSD at 1 mm>=0.9"]
    evaluate(folder, *words, *(word for limit in limits for word in ("--accept", limit)))


def lesions(data: Path, folder: Path) -> None:
    """Three patients: outlines a voxel too far, spots that are no lesions, and a forgotten one."""
    predicted, reference, images = folders(folder)
    rng = np.random.default_rng(0)
    for place, path in enumerate(sorted(data.glob("*_label.nrrd"))):
        name = path.name.removesuffix("_label.nrrd")
        image = SimpleITK.ReadImage(str(path.with_name(f"{name}_image.nrrd")))
        label = SimpleITK.ReadImage(str(path)) > 0
        found = SimpleITK.GetArrayFromImage(SimpleITK.BinaryDilate(label, (1, 1, 0)))
        if place == 0:
            found[:] = 0
        bright = np.argwhere(SimpleITK.GetArrayFromImage(image) > image_level(image))
        for z, y, x in bright[rng.integers(len(bright), size=INVENTED)]:
            found[z, y : y + 4, x : x + 4] = 1
        result = SimpleITK.GetImageFromArray(found.astype(np.uint8))
        result.CopyInformation(image)
        for side, made in ((predicted, result), (reference, label), (images, image)):
            SimpleITK.WriteImage(made, str(side / f"{name}.nrrd"), useCompression=True)
    words = ["--labels", "lesion=1", "--title", "Lesions, with errors made for an example"]
    table = ["--lesions", str(folder / "lesions_of_all.csv"), "--lesion-sizes", "100,1000,10000"]
    metrics = [word for name in ("dice", "lesion_f1", "hausdorff95") for word in ("-m", name)]
    evaluate(folder, *words, *table, *metrics, "--accept", "lesion: lesion_f1>=0.5")


def image_level(image: SimpleITK.Image) -> float:
    """A value that one voxel in ten is brighter than."""
    return float(np.quantile(SimpleITK.GetArrayFromImage(image), 0.9))


def main(data: Path, out: Path) -> None:
    """Make the studies whose data are there."""
    for name, make in (("Task04_Hippocampus", hippocampus), ("lesions", lesions)):
        folder = out / name.removeprefix("Task04_").lower()
        if (data / name).is_dir():
            make(data / name, folder)
        else:
            print(f"{data / name} is not there, so there is no {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
