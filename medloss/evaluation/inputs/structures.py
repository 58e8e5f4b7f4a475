"""A case whose every structure is a file of its own: one structure after the other.

So that many organs take no more memory than one, and classes may overlap.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from medloss.evaluation.inputs.case_pair import (
    CaseOptions,
    CasePair,
    changed,
    make_case_pair,
    read_side,
)
from medloss.evaluation.inputs.geometry import check_same_grid
from medloss.evaluation.inputs.labels import Classes, Label, is_number
from medloss.evaluation.inputs.pairing import Files, Pair, Structures, folded
from medloss.evaluation.reading import values
from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.stored import CaseError

Member = tuple[int | None, str]
"""A label as the number and the name that files may know it by."""


def by_structure(pair: Pair) -> bool:
    """Whether a side of a case has a file for each structure."""
    return isinstance(pair.prediction, Structures) or isinstance(pair.reference, Structures)


def structure_names(pairs: Iterable[Pair]) -> tuple[str, ...]:
    """The structures that any case has a file for; of names that differ in case alone the first."""
    found: dict[str, str] = {}
    for pair in pairs:
        for side in (pair.reference, pair.prediction):
            for name, _ in side.files if isinstance(side, Structures) else ():
                found.setdefault(folded(name), name)
    return tuple(sorted(found.values()))


def check_structures(classes: Classes, pairs: Sequence[Pair]) -> None:
    """Raise for a class that is a structure of no case, where every side has files of such.

    Raises:
        ValueError: names it, and the structures that there are.
    """
    sides = [side for pair in pairs for side in (pair.prediction, pair.reference) if side]
    if not sides or not all(isinstance(side, Structures) for side in sides):
        return
    names = structure_names(pairs)
    known = set(map(folded, names))
    for number, name in _named(classes):
        if folded(name) not in known and str(number) not in known:
            raise ValueError(
                f"--labels: no file is called {name!r}; structures are {', '.join(names)}"
            )


def structures_without_class(classes: Classes, pairs: Sequence[Pair]) -> list[str]:
    """The structures that have a file and are none of the classes."""
    known = {word for number, name in _named(classes) for word in (folded(name), str(number))}
    return [name for name in structure_names(pairs) if folded(name) not in known]


def _named(classes: Classes) -> list[Member]:
    names, regions = classes.names, classes.regions
    return [member for label in names for member in _members(label, names, regions)]


def read_structures(
    pair: Pair,
    inputs: CaseOptions,
    labels: Mapping[Label, str] | None,
    regions: Mapping[str, tuple[int, ...]],
    *,
    only: Label | None = None,
) -> Iterator[tuple[Label, CasePair]]:
    """Each structure of a case, as label 1 of two images.

    A structure without a file is one that is nowhere, and a note says so. Where one side is a
    single file, its labels are found by their numbers, or by the names that the file has for them.

    Args:
        pair: the case.
        inputs: what is done to its files.
        labels: names of the classes by label; ``None`` for every structure that has a file.
        regions: the labels that each region is made of.
        only: the one class that is wanted, where names come from the others too.

    Raises:
        CaseError: a file cannot be used, holds several labels, or does not lie on the grid of the
            others.
    """
    if pair.problem or pair.prediction is None or pair.reference is None:
        raise CaseError(pair.problem)
    prediction = _Side("prediction", pair.prediction, inputs, inputs.remap_prediction)
    reference = _Side("reference", pair.reference, inputs, inputs.remap_reference)
    if labels is None:
        names = {folded(name): name for side in (prediction, reference) for name in side.names()}
        labels = {int(name) if is_number(name) else name: "" for name in sorted(names.values())}
    chosen = labels if only is None else [only]
    wanted = {label: _members(label, labels, regions) for label in chosen}
    absent = [note for side in (prediction, reference) if (note := side.absent(wanted.values()))]
    # Labels are changed in each file, before it is told where a structure is.
    plain = dataclasses.replace(inputs, remap_prediction={}, remap_reference={}, region_order=())
    grid = reference.first()
    for label, members in wanted.items():
        if not any(side.has(member) for side in (prediction, reference) for member in members):
            continue  # in neither, as in other cases that have no file for it
        true = reference.mask(members, grid)
        _check_same_reference(true, grid)
        case = make_case_pair(prediction.mask(members, true), true, plain)
        yield label, dataclasses.replace(case, notes=(*absent, *case.notes))


def _check_same_reference(image: Image, grid: Image) -> None:
    """Raise unless a structure of the reference lies on the grid of the first one."""
    try:
        check_same_grid(image, grid)
    except CaseError as error:
        raise CaseError(f"{image.path} and {grid.path} are one reference: {error}") from error


def _members(
    label: Label, labels: Mapping[Label, str], regions: Mapping[str, tuple[int, ...]]
) -> list[Member]:
    if isinstance(label, int):
        return [(label, labels.get(label) or str(label))]
    if label in regions:
        return [(number, labels.get(number) or str(number)) for number in regions[label]]
    return [(None, label)]


class _Side:
    """What one side of a case has of each structure."""

    def __init__(
        self, word: str, files: Files, inputs: CaseOptions, changes: dict[int, int]
    ) -> None:
        self._word, self._inputs, self._changes = word, inputs, changes
        named = files.files if isinstance(files, Structures) else ()
        self._names = [name for name, _ in named]
        self._paths = {folded(name): path for name, path in named}
        self._whole = None if isinstance(files, Structures) else self._read(files)
        self._first: Image | None = None

    def names(self) -> list[str]:
        """What it has: names of files, or those of the labels of a single one, or their numbers."""
        if self._whole is None:
            return [*self._names]
        if self._whole.names:
            return [*self._whole.names.values()]
        if self._whole.independent:
            return [str(n + 1) for n in range(self._whole.array.shape[-1])]
        return [*map(str, values.present_labels(self._whole.labels()))]

    def first(self) -> Image:
        """The image that says where this side lies."""
        if self._whole is not None:
            return self._whole
        self._first = self._first or self._read(next(iter(self._paths.values())))
        return self._first

    def has(self, member: Member) -> bool:
        """Whether there is a file for a structure; a single file is one for all."""
        return self._whole is not None or self._path(member) is not None

    def absent(self, wanted: Iterable[Sequence[Member]]) -> str:
        """A sentence on the structures that have no file."""
        members = [member for members in wanted for member in members]
        names = dict.fromkeys(name for number, name in members if not self.has((number, name)))
        if not names:
            return ""
        return f"no file of the {self._word} for {', '.join(names)}, which counts as empty"

    def mask(self, members: Sequence[Member], grid: Image) -> Image:
        """Where any of some structures is; on ``grid`` if none of them has a file."""
        if self._whole is not None:
            return self._of_whole(self._whole, members)
        images = [self._structure(path) for member in members if (path := self._path(member))]
        if not images:
            empty = np.zeros(grid.shape, np.uint8, order="F")
            return dataclasses.replace(grid, array=empty, probabilities=False, note="")
        if len(images) == 1:
            return images[0]
        if self._inputs.instances:
            raise CaseError(f"{images[0].path}: a region of several files has no objects")
        joined = np.zeros(images[0].shape, np.uint8, order="F")
        for image in images:
            _check_same_reference(image, images[0])
            joined |= image.labels()
        return dataclasses.replace(images[0], array=joined, probabilities=False)

    def _path(self, member: Member) -> Path | None:
        number, name = member
        return self._paths.get(folded(name)) or self._paths.get(str(number))

    def _read(self, path: Path) -> Image:
        image = read_side(path, self._inputs, self._changes)
        return changed(image, self._inputs, self._changes)

    def _structure(self, path: Path) -> Image:
        if self._first is not None and self._first.path == path:
            image = self._first
        else:
            image = self._read(path)
        if image.independent:
            raise CaseError(f"{path} holds several channels, and the file of a structure one mask")
        if image.probabilities or self._inputs.instances:
            return image
        values.check_labels(path, image.array)
        found = values.present_labels(image.array)
        if len(found) > 1:
            listed = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
            raise CaseError(
                f"{path} holds the labels {listed}, and the file of a structure one mask; a layout "
                f"without {{label}} reads maps of several labels"
            )
        mask = (image.array != 0).view(np.uint8)
        return dataclasses.replace(image, array=mask)

    def _of_whole(self, image: Image, members: Sequence[Member]) -> Image:
        numbers = [self._number(image, member) for member in members]
        if not image.independent:
            mask = values.recode(image.labels(), dict.fromkeys(numbers, 1), keep=False)
        else:
            mask = np.zeros(image.shape, np.uint8, order="F")
            for number in numbers:
                if not 1 <= number <= image.array.shape[-1]:
                    raise CaseError(f"{image.path} has no channel for label {number}")
                mask |= values.likely(image.array[..., number - 1], image.threshold)
        return dataclasses.replace(image, array=mask, probabilities=False, independent=False)

    def _number(self, image: Image, member: Member) -> int:
        number, name = member
        named = [key for key, own in image.names.items() if folded(own) == folded(name)]
        if len(named) == 1:
            return named[0]
        if number is None:
            raise CaseError(
                f"{image.path} is one file for all structures; say which of its labels is "
                f"{name!r}, such as --labels 1={name}"
            )
        return number
