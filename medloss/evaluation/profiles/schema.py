"""Which keys a profile may have, and what may stand there."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any], str]
"""Says what was expected; nothing where the value is that."""


class WrongKeyError(ValueError):
    """A key that there is not, or a value that cannot stand there.

    Args:
        where: keys from the outermost one.
        sentence: what is wrong, without an end.
    """

    def __init__(self, where: tuple[str, ...], sentence: str) -> None:
        super().__init__(f"{key_text(where)}: {sentence}" if where else sentence)
        self.where = where


@dataclass(frozen=True)
class Keys:
    """Keys with what may stand at each of them.

    Args:
        keys: by name.
        required: those that must be there.
    """

    keys: Mapping[str, Check | Keys | Entries | Free]
    required: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entries:
    """A list of tables, or of short forms of them."""

    each: Keys
    short: Check | None = None


@dataclass(frozen=True)
class Free:
    """A table whose keys are the user's own, such as names of labels."""

    each: Check


def check(value: Any, kind: Check | Keys | Entries | Free, where: tuple[str, ...] = ()) -> None:
    """Compare a value with what may stand there.

    Raises:
        WrongKeyError: says where and what.
    """
    if isinstance(kind, Keys | Free):
        if not isinstance(value, Mapping):
            raise WrongKeyError(where, f"expected a table, got {value!r}")
        if isinstance(kind, Free):
            for key, each in value.items():
                check(each, kind.each, (*where, key))
            return
        for key in value:
            if key not in kind.keys:
                raise WrongKeyError((*where, key), f"there is no such key; {_near(key, kind.keys)}")
        for key in kind.required:
            if key not in value:
                raise WrongKeyError(where, f"the key {key!r} is missing")
        for key, each in value.items():
            check(each, kind.keys[key], (*where, key))
    elif isinstance(kind, Entries):
        if not isinstance(value, list) or not value:
            raise WrongKeyError(where, f"expected a list, got {value!r}")
        for number, each in enumerate(value, 1):
            if kind.short is not None and isinstance(each, str):
                check(each, kind.short, (*where, f"{number}"))
            else:
                check(each, kind.each, (*where, f"{number}"))
    elif expected := kind(value):
        raise WrongKeyError(where, f"expected {expected}, got {value!r}")


def key_text(where: tuple[str, ...]) -> str:
    """Keys from the outermost one, as TOML has them.

    Example:
        >>> key_text(("metrics", "2", "options", "tolerance_mm"))
        'metrics[2].options.tolerance_mm'
    """
    text = ""
    for key in where:
        text += f"[{key}]" if key.isdigit() and text else f".{key}" if text else key
    return text


def line_of(text: str, where: tuple[str, ...]) -> int | None:
    """The line of a key in TOML or JSON, where it can be only one."""
    if not where:
        return None
    words = [re.escape(key) for key in where if not key.isdigit()]
    last = words[-1] if words else ""
    found = [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if re.match(rf"""\s*["']?{last}["']?\s*[=:]""", line)
        or re.match(rf"""\s*\[+[^\]]*\b{last}["']?\s*\]""", line)
        or re.search(rf"""[{{,]\s*["']?{last}["']?\s*[=:]""", line)
    ]
    return found[0] if last and len(found) == 1 else None


def _near(key: str, keys: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key, keys, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(keys)}"


def _text(value: Any) -> str:
    return "" if isinstance(value, str) and value.strip() else "a text"


def _texts(value: Any) -> str:
    good = isinstance(value, list) and all(isinstance(each, str) and each for each in value)
    return "" if good else "a list of texts"


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "true or false"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any) -> str:
    return "" if _is_number(value) else "a number"


def _not_negative(value: Any) -> str:
    return "" if _is_number(value) and value >= 0 else "a number of at least 0"


def _probability(value: Any) -> str:
    return "" if _is_number(value) and 0 < value <= 1 else "a number above 0 and up to 1"


def _level(value: Any) -> str:
    return "" if _is_number(value) and 0 < value < 1 else "a number between 0 and 1"


def _one_of(*words: str) -> Check:
    def expected(value: Any) -> str:
        good = isinstance(value, str) and value in words
        return "" if good else f"one of {', '.join(words)}"

    return expected


def _some_of(*words: str) -> Check:
    def expected(value: Any) -> str:
        good = isinstance(value, list) and all(each in words for each in value)
        return "" if good else f"a list of some of {', '.join(words)}"

    return expected


def _missed(value: Any) -> str:
    good = value in ("diagonal", "inf", "exclude") or (_is_number(value) and value >= 0)
    return "" if good else "diagonal, inf, exclude or a number of mm"


def _labels(value: Any) -> str:
    one = isinstance(value, int | str) and not isinstance(value, bool)
    many = isinstance(value, list) and bool(value)
    good = one or (many and all(type(each) in (int, str) for each in value))
    return "" if good else "a label, a list of labels (a region), or a list of names"


