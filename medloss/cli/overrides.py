"""``--override ID=VALUE`` of commands that read a bundle's configuration."""

from __future__ import annotations

import json
from typing import Any


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
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value
