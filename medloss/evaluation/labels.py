"""Which labels are scored, and what they are called."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def parse_labels(text: str) -> dict[int, str]:
    """Names by label, from ``1,2``, ``1=anterior,2=posterior`` or the path of a JSON file.

    The JSON file is an object of names by label or of labels by name, or has one under ``"labels"``
    as the ``dataset.json`` of the Medical Segmentation Decathlon and of nnU-Net has; its
    background, label 0, is left out. A label without a name has an empty one.

    Raises:
        ValueError: says what is wrong with the text or the file.

    Example:
        >>> parse_labels("1=anterior,2=posterior")
        {1: 'anterior', 2: 'posterior'}
        >>> parse_labels("3, 5")
        {3: '', 5: ''}
    """
    if text.strip().lower().endswith(".json"):
        return _from_json(Path(text.strip()))
    items = [_split(part) for part in text.split(",") if part.strip()]
    if any(label == 0 for label, _ in items):
        raise ValueError("label 0 is the background, which is not scored")
    return _unique(items)


def _split(part: str) -> tuple[int, str]:
    label, equals, name = (word.strip() for word in part.partition("="))
    if equals and not name:
        raise ValueError(f"{part.strip()!r} names no name; write 1=liver, or 1 alone")
    return _number(label), name


def _from_json(path: Path) -> dict[int, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if isinstance(content, dict) and isinstance(content.get("labels"), dict):
        content = content["labels"]
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds no object such as {{"1": "liver"}}')
    try:
        return _unique(item for item in (_item(*pair) for pair in content.items()) if item[0] != 0)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _item(key: str, value: Any) -> tuple[int, str]:
    if isinstance(value, str):
        return _number(key), value
    if isinstance(value, int) and not isinstance(value, bool):
        if key == "ignore" and value:
            raise ValueError(
                f"label {value} marks voxels to ignore, which is not supported; "
                f"give the labels on the command line to score with it as background"
            )
        return _number(str(value)), key
    if isinstance(value, list):
        raise ValueError(f"{key!r} is a region of several labels, which is not supported")
    raise ValueError(f"{key!r}: {value!r} is neither a name nor a label")


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise ValueError(f"{word!r} is no label; labels are whole numbers such as 1")
    return int(word)


def _unique(items: Iterable[tuple[int, str]]) -> dict[int, str]:
    labels: dict[int, str] = {}
    for label, name in items:
        if label in labels:
            raise ValueError(f"label {label} is named twice")
        if name and name in labels.values():
            raise ValueError(f"the name {name!r} is given to two labels")
        labels[label] = name
    if not labels:
        raise ValueError("no label is named")
    return labels
