"""What a profile says, in lines that a reader can check against a paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medloss.evaluation.profiles.schema import SHORT, TEXTS


def lines(content: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Keys and values, a table in one line; without what is said about it in words.

    Example:
        >>> lines({"summary": "Ours.", "labels": {"core": 1, "whole": [1, 2]}, "preset": "exact"})
        (('labels', 'core = 1, whole = 1 + 2'), ('preset', 'exact'))
    """
    return tuple((key, shown(value)) for key, value in content.items() if key not in TEXTS)


def shown(value: Any) -> str:
    """A value as it is read by people."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_inner(each)}" for key, each in value.items())
    if isinstance(value, list):
        return "; ".join(_entry(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _entry(value: Any) -> str:
    if isinstance(value, Mapping) and "name" in value:
        rest = {key: each for key, each in value.items() if key != "name"}
        return f"{value['name']} ({shown(rest)})" if rest else str(value["name"])
    return shown(value)


def _inner(value: Any) -> str:
    if isinstance(value, list):
        return " + ".join(map(str, value))
    return f"({shown(value)})" if isinstance(value, Mapping) else shown(value)


def profile_sentences(record: Mapping[str, Any]) -> list[str]:
    """Sentences, without an end, about the profile that stands in results; none without one."""
    if not record:
        return []
    content = record.get("content", {})
    said = [f"Profile: {record['name']} ({str(record['sha256'])[:SHORT]})"]
    if summary := str(content.get("summary", "")).rstrip("."):
        said[0] += f": {summary[:1].lower()}{summary[1:]}"
    if note := content.get("note"):
        said.append(str(note).rstrip("."))
    said += [f"Not as the profile has it: {each}" for each in record.get("changed", ())]
    return said
