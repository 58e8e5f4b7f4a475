"""Which labels are scored, what they are called, and which of them form regions.

From the text of an option, or from the JSON files that come with data sets and models.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medloss.runtime.config_text import parse_file, read_text

Label = int | str
"""A label of the maps, or the name of a region or of a structure."""


@dataclass(frozen=True)
class Classes:
    """What is scored, in order.

    Args:
        names: by label, empty where a label has none; regions and what is known by its name alone
            have an empty one.
        regions: the labels that each region is made of.
        ignore: voxels that the reference gives this label do not count.
        independent: whether the channels of a stack are the classes themselves, one by one.
        region_order: the label that each channel writes where nnU-Net makes a map of regions.
        channels_only: whether the names are those of channels and say nothing of a label map.
        aliases: other names that files which name their labels may use for a class.
    """

    names: dict[Label, str]
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ignore: int | None = None
    independent: bool = False
    region_order: tuple[int, ...] = ()
    channels_only: bool = False
    aliases: dict[Label, tuple[str, ...]] = field(default_factory=dict)

    @property
    def table(self) -> dict[Label, tuple[str, ...]]:
        """All names of each class but the regions, which are made of others."""
        return {
            label: (*filter(None, (name or str(label) * isinstance(label, str),)), *others)
            for label, name in self.names.items()
            if label not in self.regions
            for others in (self.aliases.get(label, ()),)
        }


Item = tuple[tuple[int, ...], str]
"""Labels of a class and its name."""


def parse_labels(text: str, *, by_name: bool = False) -> Classes:
    """Classes from ``1,2``, ``1=anterior,2=posterior,whole=1+2`` or the path of a JSON file.

    A class of files that name their labels may have no number: ``liver=Liver``. A word alone, after
    a class with a name, is one more name of that class: ``1=liver,hepar`` or ``liver=Liver,hepar``.
    See :func:`read_labels` for the files.

    Args:
        text: see above.
        by_name: whether a class may be given by its name alone, as where files have names.

    Raises:
        ValueError: says what is wrong with the text or the file.

    Example:
        >>> parse_labels("1=core, 2=oedema").names
        {1: 'core', 2: 'oedema'}
        >>> parse_labels("3, whole=1+2").regions
        {'whole': (1, 2)}
        >>> parse_labels("1=spleen, liver=Liver, hepar").table
        {1: ('spleen',), 'liver': ('liver', 'Liver', 'hepar')}
        >>> parse_labels("liver, 5=spleen", by_name=True).names
        {'liver': '', 5: 'spleen'}
    """
    if text.strip().lower().endswith(".json"):
        return read_labels(Path(text.strip()))
    items: list[Item] = []
    others: list[tuple[str, ...]] = []
    named = False  # whether the class before was given a name, which another one may follow
    for part in filter(None, map(str.strip, text.split(","))):
        if "=" not in part and named and _is_name(part):
            others[-1] += (part,)
            continue
        item, names = _item(part, by_name=by_name)
        named = "=" in part and len(item[0]) < 2
        items.append(item)
        others.append(names)
    return _with_aliases(make_classes(items), items, others)


def labels_of(said: str | Mapping[str, Any], *, by_name: bool = False) -> Classes:
    """Classes from a text as of the command, or from a mapping as of a file.

    Args:
        said: see :func:`parse_labels` and :func:`read_labels`.
        by_name: see :func:`parse_labels`.

    Raises:
        ValueError: says what is wrong.

    Example:
        >>> labels_of({"core": 1, "whole": [1, 2]}).regions
        {'whole': (1, 2)}
    """
    if isinstance(said, str):
        return parse_labels(said, by_name=by_name)
    return _from_labels(dict(said), ())


def make_classes(
    items: Iterable[Item],
    *,
    ignore: int | None = None,
    independent: bool = False,
    region_order: tuple[int, ...] = (),
) -> Classes:
    """Check the classes against one another.

    Args:
        items: each class once; several labels are a region, a single one is itself, and none is
            what is called so.
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
        if labels == (0,) and not name:
            raise ValueError("label 0 is the background; to score it as well, write 0=background")
        if 0 in labels and len(labels) > 1:
            raise ValueError(f"label 0 is the background, and the region {name!r} has it")
        if ignore is not None and ignore in labels:
            raise ValueError(f"label {ignore} is to be ignored and cannot be scored as well")
        if len(set(labels)) < len(labels):
            raise ValueError(f"the region {name!r} has a label twice")
        if name and name in titles:
            what = "regions" if len(labels) > 1 else "labels"
            raise ValueError(f"the name {name!r} is given to two {what}")
        titles.add(name)
        if len(labels) != 1:
            _check_region(name)
            names[name] = ""
            regions |= {name: labels} if labels else {}
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
    if not is_number(word):
        raise ValueError(f"{word!r} is no label; labels are whole numbers such as 1")
    return int(word)


