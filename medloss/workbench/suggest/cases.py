"""Label maps from files, one at a time, and what is measured of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medloss.evaluation.inputs.labels import Classes, Label
from medloss.evaluation.reading import values
from medloss.evaluation.reading.formats import SUFFIXES
from medloss.evaluation.reading.images import Image, case_name, read_image
from medloss.evaluation.reading.settled import NOTHING_TOLD, Told
from medloss.evaluation.reading.stored import CaseError
from medloss.workbench.suggest.shapes import Shape, measure_shape


@dataclass(frozen=True)
class CaseFacts:
    """One label map.

    Args:
        name: of the case.
        shape: in voxels; an axis of a single voxel is left out.
        spacing_mm: size of a voxel along these axes.
        foreground: voxels of any class.
        shapes: of the classes that are there, by label or region.
        overlap: whether each class has a channel of its own.
    """

    name: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    foreground: int
    shapes: Mapping[Label, Shape]
    overlap: bool = False


def find_label_maps(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The images among files and in folders, by name; folders inside folders are not searched.

    Raises:
        ValueError: a path does not exist or is no image, or there is none.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.iterdir() if _is_label_map(p))
        elif not path.exists():
            raise ValueError(f"{path} does not exist")
        elif not _is_label_map(path):
            raise ValueError(f"{path} is no label map; the suffix must be {', '.join(SUFFIXES)}")
        else:
            found.append(path)
    if not found:
        raise ValueError(f"{', '.join(map(str, paths))} holds no image ({', '.join(SUFFIXES)})")
    return tuple(dict.fromkeys(found))


def sample(paths: Sequence[Path], cases: int) -> tuple[Path, ...]:
    """At most ``cases`` of the paths, evenly spread over their order.

    Example:
        >>> [path.name for path in sample([Path(name) for name in "abcdef"], 3)]
        ['a', 'c', 'f']
    """
    if len(paths) <= cases:
        return tuple(paths)
    places = np.linspace(0, len(paths) - 1, cases).round().astype(int)
    return tuple(paths[place] for place in places)


def read_case(path: Path, classes: Classes | None = None, told: Told = NOTHING_TOLD) -> CaseFacts:
    """Read a label map and measure every class in it.

    Args:
        path: of an image of labels, or of a stack with a class in each channel.
        classes: labels and regions; by default every label that is there.
        told: what the user says of files that do not say it themselves.

    Raises:
        CaseError: the file cannot be read, or is not what ``classes`` speaks of.
    """
    named = classes is not None and classes.independent
    channels: Literal["independent"] | None = "independent" if named else None
    image = read_image(path, channels=channels, told=told)
    axes = [axis for axis, size in enumerate(image.shape) if size > 1]
    if len(axes) < 2:
        raise CaseError(f"{path} is no image: its shape is {image.shape}")
    spacing = tuple(image.spacing_mm[axis] for axis in axes)
    if image.independent:
        masks, foreground = _of_channels(image, classes)
    else:
        masks, foreground = _of_labels(image, classes)
    return CaseFacts(
        name=case_name(path) or path.name,
        shape=tuple(image.shape[axis] for axis in axes),
        spacing_mm=spacing,
        foreground=foreground,
        shapes={label: measure_shape(mask, spacing) for label, mask in masks},
        overlap=image.independent,
    )


Masks = Iterator[tuple[Label, NDArray[np.bool_]]]
"""Classes that are there, each with its mask in a box around it."""


def _is_label_map(path: Path) -> bool:
    hidden = path.name.startswith(".")  # the operating system's, such as macOS's "._case.nii.gz"
    return path.is_file() and not hidden and path.name.lower().endswith(SUFFIXES)


def _of_labels(image: Image, classes: Classes | None) -> tuple[Masks, int]:
    if classes is not None and classes.channels_only:
        raise CaseError(f"{image.path} holds a label map, and the labels are named after channels")
    labels = image.labels().squeeze()
    present = values.present_labels(labels)
    if classes is None:
        members: dict[Label, tuple[int, ...]] = {label: (label,) for label in present}
    else:
        members = {
            name: classes.regions[name] if isinstance(name, str) else (name,)
            for name in classes.names
        }
    # Codes 1, 2, 3, ... of the labels that matter: boxes are listed up to the largest.
    matter = sorted({label for each in members.values() for label in each} & {*present})
    codes = {label: n for n, label in enumerate(matter, start=1)}
    coded = values.recode(labels, codes, keep=False)
    boxes = dict(zip(matter, ndimage.find_objects(coded, len(matter)), strict=True))

    def masks() -> Masks:
        for name, each in members.items():
            there = [label for label in each if label in codes]
            if there:
                box = _around([boxes[label] for label in there])
                yield name, np.isin(coded[box], [codes[label] for label in there])

    return masks(), int(np.count_nonzero(coded))


def _of_channels(image: Image, classes: Classes | None) -> tuple[Masks, int]:
    count = image.array.shape[-1]
    names = range(1, count + 1) if classes is None else classes.names
    if len(names) != count:
        raise CaseError(f"{image.path} has {count} channels, and {len(names)} classes are named")

    def masks() -> Masks:
        for channel, name in enumerate(names):
            mask = values.likely(image.array[..., channel]).squeeze()
            if mask.any():
                (box,) = ndimage.find_objects(mask, 1)
                yield name, mask[box].view(np.bool_)

    anywhere = np.zeros(image.shape, np.bool_)
    for channel in range(count):
        anywhere |= values.likely(image.array[..., channel]).view(np.bool_)
    return masks(), int(np.count_nonzero(anywhere))


def _around(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """The smallest box around some boxes."""
    return tuple(
        slice(min(each.start for each in axis), max(each.stop for each in axis))
        for axis in zip(*boxes, strict=True)
    )
