"""Labels and regions from the JSON files that come with data sets and models."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from medloss.evaluation.inputs.labels import Classes, Item, make_classes, number
from medloss.runtime.config_text import parse_file


def read_labels(path: Path) -> Classes:
    """Labels, regions and the label to ignore.

    The file is one of

    - an object of names by label (``{"1": "liver"}``), or of labels by name, where a list of labels
      is a region (``{"core": 1, "whole": [1, 2]}``);
    - a ``dataset.json`` of the Medical Segmentation Decathlon or of nnU-Net, which has such an
      object under ``labels``; its label ``ignore`` is ignored;
    - the ``metadata.json`` of a MONAI bundle, whose ``channel_def`` names the channels of the
      prediction. With a background as channel 0 they are labels; without one they are classes of
      their own, label 1 for channel 0 and so on.

    The background, label 0, is left out.

    Raises:
        ValueError: says what is wrong, with the path.
    """
    try:
        content = parse_file(path.read_text(encoding="utf-8-sig"), path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason}") from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds no object such as {{"1": "liver"}}')
    try:
        if "network_data_format" in content:
            return _from_channels(_channel_names(content))
        if isinstance(content.get("labels"), dict):
            return _from_labels(content["labels"], content.get("regions_class_order", ()))
        return _from_labels(content, ())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _from_labels(content: dict[str, Any], order: Any) -> Classes:
    items = [_item(key, value) for key, value in content.items()]
    ignored = [label for labels, name in items if name == "ignore" for label in labels]
    if len(ignored) > 1:
        raise ValueError("'ignore' stands for several labels; it can be one")
    ignore = ignored[0] if ignored else None
    scored = [item for item in items if item[0] != (0,) and item[1] != "ignore"]
    if not isinstance(order, (list, tuple)) or not all(type(label) is int for label in order):
        raise ValueError(f"regions_class_order: expected a list of labels, got {order!r}")
    if order and len(order) != len(scored):
        raise ValueError(f"regions_class_order has {len(order)} labels for {len(scored)} regions")
    return make_classes(
        scored, ignore=ignore, independent=bool(order), region_order=tuple(int(x) for x in order)
    )


def _item(key: str, value: Any) -> Item:
    if isinstance(value, str):
        return (number(key),), value
    if type(value) is int:
        return (number(str(value)),), key
    if isinstance(value, list) and value and all(type(label) is int for label in value):
        return tuple(number(str(label)) for label in value), key
    raise ValueError(f"{key!r}: {value!r} is neither a name nor a label nor a list of labels")


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
