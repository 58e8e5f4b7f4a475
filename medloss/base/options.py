"""Options of a loss: annotated attributes that become keywords of its constructor, and judged."""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import functools
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, dataclass_transform

import numpy as np
import torch

T = TypeVar("T")

_NOTHING = object()


@dataclass_transform(
    eq_default=False, kw_only_default=True, field_specifiers=(dataclasses.field, dataclasses.Field)
)
def options(cls: type[T]) -> type[T]:
    """Turn the annotated attributes of a loss class into options of its constructor.

    Every value has to be what its annotation says. Options are given by name; ``positional``, an
    attribute of the class, names those that may also be given by place, in that order, which is
    MONAI's where MONAI has a class of that name. ``renamed`` says what to do about other names.

    Example:
        >>> from medloss.base import RegionLoss
        >>> @options
        ... class MeanProbabilityLoss(RegionLoss):
        ...     scale: float = 1.0
        ...     def terms(self):
        ...         return ("p", "v")
        ...     def per_class(self, s):
        ...         return self.scale * s.p / s.v
        >>> MeanProbabilityLoss(softmax=True, scale=2.0).scale
        2.0
        >>> MeanProbabilityLoss(softmax="yes")
        Traceback (most recent call last):
        TypeError: softmax: expected True or False, got 'yes'
    """
    return validated(dataclass(eq=False, repr=False, kw_only=True)(cls))


def validated(made: type[T]) -> type[T]:
    """A dataclass whose constructor takes options by place and name, and judges each."""
    kind: Any = made  # a dataclass, for all that a checker knows any class
    make: Callable[..., None] = kind.__init__
    known = {each.name: each for each in dataclasses.fields(kind) if each.init}
    positional: tuple[str, ...] = getattr(kind, "positional", ())

    @functools.wraps(make)
    def construct(self: Any, *args: Any, **given: Any) -> None:
        placed = _placed(type(self).__name__, positional, args, given)
        kinds = _annotations(kind)
        for name, value in given.items():
            if name not in known:
                raise TypeError(_unknown(kind, name, [*known]))
            placed[name] = value
        values = {k: checked(k, value, kinds.get(k, Any)) for k, value in placed.items()}
        make(self, **values)
        for name, value in values.items():
            check_number(name, value, kinds.get(name, Any))

    kind.__init__ = construct
    kind.__init__.__signature__ = _signature(known, positional)
    return made


def _placed(
    kind: str, positional: tuple[str, ...], args: tuple[Any, ...], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Options given by place."""
    if len(args) > len(positional):
        names = f"{', '.join(positional)} by place, all others by name" if positional else "names"
        raise TypeError(f"{kind}: expected {names}, got {len(args)} without a name: {args!r}")
    placed = dict(zip(positional, args, strict=False))
    twice = [name for name in placed if name in given]
    if twice:
        raise TypeError(f"{kind}: {', '.join(twice)} given twice, by place and by name")
    return placed


def _unknown(kind: type, name: str, known: list[str]) -> str:
    said = getattr(kind, "renamed", {}).get(name)
    if said is None:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        said = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known)}"
    return f"{kind.__name__}: no option {name!r}; {said}"


def _signature(
    known: Mapping[str, dataclasses.Field[Any]], positional: tuple[str, ...]
) -> inspect.Signature:
    """As it may be called; without defaults where an option has none."""

    def parameter(name: str, kind: Any) -> inspect.Parameter:
        field = known[name]
        default = field.default
        if default is dataclasses.MISSING:
            default = inspect.Parameter.empty
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
        return inspect.Parameter(name, kind, default=default, annotation=field.type)

    both = inspect.Parameter
    placed = [parameter(name, both.POSITIONAL_OR_KEYWORD) for name in positional]
    named = [parameter(name, both.KEYWORD_ONLY) for name in known if name not in positional]
    own = both("self", both.POSITIONAL_OR_KEYWORD)
    return inspect.Signature([own, *placed, *named])


@functools.cache
def _annotations(kind: type) -> dict[str, Any]:
    """What each option has to be; one whose annotation cannot be read may be anything."""
    found: dict[str, Any] = {}
    for each in reversed(kind.__mro__):
        for name in inspect.get_annotations(each):
            try:
                one = type(name, (), {"__annotations__": {name: each.__annotations__[name]}})
                one.__module__ = each.__module__
                found[name] = typing.get_type_hints(one)[name]
            except (NameError, TypeError):  # imported for type checkers alone
                found[name] = Any
    return found


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
    kinds = _kinds(kind)
    if not all(each in _PLAIN or typing.get_origin(each) in _PLAIN for each in kinds):
        return value
    for each in kinds:
        found = _as(each, value)
        if found is not _NOTHING:
            return found
    expected = " or ".join(map(_said, kinds))
    of_words = [each for each in kinds if typing.get_origin(each) is Literal]
    words = [word for each in of_words for word in typing.get_args(each)]
    others = [_said(each) for each in kinds if each not in of_words]
    if words and (isinstance(value, str) or not others):
        expected = " or ".join([f"one of {', '.join(map(repr, words))}", *others])
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    raise TypeError(f"{name}: expected {expected}, got {value!r}")


def check_number(name: str, value: Any, kind: Any) -> None:
    """Refuse what no loss can mean where its own bounds let it through.

    Raises:
        ValueError: a number that is not finite, or not whole where it counts something.
    """
    kinds = _kinds(kind)
    if not isinstance(value, float) or not {int, float} & set(kinds):
        return
    if not math.isfinite(value) or float not in kinds:
        expected = " or ".join(map(_said, kinds))
        raise ValueError(f"{name}: expected {expected}, got {value!r}")


def under_another_name(loss: Any, theirs: str, ours: str) -> None:
    """Let an option be given by MONAI's name for it, and show it under both.

    Raises:
        ValueError: it was given by both names, with other values.
    """
    given = getattr(loss, theirs)
    if given is not None:
        if getattr(loss, ours) not in (getattr(type(loss), ours), given):
            raise ValueError(f"{theirs}: it is MONAI's name of {ours}; expected one of them")
        setattr(loss, ours, given)
    setattr(loss, theirs, getattr(loss, ours))


def _kinds(kind: Any) -> tuple[Any, ...]:
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return typing.get_args(kind) if union else (kind,)


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
