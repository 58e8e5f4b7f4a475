"""Which labels of two files belong together, by their names where both files name them.

The number in a voxel means nothing across files of formats that name their labels: programs write
segments in any order. So labels pair by name wherever they can, and no label without a partner of
its name is ever taken for the one that has its number.
"""

from __future__ import annotations

import dataclasses
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
    numbers: dict[str, int] = {}
    titles: dict[int, Label] = {}
    to_reference = _merged(reference, numbers, notes)
    for number in numbers.values():
        titles[number] = _title(_names(reference)[number])
    own = _names(prediction)
    by_code = _by_code(prediction, reference, numbers)
    free = 1 + max([*_labels(prediction), *_labels(reference), ignore or 0])
    to_prediction: dict[int, int] = {}
    alone: list[str] = []
    for number in _labels(prediction):
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
    merged = [
        own[n]
        for n in own
        if sum(same_name(own[n]) == same_name(name) for name in own.values()) > 1
    ]
    if merged:
        notes.append(_one_class(prediction, merged))
    reached = {*to_prediction.values()}
    missing = [str(titles[n]) for n in _names(reference) if n in titles and n not in reached]
    if alone:
        notes.append(f"only the prediction has {_listed(alone)}")
    if missing:
        notes.append(f"only the reference has {_listed(missing)}")
    ends = (
        _renumbered(prediction, to_prediction),
        _renumbered(reference, to_reference),
    )
    unnamed = {n for image in ends for n in _labels(image) if n not in titles}
    classes = (*titles.values(), *sorted(unnamed - {ignore}))
    return Named(*ends, titles, classes, by_name=True, notes=("; ".join(notes),))


def _merged(image: Image, numbers: dict[str, int], notes: list[str]) -> dict[int, int]:
    """Changes that make one label of those with one name; ``numbers`` gets the label of each."""
    changes, twice = {}, []
    for number, name in _names(image).items():
        first = numbers.setdefault(same_name(name), number)
        if first != number:
            changes[number] = first
            twice += [name]
    if twice:
        notes.append(_one_class(image, twice))
    return changes


def _one_class(image: Image, names: Iterable[str]) -> str:
    return f"{image.path.name} has several labels called {_listed(names)}, which are one class"


def _by_code(
    prediction: Image, reference: Image, numbers: Mapping[str, int]
) -> dict[int, tuple[int, str]]:
    """Labels of the prediction whose code, and no name, one label of the reference has."""
    own = {same_name(name) for name in _names(prediction).values()}
    left = {
        number: code
        for number, code in prediction.codes.items()
        if same_name(_names(prediction).get(number, "")) not in numbers
    }
    there = {
        number: code
        for number, code in reference.codes.items()
        if number in numbers.values() and same_name(_names(reference)[number]) not in own
    }
    found = {}
    for number, code in left.items():
        theirs = [other for other, its in there.items() if its == code]
        if len(theirs) == 1 and [*left.values()].count(code) == 1:
            found[number] = (theirs[0], code)
    return found


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
        own = {number: same_name(name) for number, name in _names(image).items()}
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
        told = [name for n, name in _names(image).items() if own[n] not in of_name]
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
        merged = [n for n in changes if [*changes.values()].count(changes[n]) > 1]
        if merged:
            sentence += f"; one class together: {_listed(_names(image)[n] for n in merged)}"
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
