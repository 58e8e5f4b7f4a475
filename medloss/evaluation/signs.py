"""Signs, in one case, of files that are not what they seem.

Where labels agree badly, it is looked whether they would agree under other numbers, mirrored, with
two axes exchanged, or some voxels aside. What is found is said with the result and never applied:
:mod:`medloss.evaluation.findings` makes sentences of it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.reading import values
from medloss.evaluation.reading.images import Image
from medloss.scoring.facts import Counts

Sign = dict[str, Any]
"""What was found, as JSON has it: its ``kind``, and what belongs to that."""

GOOD = 0.98
"""From this Dice of all labels together nothing is looked for."""

POOR = 0.5
"""Below this Dice a label may be another one."""

_MIRRORED_BELOW = 0.8
_LEAST_GAIN = {"flipped": 0.1, "exchanged": 0.1, "shifted": 0.02}
_FEWEST_VOXELS = 30
_MOST_SAMPLED = 1 << 17
_FARTHEST = 32

Voxels = tuple[NDArray[np.intp], ...]
"""Indices of voxels along each axis."""


def signs_of(
    prediction: Image,
    reference: Image,
    ignored: NDArray[np.bool_] | None,
    counts: Iterable[tuple[Label, Counts]],
    titles: Mapping[int, Label] = MappingProxyType({}),
) -> tuple[Sign, ...]:
    """What a case looks like where its labels agree badly; nothing where they agree.

    Args:
        prediction: on the grid of the reference.
        reference: labels or channels.
        ignored: voxels that do not count.
        counts: of the classes that were scored, which say whether to look at all.
        titles: what numbers are called where labels pair by name, and no number could be changed.
    """
    if not _agree_badly([each for _, each in counts]):
        return ()
    sides = _Sides(_classes(prediction, ignored), _classes(reference, ignored))
    if not sides.prediction.voxels or not sides.reference.voxels:
        return ()
    crossed = list(_crossed(sides))
    swapped = {sign["labels"][0]: sign["labels"][1] for sign in crossed}
    # Organs of the two sides are exchanged by a mirror too: what explains more is what is said.
    moved, crossed_there = _moved(sides, swapped)
    if not crossed_there:
        return moved
    for sign in crossed:
        sign["labels"] = [titles.get(label, label) for label in sign["labels"]]
        sign["remap"] &= not titles
    return (*crossed, *moved)


def most_common(parts: Sequence[tuple[Sign, ...]]) -> tuple[Sign, ...]:
    """The place that more than half of the parts of a case agree on, if there is one."""
    found: dict[str, list[Sign]] = {}
    for sign in (sign for signs in parts for sign in signs if sign["kind"] in _LEAST_GAIN):
        where = {name: value for name, value in sign.items() if name not in ("dice", "sure")}
        found.setdefault(repr(where), []).append(sign)
    signs = max(found.values(), key=len, default=[])
    if 2 * len(signs) <= len(parts):
        return ()
    dice = [float(np.mean([sign["dice"][which] for sign in signs])) for which in (0, 1)]
    return ({**signs[0], "dice": dice, "sure": all(sign["sure"] for sign in signs)},)


def _agree_badly(counts: list[Counts]) -> bool:
    both = sum(each.tp for each in counts)
    total = sum(each.reference + each.prediction for each in counts)
    poor = any(2 * each.tp < POOR * (each.reference + each.prediction) for each in counts)
    return poor or 2 * both < GOOD * total


@dataclass(frozen=True, eq=False)
class _Classes:
    """The classes of one image.

    Args:
        shape: of the image.
        voxels: how many each class has, of those that have any.
        mask: of a class, as a view or a copy.
        label_map: where they are no channels of their own.
    """

    shape: tuple[int, ...]
    voxels: Mapping[int, int]
    mask: Callable[[int], NDArray[np.bool_]]
    label_map: NDArray[Any] | None = None

    def at(self, places: Voxels, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each voxel has the label that is named for it."""
        if self.label_map is not None:
            found: NDArray[np.bool_] = self.label_map[places] == labels
            return found
        found = np.zeros(len(labels), dtype=bool)
        for label in self.voxels:
            wanted = labels == label
            found[wanted] = self.mask(label)[tuple(axis[wanted] for axis in places)]
        return found


