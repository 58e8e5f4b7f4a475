"""The images of a folder as cases of a bundle's inference."""

from __future__ import annotations

import os
from pathlib import Path


def images_in(folder: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Every NIfTI image of a folder as a case, sorted by name; labels are not needed.

    Args:
        folder: with ``.nii`` or ``.nii.gz`` files in it; hidden files are left out.

    Raises:
        FileNotFoundError: there is no such folder, or no image in it.

    Example:
        In a bundle's ``inference.json``::

            "cases": {
                "_target_": "medloss.integrations.bundle.images.images_in",
                "folder": "@images_dir"
            }
    """
    found = sorted(Path(folder).glob("[!.]*.nii")) + sorted(Path(folder).glob("[!.]*.nii.gz"))
    if not found:
        what = "holds no image (.nii, .nii.gz)" if Path(folder).is_dir() else "is no folder"
        raise FileNotFoundError(f"{folder} {what}")
    return [{"image": str(path)} for path in sorted(found)]
