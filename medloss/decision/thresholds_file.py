"""The JSON file of thresholds: found once on validation data, read wherever labels are made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloss.runtime.config_text import parse_file, read_text
from medloss.runtime.files import finite, write_json_file

FORMAT = 1


@dataclass(frozen=True)
class FoundThresholds:
    """What a file of thresholds holds.

    Args:
        thresholds: of each channel.
        sha256: of the content.
        content: all of it.
    """

    thresholds: tuple[float, ...]
    sha256: str
    content: Mapping[str, Any]


def write_thresholds(path: Path, content: Mapping[str, Any]) -> FoundThresholds:
    """Write thresholds and what is known of them.

    Args:
        path: the file; it appears whole.
        content: with ``"thresholds"``, a list with a number for each channel.
    """
    plain = json.loads(json.dumps(finite({"medloss_thresholds": FORMAT, **content})))
    whole = {**plain, "sha256": _sha256(plain)}
    write_json_file(path, whole)
    return FoundThresholds(tuple(map(float, whole["thresholds"])), whole["sha256"], whole)


def read_thresholds(path: Path) -> FoundThresholds:
    """Read what :func:`write_thresholds` wrote, or ``{"thresholds": [0, 0.4]}`` of a user's own.

    Raises:
        ValueError: the file cannot be read, holds no thresholds, or was changed after it was
            written.
    """
    content = parse_file(read_text(path), path)
    listed = content.get("thresholds") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not listed or not all(map(_is_threshold, listed)):
        raise ValueError(
            f"{path} holds no thresholds: expected {{'thresholds': [0, 0.4, ...]}}, a number from "
            f"0 to 1 for each channel (medloss thresholds finds them)"
        )
    if (made := content.get("medloss_thresholds", FORMAT)) != FORMAT:
        raise ValueError(f"{path} is of format {made!r}, and this version reads {FORMAT}")
    said = content.get("sha256")
    own = _sha256({name: value for name, value in content.items() if name != "sha256"})
    if said is not None and said != own:
        raise ValueError(
            f"{path} was changed after its thresholds were found; to use thresholds of your own, "
            f"write a file with thresholds alone"
        )
    return FoundThresholds(tuple(map(float, listed)), own, content)


def _is_threshold(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _sha256(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