@dataclass(frozen=True, eq=False)
class _Sides:
    prediction: _Classes
    reference: _Classes

    @property
    def maps(self) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Of the reference and the prediction, where both are label maps."""
        found = self.reference.label_map, self.prediction.label_map
        return None if found[0] is None or found[1] is None else (found[0], found[1])

    def dice(self, reference: int, prediction: int, both: float) -> float:
        total = self.reference.voxels.get(reference, 0) + self.prediction.voxels.get(prediction, 0)
        return 2 * both / total if total else 0.0


def _classes(image: Image, ignored: NDArray[np.bool_] | None) -> _Classes:
    if image.independent:
        channels = range(1, image.array.shape[-1] + 1)

        def channel(label: int) -> NDArray[np.bool_]:
            mask = image.mask(label - 1).view(bool)
            return mask if ignored is None else mask & ~ignored

        counted = {label: int(np.count_nonzero(channel(label))) for label in channels}
        return _Classes(image.shape, {n: many for n, many in counted.items() if many}, channel)
    labels = image.labels()
    if ignored is not None:
        labels = np.where(ignored, 0, labels)
    return _Classes(image.shape, values.label_counts(labels), lambda n: labels == n, labels)


# Labels under other numbers


def _crossed(sides: _Sides) -> Iterator[Sign]:
    """Pairs of labels that agree where neither agrees with itself."""
    prediction, reference = sides.prediction.voxels, sides.reference.voxels
    both = _shared_by_masks(sides) if sides.maps is None else _shared_by_maps(sides, *sides.maps)
    own = {
        label: sides.dice(label, label, both.get((label, label), 0))
        for label in reference.keys() | prediction.keys()
    }
    for row in reference:
        found = [(sides.dice(row, column, both.get((row, column), 0)), column) for column in own]
        dice, column = max(found)
        if column != row and dice >= POOR and dice > 2 * max(own[row], own[column]):
            yield {
                "kind": "crossed",
                "labels": [row, column],
                "dice": [own[row], dice],
                "remap": sides.maps is not None,
            }


def _shared_by_maps(
    sides: _Sides, reference: NDArray[Any], prediction: NDArray[Any]
) -> dict[tuple[int, int], int]:
    """Voxels that each label of the reference shares with each of the prediction."""
    found = [*sides.reference.voxels], [*sides.prediction.voxels]
    joint = values.joint_counts(
        *(
            values.recode(labels, {label: n for n, label in enumerate(each, 1)}, keep=False)
            for labels, each in zip((reference, prediction), found, strict=True)
        )
    )
    return {
        (found[0][row - 1], found[1][column - 1]): int(joint[row, column])
        for row, column in np.argwhere(joint)
        if row and column
    }


def _shared_by_masks(sides: _Sides) -> dict[tuple[int, int], int]:
    """Likewise, only of labels whose sizes admit the Dice that is asked for, and of each itself."""
    both = {}
    for row, size in sides.reference.voxels.items():
        mask = sides.reference.mask(row)
        for column, other in sides.prediction.voxels.items():
            if row == column or 2 * min(size, other) >= POOR * (size + other):
                shared = np.count_nonzero(mask & sides.prediction.mask(column))
                both[row, column] = int(shared)
    return both


# Labels elsewhere


def _moved(sides: _Sides, swapped: Mapping[int, int]) -> tuple[tuple[Sign, ...], bool]:
    """The one other place at which the prediction agrees better than where it is, if there is one.

    And whether other numbers explain something all the same, there or where it is.

    Args:
        sides: of the case.
        swapped: labels of the prediction by those of the reference that they look like: a place
            must explain more than other numbers do.
    """
    if sum(sides.reference.voxels.values()) < _FEWEST_VOXELS:
        return (), True
    places, labels = _sample(sides.reference)
    total = sum(sides.reference.voxels.values()) + sum(sides.prediction.voxels.values())
    each = sum(sides.reference.voxels.values()) / len(labels)

    def dice(moved: Voxels, labels: NDArray[np.int64]) -> float:
        inside = np.ones(len(labels), dtype=bool)
        for axis, size in zip(moved, sides.prediction.shape, strict=True):
            inside &= (axis >= 0) & (axis < size)
        there = tuple(axis[inside] for axis in moved)
        hits = np.count_nonzero(sides.prediction.at(there, labels[inside]))
        return float(2 * each * hits / total)

    shape = sides.prediction.shape
    best, sign = _best_place(functools.partial(dice, labels=labels), places, shape)
    if swapped:
        as_other = np.array([swapped.get(int(n), int(n)) for n in labels])
        with_others, other = _best_place(functools.partial(dice, labels=as_other), places, shape)
        if with_others >= best:
            return other, True
    return sign, not sign


def _best_place(
    dice: Callable[[Voxels], float], places: Voxels, shape: tuple[int, ...]
) -> tuple[float, tuple[Sign, ...]]:
    """The highest Dice, and the sign of the place that it is reached at."""
    as_is = dice(places)
    if as_is < _MIRRORED_BELOW:
        tried = [(dice(_turned(places, way, shape)), way) for way in _ways(shape)]
        best, (kind, axes) = max(tried, key=lambda item: item[0])
        if _better(as_is, best, kind):
            return best, (_sign(kind, as_is, best, axes=list(axes)),)
    best, shift = _climb(dice, places, as_is)
    if _better(as_is, best, "shifted"):
        return best, (_sign("shifted", as_is, best, voxels=shift),)
    return as_is, ()


def _better(as_is: float, best: float, kind: str) -> bool:
    return best - as_is >= _LEAST_GAIN[kind] and 1 - best <= 0.8 * (1 - as_is)


def _sign(kind: str, as_is: float, best: float, **where: list[int]) -> Sign:
    """Of a place; ``sure`` where it undoes half of the errors."""
    return {"kind": kind, **where, "dice": [as_is, best], "sure": 1 - best <= (1 - as_is) / 2}


def _sample(classes: _Classes) -> tuple[Voxels, NDArray[np.int64]]:
    """Voxels of the foreground, evenly taken, and the label of each; slab by slab."""
    every = -(-sum(classes.voxels.values()) // _MOST_SAMPLED)
    places: list[NDArray[np.intp]] = []
    labels: list[NDArray[np.int64]] = []
    volumes: Iterable[tuple[int, NDArray[Any]]] = (
        ((label, classes.mask(label)) for label in classes.voxels)
        if classes.label_map is None
        else [(0, classes.label_map)]
    )
    seen = 0
    for label, volume in volumes:
        for last in range(classes.shape[-1]):
            slab = volume[..., last]
            found = np.nonzero(slab)
            taken = tuple(axis[-seen % every :: every] for axis in found)
            seen += len(found[0])
            if len(taken[0]):
                places.append(np.stack([*taken, np.full(len(taken[0]), last)]))
                labels.append(np.full(len(taken[0]), label) if label else slab[taken])
    return tuple(np.concatenate(places, axis=1)), np.concatenate(labels).astype(np.int64)


_Way = tuple[str, tuple[int, ...]]


def _ways(shape: tuple[int, ...]) -> Iterator[_Way]:
    """Mirrored along one axis or more; two axes of one size exchanged."""
    axes = range(len(shape))
    for many in range(1, len(shape) + 1):
        for flipped in itertools.combinations(axes, many):
            yield "flipped", flipped
    for pair in itertools.combinations(axes, 2):
        if shape[pair[0]] == shape[pair[1]]:
            yield "exchanged", pair


def _turned(places: Voxels, way: _Way, shape: tuple[int, ...]) -> Voxels:
    kind, axes = way
    moved = list(places)
    if kind == "exchanged":
        moved[axes[0]], moved[axes[1]] = moved[axes[1]], moved[axes[0]]
    else:
        for axis in axes:
            moved[axis] = shape[axis] - 1 - moved[axis]
    return tuple(moved)


def _climb(
    dice: Callable[[Voxels], float], places: Voxels, as_is: float
) -> tuple[float, list[int]]:
    """The shift in whole voxels from which no step along an axis leads to a higher Dice."""
    best, shift = as_is, [0] * len(places)
    while max(map(abs, shift)) < _FARTHEST:
        steps = []
        for axis, step in itertools.product(range(len(places)), (-1, 1)):
            there = [n + step * (axis == other) for other, n in enumerate(shift)]
            moved = tuple(index + n for index, n in zip(places, there, strict=True))
            steps.append((dice(moved), there))
        higher, there = max(steps)
        if higher <= best:
            break
        best, shift = higher, there
    return best, shift