def is_number(word: str) -> bool:
    """Whether a text is a label.

    Example:
        >>> is_number("12"), is_number("-1"), is_number("liver")
        (True, False, False)
    """
    return word.isascii() and word.isdigit() and len(word) < 19


def parse_changes(text: str) -> dict[int, int]:
    """New labels by old ones, from ``3=1,4=0``; an old one may be negative, as in signed files.

    Raises:
        ValueError: the text has another form, or a label is changed twice.

    Example:
        >>> parse_changes("3=1, -1=255")
        {3: 1, -1: 255}
    """
    changes: dict[int, int] = {}
    for part in text.split(","):
        old, equals, new = (word.strip() for word in part.partition("="))
        if not equals:
            raise ValueError(f"{part.strip()!r} is not of the form OLD=NEW, such as 3=1")
        sign = -1 if old.startswith("-") else 1
        label = sign * number(old.removeprefix("-"))
        if label in changes:
            raise ValueError(f"label {old} is changed twice")
        changes[label] = number(new)
    return changes


def _item(part: str, *, by_name: bool) -> tuple[Item, tuple[str, ...]]:
    """A class, and its other names."""
    left, equals, right = (word.strip() for word in part.partition("="))
    if by_name and not equals and not is_number(left):
        return ((), left), ()
    if equals and not right:
        raise ValueError(f"{part!r} names no name; write 1=liver, or 1 alone")
    if not left.isdigit() and re.fullmatch(r"\d+(\s*\+\s*\d+)*", right, re.ASCII):
        return (tuple(number(word.strip()) for word in right.split("+")), left), ()
    if equals and _is_name(left) and _is_name(right):
        return ((), left), (right,)
    return ((number(left),), right), ()


def _is_name(word: str) -> bool:
    return any(letter.isalpha() for letter in word)


def _with_aliases(
    classes: Classes, items: Sequence[Item], others: Sequence[tuple[str, ...]]
) -> Classes:
    """Classes with their other names.

    Raises:
        ValueError: a name is given to two classes.
    """
    aliases: dict[Label, tuple[str, ...]] = {
        labels[0] if len(labels) == 1 else name: names
        for (labels, name), names in zip(items, others, strict=True)
        if names
    }
    classes = dataclasses.replace(classes, aliases=aliases)
    of_name: dict[str, Label] = {}
    for label, names in classes.table.items():
        for name in names:
            if of_name.setdefault(same_name(name), label) != label:
                raise ValueError(f"the name {name!r} is given to two labels")
    return classes


def same_name(name: str) -> str:
    """A name as it is compared: without spaces around it, in small letters.

    Example:
        >>> same_name(" Left  Kidney") == same_name("left kidney")
        True
    """
    return " ".join(name.split()).casefold()


def _check_region(name: str) -> None:
    if not name or name.isdigit() or name == "all":
        raise ValueError(
            f"{name!r} cannot be the name of a region: it is empty, a number, or what stands for "
            f"the whole case in the tables"
        )


