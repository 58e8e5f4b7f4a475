"""Whether the value of an option is what its annotation says."""

from __future__ import annotations

import collections.abc
import math
import numbers
import types
import typing
from typing import Any, Literal

import numpy as np
import torch

_NOTHING = object()


def checked(name: str, value: Any, kind: Any) -> Any:
    """The value, NumPy's scalars as Python's; other than its annotation says is refused.

    Args:
        name: of the option.
        value: as it was given.
        kind: its annotation. Flags, numbers and words are judged; lists, mappings and objects are
            left to who takes them.

    Raises:
        TypeError: it is of another kind.
        ValueError: it is none of the words.

    Example:
        >>> checked("softmax", np.True_, bool), checked("gamma", 2, float)
        (True, 2)
        >>> checked("gamma", "2", float | None)
        Traceback (most recent call last):
        TypeError: gamma: expected a finite number or None, got '2'
    """
    kinds = typing.get_args(kind) if _is_union(kind) else (kind,)
    if not all(each in _PLAIN or typing.get_origin(each) in _PLAIN for each in kinds):
        return value
    for each in kinds:
        found = _as(each, value)
        if found is not _NOTHING:
            return found
    expected = " or ".join(map(_said, kinds))
    words = [word for each in kinds if typing.get_origin(each) is Literal for word in _words(each)]
    if isinstance(value, str) and words:
        others = [_said(each) for each in kinds if typing.get_origin(each) is not Literal]
        expected = " or ".join([f"one of {', '.join(map(repr, words))}", *others])
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    raise TypeError(f"{name}: expected {expected}, got {value!r}")


def check_number(name: str, value: Any, kind: Any) -> None:
    """Refuse what no loss can mean where its own bounds let it through.

    Raises:
        ValueError: a number that is not finite, or not whole where it counts something.
    """
    kinds = typing.get_args(kind) if _is_union(kind) else (kind,)
    if not isinstance(value, float) or not {int, float} & set(kinds):
        return
    if not math.isfinite(value) or float not in kinds:
        expected = " or ".join(map(_said, kinds))
        raise ValueError(f"{name}: expected {expected}, got {value!r}")


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _as(kind: Any, value: Any) -> Any:
    """The value as this kind, or ``_NOTHING``."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is type(None):
        return None if value is None else _NOTHING
    if kind is bool:
        return bool(value) if isinstance(value, bool | np.bool_) else _NOTHING
    if kind in (int, float):  # whether it is whole and finite is judged after its bounds
        return _number(value)
    if kind is str:
        return value if isinstance(value, str) else _NOTHING
    if origin is Literal:
        plain = getattr(value, "value", value)  # an enumeration of MONAI
        return next(
            (word for word in parts if type(word) is type(plain) and word == plain), _NOTHING
        )
    return value if callable(value) else _NOTHING


def _number(value: Any) -> Any:
    if isinstance(value, torch.Tensor | np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        return _NOTHING
    return value.item() if isinstance(value, np.generic) else value


def _words(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind)


def _said(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return " or ".join(map(repr, typing.get_args(kind)))
    return _PLAIN.get(kind, "a callable")


_PLAIN: dict[Any, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a finite number",
    str: "a word",
    type(None): "None",
    Literal: "one of some words",
    collections.abc.Callable: "a callable",
}
"""Kinds that are judged here."""
