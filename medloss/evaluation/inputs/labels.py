"""Which labels are scored, what they are called, and which of them form regions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

Label = int | str
"""A label of the maps, or the name of a region."""


@dataclass(frozen=True)
class Classes:
    """What is scored, in order.

    Args:
        names: by label, empty where a label has none; regions, which are names, have an empty one.
        regions: the labels that each region is made of.
        ignore: voxels that the reference gives this label do not count.
        independent: whether the channels of a stack are the classes themselves, one by one.
        region_order: the label that each channel writes where nnU-Net makes a map of regions.
        channels_only: whether the names are those of channels and say nothing of a label map.
    """

    names: dict[Label, str]
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ignore: int | None = None
    independent: bool = False
    region_order: tuple[int, ...] = ()
    channels_only: bool = False


Item = tuple[tuple[int, ...], str]
"""Labels of a class and its name."""


def parse_labels(text: str) -> Classes:
    """Classes from ``1,2``, ``1=anterior,2=posterior,whole=1+2`` or the path of a JSON file.

    See :func:`medloss.evaluation.inputs.label_files.read_labels` for the files.

    Raises:
        ValueError: says what is wrong with the text or the file.

    Example:
        >>> parse_labels("1=core, 2=oedema").names
        {1: 'core', 2: 'oedema'}
        >>> parse_labels("3, whole=1+2").regions
        {'whole': (1, 2)}
    """
    if text.strip().lower().endswith(".json"):
        from medloss.evaluation.inputs.label_files import read_labels

        return read_labels(Path(text.strip()))
    return make_classes(_item(part.strip()) for part in text.split(",") if part.strip())


def make_classes(
    items: Iterable[Item],
    *,
    ignore: int | None = None,
    independent: bool = False,
    region_order: tuple[int, ...] = (),
) -> Classes:
    """Check the classes against one another.

    Args:
        items: each class once; several labels are a region, a single one is itself.
        ignore: and the others: see :class:`Classes`.
        independent: see there.
        region_order: see there.

    Raises:
        ValueError: a label or a name is given twice, or a class cannot be scored.
    """
    names: dict[Label, str] = {}
    regions: dict[str, tuple[int, ...]] = {}
    titles: set[str] = set()
    for labels, name in items:
        if 0 in labels:
            raise ValueError("label 0 is the background, which is not scored")
        if ignore is not None and ignore in labels:
            raise ValueError(f"label {ignore} is to be ignored and cannot be scored as well")
        if len(set(labels)) < len(labels):
            raise ValueError(f"the region {name!r} has a label twice")
        if name and name in titles:
            what = "regions" if len(labels) > 1 else "labels"
            raise ValueError(f"the name {name!r} is given to two {what}")
        titles.add(name)
        if len(labels) > 1:
            _check_region(name)
            regions[name], names[name] = labels, ""
        elif labels[0] in names:
            raise ValueError(f"label {labels[0]} is named twice")
        else:
            names[labels[0]] = name
    if not names:
        raise ValueError("no label is named")
    return Classes(names, regions, ignore, independent, region_order)


def number(word: str) -> int:
    """A label as text.

    Raises:
        ValueError: it is no whole number of at least 0.
    """
    if not (word.isascii() and word.isdigit() and len(word) < 19):
        raise ValueError(f"{word!r} is no label; labels are whole numbers such as 1")
    return int(word)


def parse_changes(text: str) -> dict[int, int]:
    """New labels by old ones, from ``3=1,4=0``.

    Raises:
        ValueError: the text has another form, or a label is changed twice.

    Example:
        >>> parse_changes("3=1, 4=0")
        {3: 1, 4: 0}
    """
    changes: dict[int, int] = {}
    for part in text.split(","):
        old, equals, new = (word.strip() for word in part.partition("="))
        if not equals:
            raise ValueError(f"{part.strip()!r} is not of the form OLD=NEW, such as 3=1")
        if number(old) in changes:
            raise ValueError(f"label {old} is changed twice")
        changes[number(old)] = number(new)
    return changes


def _item(part: str) -> Item:
    left, equals, right = (word.strip() for word in part.partition("="))
    if equals and not right:
        raise ValueError(f"{part!r} names no name; write 1=liver, or 1 alone")
    if not left.isdigit() and re.fullmatch(r"\d+(\s*\+\s*\d+)*", right, re.ASCII):
        return tuple(number(word.strip()) for word in right.split("+")), left
    return (number(left),), right


def _check_region(name: str) -> None:
    if not name or name.isdigit() or name == "all":
        raise ValueError(
            f"{name!r} cannot be the name of a region: it is empty, a number, or what stands for "
            f"the whole case in the tables"
        )
