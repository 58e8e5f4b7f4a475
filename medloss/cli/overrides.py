"""``--override ID=VALUE`` of commands that read a bundle's configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from medloss.runtime.config_text import DuplicateKeyError, parse_json


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Values by id, of every ``--override`` that was given.

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
