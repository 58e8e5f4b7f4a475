"""JSON, YAML and options that a user wrote or could have edited: read strictly, in one place.

Of a key that stands twice in one object the usual readers keep the last value and say nothing.
Which of the two is meant nobody knows, so it is an error that names the key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any


class DuplicateKeyError(ValueError):
    """A key stands twice in one object.

    Args:
        key: which.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} stands twice in one object")
        self.key = key


def parse_json(text: str) -> Any:
    """What a JSON text holds.

    Raises:
        DuplicateKeyError: a key stands twice.
        ValueError: the text is no JSON.

    Example:
        >>> parse_json('{"labels": {"1": "liver"}}')
        {'labels': {'1': 'liver'}}
        >>> parse_json('{"labels": {"1": "liver", "1": "spleen"}}')
        Traceback (most recent call last):
        medloss.runtime.config_text.DuplicateKeyError: the key '1' stands twice in one object
    """
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_yaml(text: str) -> Any:
    """What a YAML text holds.

    Raises:
        DuplicateKeyError: a key stands twice.
        ValueError: the text is no YAML, or nothing that reads it is installed.
    """
    try:
        yaml: Any = import_module("yaml")
    except ImportError as error:
        raise ValueError("YAML needs pyyaml: the extra bundle of medloss; or write JSON") from error

    def construct_mapping(loader: Any, node: Any, deep: bool = False) -> Any:
        # "<<" takes in another mapping, which may stand there several times.
        nodes = [key for key, _ in node.value if not key.tag.endswith(":merge")]
        keys = [loader.construct_object(key, deep=True) for key in nodes]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise DuplicateKeyError(str(key))
        return yaml.SafeLoader.construct_mapping(loader, node, deep)

    loader = type("EachOnce", (yaml.SafeLoader,), {"construct_mapping": construct_mapping})
    try:
        return yaml.load(text, loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def parse_file(text: str, path: Path) -> Any:
    """What the text of a file holds: YAML where its suffix says so, else JSON.

    Raises:
        ValueError: says what is wrong, with the path.
    """
    kind = "YAML" if path.suffix.lower() in (".yaml", ".yml") else "JSON"
    try:
        return parse_yaml(text) if kind == "YAML" else parse_json(text)
    except DuplicateKeyError as error:
        raise ValueError(f"{path}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path} is not {kind}: {error}") from error


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Values by id, of every ``--override ID=VALUE`` for a bundle's configuration.

    Raises:
        ValueError: one has another form, or an id is given twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, value = parse_override(text)
        if name in found:
            raise ValueError(f"--override: {name} is given twice")
        found[name] = value
    return found


def parse_override(text: str) -> tuple[str, Any]:
    """``ID=VALUE``, the value as JSON where it is, else as text.

    Raises:
        ValueError: it has another form.

    Example:
        >>> parse_override("inferer#overlap=0.5"), parse_override("dataset_dir=/data")
        (('inferer#overlap', 0.5), ('dataset_dir', '/data'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ValueError(f"--override: {text!r} is not of the form ID=VALUE")
    try:
        return name.strip(), parse_json(value)
    except DuplicateKeyError as error:
        raise ValueError(f"--override: {name.strip()}: {error}") from error
    except ValueError:
        return name.strip(), value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DuplicateKeyError(key)
        found[key] = value
    return found