def read_labels(path: Path) -> Classes:
    """Labels, regions and the label to ignore.

    The file is one of

    - an object of names by label (``{"1": "liver"}``), or of labels by name, where a list of labels
      is a region (``{"core": 1, "whole": [1, 2]}``), and a list of names is what files that name
      their labels may call the class (``{"liver": ["Liver", "hepar"]}``);
    - a ``dataset.json`` of the Medical Segmentation Decathlon or of nnU-Net, which has such an
      object under ``labels``; its label ``ignore`` is ignored;
    - the ``metadata.json`` of a MONAI bundle, whose ``channel_def`` names the channels of the
      prediction. With a background as channel 0 they are labels; without one they are classes of
      their own, label 1 for channel 0 and so on.

    The background, label 0, is left out; on the command line it can be asked for.

    Raises:
        ValueError: says what is wrong, with the path.
    """
    content = parse_file(read_text(path), path)
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds no object such as {{"1": "liver"}}')
    try:
        if "network_data_format" in content:
            return _from_channels(_channel_names(content))
        if "labels" in content:
            labels = _labels_object(content["labels"])
            return _from_labels(labels, content.get("regions_class_order", ()))
        return _from_labels(content, ())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _labels_object(labels: Any) -> dict[str, Any]:
    """Names by label; a list that begins with the background has its labels in order."""
    if isinstance(labels, dict):
        return labels
    if isinstance(labels, list) and all(isinstance(name, str) for name in labels):
        if labels and labels[0].strip().lower() == "background":
            return {str(label): name for label, name in enumerate(labels)}
        raise ValueError(
            "'labels' is a list that does not begin with 'background', so that nobody knows which "
            'label the first name has; write {"liver": 1, ...}'
        )
    raise ValueError(
        f"'labels' is {labels!r:.60}, and neither labels by name nor names by label: "
        f'{{"background": 0, "liver": 1}}'
    )


def _from_labels(content: dict[str, Any], order: Any) -> Classes:
    others = {key: value for key, value in content.items() if _are_names(value)}
    items = [_item_of_file(key, value) for key, value in content.items() if key not in others]
    items += [((), key) for key in others]
    ignored = [label for labels, name in items if name == "ignore" for label in labels]
    if len(ignored) > 1:
        raise ValueError("'ignore' stands for several labels; it can be one")
    ignore = ignored[0] if ignored else None
    scored = [item for item in items if item[0] != (0,) and item[1] != "ignore"]
    if not isinstance(order, (list, tuple)) or not all(type(label) is int for label in order):
        raise ValueError(f"regions_class_order: expected a list of labels, got {order!r}")
    if order and len(order) != len(scored):
        raise ValueError(f"regions_class_order has {len(order)} labels for {len(scored)} regions")
    classes = make_classes(
        scored, ignore=ignore, independent=bool(order), region_order=tuple(int(x) for x in order)
    )
    return _with_aliases(classes, scored, [tuple(others.get(name, ())) for _, name in scored])


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def _item_of_file(key: str, value: Any) -> Item:
    """Names by labels as in the Decathlon, or labels by names, as numbers or as text."""
    if isinstance(value, str) and is_number(key.strip()):
        return (number(key.strip()),), value
    members = value if isinstance(value, list) else [value]
    words = [str(x).strip() for x in members if type(x) in (int, str)]
    if not words or len(words) < len(members):
        raise ValueError(f"{key!r}: {value!r} is neither a name nor a label nor a list of labels")
    if isinstance(value, str) and not is_number(words[0]):
        raise ValueError(f"{key!r} is no label and neither is {value!r}; one of them is a number")
    return tuple(map(number, words)), key


def _channel_names(content: dict[str, Any]) -> dict[str, Any]:
    outputs = _object(_object(content, "network_data_format"), "outputs")
    if "pred" not in outputs and len(outputs) != 1:
        raise ValueError(f"the network has the outputs {sorted(outputs)} and none is called 'pred'")
    return _object(outputs["pred" if "pred" in outputs else next(iter(outputs))], "channel_def")


def _object(content: Any, key: str) -> dict[str, Any]:
    inner = content.get(key) if isinstance(content, dict) else None
    if not isinstance(inner, dict) or not inner:
        raise ValueError(f"it has no object {key!r}, or an empty one")
    return inner


def _from_channels(names: dict[str, Any]) -> Classes:
    by_channel = {number(key): str(name) for key, name in names.items()}
    channels = sorted(map(number, names))  # "1" and "01" are one channel
    if channels != list(range(len(names))):
        raise ValueError(f"channel_def names the channels {channels}, not 0, 1, 2, ...")
    background = by_channel[0].strip().lower() == "background"
    items: list[Item] = [
        ((channel + (not background),), by_channel[channel]) for channel in sorted(by_channel)
    ]
    classes = make_classes(items[1:] if background else items, independent=not background)
    # Which label of a map would be the second of several channels, nobody says.
    return dataclasses.replace(classes, channels_only=not background and len(items) > 1)
