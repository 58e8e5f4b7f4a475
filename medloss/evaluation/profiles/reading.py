"""A profile by its name, or from a file: read strictly, with its variants, under one hash."""

from __future__ import annotations

import copy
import difflib
import functools
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloss.evaluation.profiles.schema import SHORT, TEXTS, WrongKeyError, check_profile, line_of
from medloss.evaluation.requests import own_column
from medloss.offers.host import PluginError, host
from medloss.runtime.config_text import parse_json, read_text

_FILE = re.compile(r"(?P<path>.+\.(?:toml|json))(?P<variants>(?::[^:/\\]*)*)", re.IGNORECASE)


@dataclass(frozen=True)
class ReadProfile:
    """A definition that was read: what is scored how.

    Args:
        name: with the variants that were asked for: ``brats2026:mets``.
        content: what the file says, checked, with those variants in their places.
        origin: where it was read.
        variants: names and summaries of all that there are.
    """

    name: str
    content: Mapping[str, Any]
    origin: str = ""
    variants: tuple[tuple[str, str], ...] = ()

    @functools.cached_property
    def sha256(self) -> str:
        """Of all that changes a number or an order, however it is written down."""
        decides = {key: value for key, value in self.content.items() if key not in TEXTS}
        plain = json.dumps(_plain({"name": self.name, **decides}), sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()

    @property
    def summary(self) -> str:
        """What it is, in a line."""
        return str(self.content["summary"])

    @property
    def note(self) -> str:
        """What its numbers differ in from those of others, in a sentence; or empty."""
        return str(self.content.get("note", ""))

    def part(self, name: str) -> Mapping[str, Any]:
        """A table of it, empty where it has none."""
        found: Mapping[str, Any] = self.content.get(name, {})
        return found

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:SHORT]})"


def read_profile(asked: str | Path | Mapping[str, Any]) -> ReadProfile:
    """A profile by its name, from a TOML or JSON file, or as a mapping of the same form.

    ``NAME:VARIANT`` takes a variant of it, ``NAME:VARIANT:VARIANT`` one over the other.

    Raises:
        ValueError: there is none, or it says something that it cannot; with file, key and line.

    Example:
        >>> profile = read_profile({"name": "mine", "summary": "Ours.", "preset": "exact"})
        >>> str(profile)
        'mine (8128229c03f6)'
        >>> read_profile({"name": "mine", "summary": "Ours.", "presets": "exact"})
        Traceback (most recent call last):
        ValueError: mine: presets: there is no such key; did you mean preset?
    """
    if isinstance(asked, Mapping):
        origin = str(asked.get("name", "profile"))
        return _profile(copy.deepcopy(dict(asked)), (), origin, "")
    text = str(asked)
    if match := _FILE.fullmatch(text):
        path, variants = Path(match["path"]), tuple(match["variants"].split(":")[1:])
    else:
        path, variants = _shipped(text)
    content = _read(path)
    return _profile(content, variants, str(path), read_text(path))


def _shipped(text: str) -> tuple[Path, tuple[str, ...]]:
    """The file of a profile on offer, and the variants asked for."""
    name, *variants = text.split(":")
    catalogue = host().profiles
    if variants and f"{name}:{variants[0]}" in {offer.full_name for offer in catalogue}:
        name, variants = f"{name}:{variants[0]}", variants[1:]
    try:
        offer = catalogue.find(name)
    except PluginError as error:
        raise ValueError(f"{error}; a file ends in .toml or .json") from error
    return offer.record.path(), tuple(variants)


def _read(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        content = parse_json(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no object")
    return content


def _profile(
    content: dict[str, Any], variants: tuple[str, ...], origin: str, text: str
) -> ReadProfile:
    try:
        check_profile(content)
    except WrongKeyError as error:
        line = line_of(text, error.where)
        raise ValueError(f"{origin}{f', line {line}' if line else ''}: {error}") from error
    offered = content.pop("variants", {})
    name = str(content.pop("name"))
    for variant in variants:
        if variant not in offered:
            near = difflib.get_close_matches(variant, offered, n=2, cutoff=0.5)
            has = f"it has {', '.join(offered)}" if offered else "it has none"
            hint = f"did you mean {' or '.join(near)}?" if near else has
            raise ValueError(f"{name}: no variant is called {variant!r}; {hint}")
        content = _over(content, offered[variant])
    _say_own_names(content)
    return ReadProfile(
        ":".join((name, *variants)),
        content,
        origin,
        tuple((each, str(own.get("summary", ""))) for each, own in offered.items()),
    )


def _say_own_names(content: dict[str, Any]) -> None:
    """Put the names that results have in the place of aliases, where columns are named."""
    entries = [entry for entry in content.get("metrics", ()) if isinstance(entry, Mapping)]
    called = {str(entry["column"]) for entry in entries if "column" in entry}

    def own(column: str) -> str:
        return column if column in called else own_column(column)

    ranking = content.get("ranking", {})
    weights = ranking.get("weights", {})
    for table in (*content.get("averages", ()), ranking):
        if "metrics" in table:
            table["metrics"] = [own(name) for name in table["metrics"]]
    for table, key in ((weights, "metrics"), (ranking, "penalties")):
        if key in table:
            table[key] = {own(name): value for name, value in table[key].items()}
    if "tie_break" in ranking:
        ranking["tie_break"] = own(ranking["tie_break"])


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key, but labels and everything else are replaced."""
    merged = dict(below)
    for key, value in above.items():
        both = key != "labels" and isinstance(value, Mapping) and key in below
        merged[key] = _over(below[key], value) if both else value
    return merged


def _plain(value: Any) -> Any:
    """2 and 2.0 are one number."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole else value
