"""Options of a loss: annotated attributes that become keywords of its constructor."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

from medloss.base.option_values import check_number, checked

T = TypeVar("T")


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
    make: Callable[..., None] = made.__init__
    known = {each.name: each for each in dataclasses.fields(made) if each.init}  # type: ignore[arg-type]
    positional: tuple[str, ...] = getattr(made, "positional", ())

    @functools.wraps(make)
    def construct(self: Any, *args: Any, **given: Any) -> None:
        placed = _placed(type(self).__name__, positional, args, given)
        kinds = _annotations(made)  # type: ignore[arg-type]
        for name, value in given.items():
            if name not in known:
                raise TypeError(_unknown(made, name, [*known]))
            placed[name] = value
        values = {k: checked(k, value, kinds.get(k, Any)) for k, value in placed.items()}
        make(self, **values)
        for name, value in values.items():
            check_number(name, value, kinds.get(name, Any))

    construct.__signature__ = _signature(known, positional)  # type: ignore[attr-defined]
    made.__init__ = construct  # type: ignore[method-assign]
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