def _decoding(value: Any) -> str:
    good = not _text(value) or (isinstance(value, Mapping) and bool(value))
    return "" if good else "argmax, dice, a file of thresholds, or a table of them"


def _plain(value: Any) -> str:
    return "" if isinstance(value, str | int | float) else "a text, a number, true or false"


def _option(value: Any) -> str:
    """Of a metric: what it makes of it, it says itself."""
    if isinstance(value, Mapping):
        bad = next((told for each in value.values() if (told := _option(each))), "")
        return bad and "a table of texts, numbers, true or false"
    if isinstance(value, list):
        return "" if not any(map(_plain, value)) else "a list of texts and numbers"
    return _plain(value)


CHANGEABLE = (
    *("labels", "preset", "missed", "both_empty"),
    *(
        "ignore_label",
        "remap",
        "threshold",
        "decode",
        "instances",
        "resample",
        "channels",
        "contours",
    ),
    *("cluster", "by", "accept"),
)
"""What a profile may let a command say otherwise: names of its options."""

INPUTS: dict[str, Check] = {
    "ignore_label": lambda value: "" if type(value) is int and value >= 0 else "a label",
    "threshold": _probability,
    "decode": _decoding,
    "instances": _flag,
    "resample": _flag,
    "channels": _one_of("exclusive", "independent"),
    "contours": _one_of("inclusive", "strict"),
}
"""What the values of files may be said to mean, by the option."""

_CONTENT: dict[str, Check | Keys | Entries | Free] = {
    "summary": _text,
    "note": _text,
    "sources": _texts,
    "allow": _some_of(*CHANGEABLE),
    "labels": Free(_labels),
    "inputs": Keys({**INPUTS, "remap": _text}),
    "preset": _text,
    "policies": Keys({"missed": _missed, "both_empty": _one_of("exclude", "perfect")}),
    "metrics": Entries(
        Keys(
            {
                "name": _text,
                "column": _text,
                "options": Free(_option),
                "spurious": _one_of("count", "exclude"),
            },
            ("name",),
        ),
        _text,
    ),
    "matching": Free(_plain),
    "tolerances": Keys({"mm": _not_negative, "by_label": Free(_not_negative)}),
    "averages": Entries(
        Keys(
            {
                "name": _text,
                "labels": _texts,
                "first": _one_of("cases", "labels"),
                "undefined": _one_of("skip", "keep"),
                "metrics": _texts,
                "absent": _one_of("count", "skip"),
                "detected_from": _number,
            },
            ("name",),
        )
    ),
    "ranking": Keys(
        {
            "method": _one_of("rank_then_aggregate", "aggregate_then_rank", "test_then_rank"),
            "aggregate": _one_of("mean", "median"),
            "ties": _one_of("mean", "min"),
            "missing": _one_of("worst", "drop"),
            "level": _level,
            "metrics": _texts,
            "labels": _texts,
            "label_mean": _one_of("of_each_case", "of_all_cases"),
            "tie_break": _text,
            "weights": Keys({"metrics": Free(_not_negative), "labels": Free(_not_negative)}),
            "penalties": Free(_number),
        },
        ("method",),
    ),
    "acceptance": Keys({"rules": _texts}, ("rules",)),
    "subgroups": Keys({"by": _texts}, ("by",)),
    "cluster": Keys({"by": _text}, ("by",)),
}

PROFILE = Keys({"name": _text, **_CONTENT, "variants": Free(lambda _: "")}, ("name", "summary"))
VARIANT = Keys(_CONTENT)
"""What a profile may hold, and what may stand in one of its variants instead."""

_NAME, _NAME_WORDS = r"[A-Za-z0-9_.-]+", "letters, digits, _, - and ."

SHORT = 12
"""Digits of a hash that are shown; files hold all of them."""

TEXTS = ("summary", "note", "sources")
"""Keys that say something about a definition and change no number."""


def check_profile(content: Mapping[str, Any]) -> None:
    """Raise for what no profile may hold.

    Raises:
        WrongKeyError: says where and what.
    """
    check(content, PROFILE)
    if not re.fullmatch(_NAME, content["name"]):
        raise WrongKeyError(("name",), f"expected {_NAME_WORDS}, got {content['name']!r}")
    for name, variant in content.get("variants", {}).items():
        where = ("variants", name)
        if not re.fullmatch(_NAME, name):
            raise WrongKeyError(where, f"the name of a variant: expected {_NAME_WORDS}")
        check(variant, VARIANT, where)


def check_recorded(record: Mapping[str, Any]) -> None:
    """Raise for a profile in results that nothing can be told of.

    Raises:
        WrongKeyError: says where and what.
    """
    content = record.get("content")
    check(record.get("name"), _text, ("profile", "name"))
    check(record.get("sha256"), _text, ("profile", "sha256"))
    check(record.get("changed"), _texts, ("profile", "changed"))
    check(content, Free(lambda _: ""), ("profile", "content"))
    if isinstance(content, Mapping) and "averages" in content:
        check(content["averages"], _CONTENT["averages"], ("profile", "content", "averages"))
