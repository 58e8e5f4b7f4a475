"""Which labels of two files belong together, by their names where both files name them.

The number in a voxel means nothing across files of formats that name their labels: programs write
segments in any order. So labels pair by name wherever they can, and no label without a partner of
its name is ever taken for the one that has its number.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.inputs.labels import Label, same_name
from medloss.evaluation.reading import values
from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.stored import CaseError

_MOST_LISTED = 10


@dataclass(frozen=True, eq=False)
class Named:
    """Two images whose labels have one numbering.

    Args:
        prediction: with labels renumbered where they pair by name.
        reference: likewise.
        titles: the names that stand for numbers in the results.
        classes: what is scored where nobody says what, or ``None``: every label that is there.
        by_name: whether a name decided which label is which, so that nothing hangs on a number.
        notes: how the labels were paired.
    """

    prediction: Image
    reference: Image
    titles: Mapping[int, Label] = field(default_factory=dict)
    classes: tuple[Label, ...] | None = None
    by_name: bool = False
    notes: tuple[str, ...] = ()


def pair_labels(
    prediction: Image,
    reference: Image,
    table: Mapping[Label, tuple[str, ...]],
    regions: Mapping[str, tuple[int, ...]],
    ignore: int | None = None,
) -> Named:
    """Give two images one numbering of their labels.

    With a table, a file that uses a name of it is read by its names, and the table's numbers are
    what it is renumbered to; any other file has these numbers in its voxels. Without one, labels
    pair by name where both files name them, with the reference's numbers, and by number elsewhere.

    Args:
        prediction: on the reference's grid.
        reference: the other side.
        table: names that files may use for each class; a class may have no number.
        regions: the labels that each region is made of.
        ignore: a label of the reference that is no class.

    Raises:
        CaseError: the table has no number for a file that has no names, or no name for one that is
            read by names.
    """
    if any(names for names in table.values()):
        return _by_table(prediction, reference, table, regions)
    sides = prediction, reference
    if all(_names(image) for image in sides):
        return _by_name(prediction, reference, ignore)
    notes = []
    for image, other in (sides, sides[::-1]):
        if _names(image):
            notes.append(
                f"labels pair by number, as {other.path.name} names none; {image.path.name} has "
                f"{_listed(f'{number} {name}' for number, name in _names(image).items())}"
            )
    return Named(*sides, notes=tuple(notes))


def _by_name(prediction: Image, reference: Image, ignore: int | None) -> Named:
    notes = ["labels pair by name"]
    theirs, own = _names(reference), _names(prediction)
    numbers: dict[str, int] = {}  # in the result, by name as it is compared
    for number, name in theirs.items():
        numbers.setdefault(same_name(name), number)
    titles: dict[int, Label] = {number: _title(theirs[number]) for number in numbers.values()}
    by_code = _by_code(prediction, reference, own, theirs)
    labels = _labels(prediction), _labels(reference)
    free = 1 + max([*labels[0], *labels[1], ignore or 0])
    to_prediction: dict[int, int] = {}
    alone: list[str] = []
    for number in labels[0]:
        name = same_name(own.get(number, ""))
        if not name and number not in titles:
            continue  # neither file names it
        if name in numbers:
            to_prediction[number] = numbers[name]
        elif number in by_code:
            to_prediction[number], code = by_code[number]
            notes.append(f"{own[number]} is {titles[to_prediction[number]]} by its code {code}")
        else:
            to_prediction[number] = free
            if name:
                numbers[name] = free
                titles[free] = _title(own[number])
                alone.append(own[number])
            free += 1
    for image, names in ((prediction, own), (reference, theirs)):
        times = Counter(map(same_name, names.values()))
        if twice := [name for name in names.values() if times[same_name(name)] > 1]:
            notes.append(
                f"{image.path.name} has several labels called {_listed(twice)}, which are one class"
            )
    reached = {*to_prediction.values()}
    missing = [theirs[n] for n in theirs if n in titles and n not in reached]
    if alone:
        notes.append(f"only the prediction has {_listed(alone)}")
    if missing:
        notes.append(f"only the reference has {_listed(missing)}")
    to_reference = {number: numbers[same_name(name)] for number, name in theirs.items()}
    ends = _renumbered(prediction, to_prediction), _renumbered(reference, to_reference)
    changed = [
        {changes.get(n, n) for n in found}
        for changes, found in zip((to_prediction, to_reference), labels, strict=True)
    ]
    unnamed = (changed[0] | changed[1]) - {*titles} - {ignore}
    classes = (*titles.values(), *sorted(unnamed))
    return Named(*ends, titles, classes, by_name=True, notes=("; ".join(notes),))


def _by_code(
    prediction: Image, reference: Image, own: Mapping[int, str], theirs: Mapping[int, str]
) -> dict[int, tuple[int, str]]:
    """Labels whose name only the prediction has, and whose code one such label of the reference."""
    names = [{same_name(name) for name in each.values()} for each in (own, theirs)]

    def alone(image: Image, named: Mapping[int, str], others: set[str]) -> dict[str, int]:
        codes = {n: code for n, code in image.codes.items() if n in named}
        codes = {n: code for n, code in codes.items() if same_name(named[n]) not in others}
        times = Counter(codes.values())
        return {code: number for number, code in codes.items() if times[code] == 1}

    left, there = alone(prediction, own, names[1]), alone(reference, theirs, names[0])
    return {number: (there[code], code) for code, number in left.items() if code in there}


def _by_table(
    prediction: Image,
    reference: Image,
    table: Mapping[Label, tuple[str, ...]],
    regions: Mapping[str, tuple[int, ...]],
) -> Named:
    free = 1 + max(
        [*_labels(prediction), *_labels(reference)]
        + [label for label in table if isinstance(label, int)]
        + [label for members in regions.values() for label in members]
    )
    numbers: dict[Label, int] = {}
    for label in table:
        numbers[label] = label if isinstance(label, int) else free
        free += numbers[label] == free
    titles: dict[int, Label] = {
        number: label for label, number in numbers.items() if isinstance(label, str)
    }
    of_name = {same_name(name): label for label, names in table.items() for name in names}
    sides, notes, by_name = [], [], False
    for image in (prediction, reference):
        named = _names(image)
        own = {number: same_name(name) for number, name in named.items()}
        known = any(name in of_name for name in own.values())
        if not known and not (titles and own):
            if titles:
                nameless = ", ".join(map(str, titles.values()))
                raise CaseError(
                    f"{image.path} does not name its labels, and --labels has no number for "
                    f"{nameless}; write the number before the name, such as 1=liver"
                )
            if own:
                notes.append(f"labels of {image.path.name} by number: it has none of the names")
            sides.append(image)
            continue
        for region, members in regions.items():
            for label in members:
                if not table.get(label):
                    raise CaseError(
                        f"{image.path} is read by names, and the region {region} is made of label "
                        f"{label}, which --labels does not name; add it, such as {label}=liver"
                    )
        by_name = True
        changes: dict[int, int] = {}
        for number in _labels(image):
            if own.get(number, "") in of_name:
                changes[number] = numbers[of_name[own[number]]]
            else:
                changes[number], free = free, free + 1
        told = [name for n, name in named.items() if own[n] not in of_name]
        there = {of_name[name] for name in own.values() if name in of_name}
        lacking = [
            names[0] if names else str(label)
            for label, names in table.items()
            if label not in there
        ]
        sentence = f"labels of {image.path.name} by name"
        if told:
            sentence += f"; not scored: {_listed(told)}"
        if lacking:
            sentence += f"; not in it: {_listed(lacking)}"
        times = Counter(changes.values())
        if merged := [name for n, name in named.items() if times[changes.get(n, n)] > 1]:
            sentence += f"; one class together: {_listed(merged)}"
        notes.append(sentence)
        sides.append(_renumbered(image, changes))
    return Named(sides[0], sides[1], titles, by_name=by_name, notes=tuple(notes))


def _names(image: Image) -> dict[int, str]:
    """Names that are some, by number; the background has none."""
    return {n: name for n, name in sorted(image.names.items()) if n > 0 and same_name(name)}


def _labels(image: Image) -> list[int]:
    """Labels that an image names or holds, in ascending order."""
    if image.independent:
        return list(range(1, image.array.shape[-1] + 1))
    return sorted({*_names(image), *values.present_labels(image.labels())})


def _renumbered(image: Image, changes: Mapping[int, int]) -> Image:
    """An image with other labels, several of which may become one; the names go with them."""
    changes = {old: new for old, new in changes.items() if old != new}
    if not changes:
        return image
    names = {changes.get(n, n): name for n, name in sorted(image.names.items(), reverse=True)}
    codes = {changes.get(n, n): code for n, code in image.codes.items()}
    if image.independent:
        return dataclasses.replace(
            image, array=_channels(image.array, changes), names=names, codes=codes
        )
    labels = values.recode(image.labels(), changes, keep=True)
    return dataclasses.replace(image, array=labels, probabilities=False, names=names, codes=codes)


def _channels(array: NDArray[Any], changes: Mapping[int, int]) -> NDArray[Any]:
    """Channels at other places; planes without a class are not written, so that they take none."""
    new = [changes.get(n, n) for n in range(1, array.shape[-1] + 1)]
    out = np.zeros((*array.shape[:-1], max(new)), array.dtype, order="F")
    for channel, number in enumerate(new):
        for place in range(array.shape[-2]):
            plane = array[..., place, channel]
            if plane.any():
                np.maximum(out[..., place, number - 1], plane, out=out[..., place, number - 1])
    return out


def _title(name: str) -> Label:
    """What stands for a name in the results, where numbers and ``all`` mean something else."""
    name = " ".join(name.split())
    return f"'{name}'" if name.isdecimal() or name == "all" else name


def _listed(names: Iterable[str] | Sequence[str]) -> str:
    shown = list(dict.fromkeys(names))
    more = f" and {len(shown) - _MOST_LISTED} more" if len(shown) > _MOST_LISTED else ""
    return ", ".join(shown[:_MOST_LISTED]) + more
