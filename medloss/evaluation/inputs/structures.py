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
from medloss.evaluation.reading.stored import CaseError, NeedsGridError

Member = tuple[int | None, tuple[str, ...]]
"""A label as the number and the names that files may know it by."""

Table = Mapping[Label, tuple[str, ...]]
"""Those names by label; a label with none may be called by its number."""


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
    for member in _named(classes):
        if not known & _words(member):
            raise ValueError(
                f"--labels: no file is called {_shown(member)!r}; structures are {', '.join(names)}"
            )


def structures_without_class(classes: Classes, pairs: Sequence[Pair]) -> list[str]:
    """The structures that have a file and are none of the classes."""
    known = {word for member in _named(classes) for word in _words(member)}
    return [name for name in structure_names(pairs) if folded(name) not in known]


def _named(classes: Classes) -> list[Member]:
    table, regions = classes.table, classes.regions
    return [member for label in classes.names for member in _members(label, table, regions)]


def _words(member: Member) -> set[str]:
    """What files may call a label, its number among it."""
    number, names = member
    return {*map(folded, names), *([] if number is None else [str(number)])}


def _shown(member: Member) -> str:
    number, names = member
    return names[0] if names else str(number)


def read_structures(
    pair: Pair,
    inputs: CaseOptions,
    labels: Iterable[Label] | None,
) -> Iterator[tuple[Label, CasePair]]:
    """Each structure of a case, as label 1 of two images.

    A structure without a file is one that is nowhere, and a note says so. Where one side is a
    single file, its labels are found by their numbers, or by the names that the file has for them.

    Args:
        pair: the case.
        inputs: what is done to its files, and what they may call the classes.
        labels: the classes; ``None`` for every structure that has a file.

    Raises:
        CaseError: a file cannot be used, holds several labels, or does not lie on the grid of the
            others.
    """
    if pair.problem or pair.prediction is None or pair.reference is None:
        raise CaseError(pair.problem)
    prediction = _Side("prediction", pair.prediction, inputs, inputs.remap_prediction)
    reference = _Side("reference", pair.reference, inputs, inputs.remap_reference)
    try:
        grid = reference.first()
    except NeedsGridError:  # shapes without an image of their own: on the prediction's grid
        grid = reference.first(prediction.first())
    if prediction.single:
        prediction.first(grid)
    if labels is None:
        names = {folded(name): name for side in (prediction, reference) for name in side.names()}
        labels = [int(name) if is_number(name) else name for name in sorted(names.values())]
    wanted = {label: _members(label, inputs.names, inputs.regions) for label in labels}
    absent = [note for side in (prediction, reference) if (note := side.settle(wanted.values()))]
    # Labels are changed in each file, and named, before it is told where a structure is.
    plain = dataclasses.replace(
        inputs, remap_prediction={}, remap_reference={}, region_order=(), names={}, regions={}
    )
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


def _members(label: Label, table: Table, regions: Mapping[str, tuple[int, ...]]) -> list[Member]:
    if label in regions and isinstance(label, str):
        return [(number, table.get(number, ())) for number in regions[label]]
    if isinstance(label, int):
        return [(label, table.get(label, ()))]
    return [(None, table.get(label) or (label,))]


