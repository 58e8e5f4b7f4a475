"""The cases of docs/tutorial-compare.md: writes reference, model_a and model_b here."""

from pathlib import Path

import nibabel
import numpy as np

spacing_mm = (1.0, 1.0, 2.5)
affine = np.diag([*spacing_mm, 1.0])
axes = np.ogrid[:48, :48, :20]


def ball(centre_mm, radius_mm):
    """The voxels within a distance of a point."""
    steps = zip(axes, centre_mm, spacing_mm, strict=True)
    return sum((axis * mm - middle) ** 2 for axis, middle, mm in steps) <= radius_mm**2


def save(path, organ, tumour):
    """Write a label map: 1 is the organ, 2 the tumour."""
    labels = np.where(tumour, 2, organ).astype(np.uint8)
    Path(path).parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels, affine), path)


random = np.random.default_rng(7)
for number in range(12):
    name = f"case{number:02}.nii.gz"
    place, radius_mm = random.uniform(16, 32, 3), random.uniform(3, 6)
    organ = ball((24, 24, 24), 18)
    save(f"reference/{name}", organ, ball(place, radius_mm))
    # Model A is a little large everywhere; it sees no tumour below 3.6 mm.
    found = ball(place + 0.5, radius_mm + 0.4) if radius_mm > 3.6 else np.zeros_like(organ)
    save(f"model_a/{name}", ball((24.3, 24, 24), 18.4), found)
    # Model B finds every tumour, but less exactly.
    shift = random.normal(0, 0.9, 3)
    save(f"model_b/{name}", ball((24, 24, 24.5), 18.2), ball(place + shift, radius_mm))