class _Side:
    """What one side of a case has of each structure."""

    def __init__(
        self, word: str, files: Files, inputs: CaseOptions, changes: dict[int, int]
    ) -> None:
        self._word, self._inputs, self._changes = word, inputs, changes
        self._predicted = word == "prediction"
        decided = self._predicted and inputs.decode is not None
        self._soft = decided or inputs.threshold is not None
        self._files = files
        self._paths = dict(files.files) if isinstance(files, Structures) else {}
        self._by_word = {folded(name): path for name, path in self._paths.items()}
        self._whole: Image | None = None
        self._first: Image | None = None
        self._places: Mapping[Member, Path | int | None] = {}

    @property
    def single(self) -> bool:
        """Whether one file holds all structures."""
        return isinstance(self._files, Path)

    def names(self) -> list[str]:
        """What it has: names of files, or those of the labels of a single one, or their numbers."""
        if self._whole is None:
            return [*self._paths]
        if self._whole.names:
            return [*self._whole.names.values()]
        if self._whole.independent:
            return [str(n + 1) for n in range(self._whole.array.shape[-1])]
        return [*map(str, values.present_labels(self._whole.labels()))]

    def first(self, grid: Image | None = None) -> Image:
        """The image that says where this side lies; read on ``grid`` if it does not say so."""
        if isinstance(self._files, Path):
            self._whole = self._whole or self._read(self._files, grid)
            return self._whole
        self._first = self._first or self._read(next(iter(self._paths.values())), grid)
        return self._first

    def settle(self, wanted: Iterable[Sequence[Member]]) -> str:
        """Find what each structure is here, and say which are nowhere.

        A single file that uses a name of any of them is read by its names, any other one by the
        numbers.

        Raises:
            CaseError: it cannot be told.
        """
        members = [member for members in wanted for member in members]
        if self._whole is None:
            self._places = {member: self._path(member) for member in members}
            where = f"no file of the {self._word} for"
        else:
            self._places = _numbers(self._whole, members)
            where = f"no label of {self._whole.path.name} for"
        names = dict.fromkeys(_shown(member) for member in members if not self.has(member))
        return f"{where} {', '.join(names)}, which counts as empty" if names else ""

    def has(self, member: Member) -> bool:
        """Whether a structure is here, however empty."""
        return self._places[member] is not None

    def mask(self, members: Sequence[Member], grid: Image) -> Image:
        """Where any of some structures is; on ``grid`` if none of them has a file."""
        places = [place for member in members if (place := self._places[member]) is not None]
        if self._whole is not None:
            return self._of_whole(self._whole, [n for n in places if isinstance(n, int)])
        images = [self._structure(path) for path in places if isinstance(path, Path)]
        if not images:
            soft = self._soft and not self._inputs.instances
            empty = np.zeros((*grid.shape, 1)[: None if soft else -1], np.uint8, order="F")
            return dataclasses.replace(
                grid,
                array=empty,
                probabilities=soft,
                independent=False,
                note="",
                names={},
                codes={},
            )
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
        found = {self._by_word[word] for word in _words(member) if word in self._by_word}
        if len(found) > 1:
            listed = " and ".join(sorted(path.name for path in found))
            raise CaseError(f"the {self._word} has several files for {_shown(member)!r}: {listed}")
        return found.pop() if found else None

    def _read(self, path: Path, grid: Image | None = None) -> Image:
        image = read_side(path, self._inputs, self._changes, grid, predicted=self._predicted)
        return changed(image, self._inputs, self._changes)

    def _structure(self, path: Path) -> Image:
        if self._first is not None and self._first.path == path:
            image = self._first
        else:
            image = self._read(path)
        if image.independent:
            raise CaseError(f"{path} holds several channels, and the file of a structure one mask")
        # Its name is that of the file, whatever it says itself.
        image = dataclasses.replace(image, names={}, codes={})
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

    def _of_whole(self, image: Image, numbers: Sequence[int]) -> Image:
        if not image.independent:
            mask = values.recode(image.labels(), dict.fromkeys(numbers, 1), keep=False)
        else:
            mask = np.zeros(image.shape, np.uint8, order="F")
            for number in numbers:
                if not 1 <= number <= image.array.shape[-1]:
                    raise CaseError(f"{image.path} has no channel for label {number}")
                mask |= image.mask(number - 1)
        return dataclasses.replace(
            image, array=mask, probabilities=False, independent=False, names={}, codes={}
        )


def _numbers(image: Image, members: Sequence[Member]) -> dict[Member, int | None]:
    """The label of each structure in a file that holds several; ``None`` where it has none."""
    own = {folded(name): number for number, name in image.names.items()}
    found = {
        member: {own[word] for word in map(folded, member[1]) if word in own} for member in members
    }
    if any(found.values()):
        for member, numbers in found.items():
            if len(numbers) > 1:
                raise CaseError(f"{image.path} has several labels for {_shown(member)!r}")
        return {member: next(iter(numbers), None) for member, numbers in found.items()}
    for member in members:
        if member[0] is None:
            name = _shown(member)
            known = f"; it has {', '.join(image.names.values())}" if image.names else ""
            raise CaseError(
                f"{image.path} is one file for all structures{known}; say which of its labels is "
                f"{name!r}, such as --labels 1={name}"
            )
    return {member: member[0] for member in members}
