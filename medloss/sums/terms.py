r"""What is summed: the one table of terms.

A term costs its row here and its loops for the CPU (:mod:`medloss.sums.cpu.terms`). Codes, what a
kernel has to prepare, which terms need no gradient and which only the true class adds to follow
from the row; so do the term in torch and its kernels for CUDA devices, with their derivatives. A
factor that no row had before is also told to these kernels (:mod:`medloss.sums.gpu.terms`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import mul
from typing import NamedTuple

import torch
from torch import Tensor

from medloss.sums.numeric import power, power_slope
from medloss.sums.voxels import Voxels


class Term(NamedTuple):
    r"""One function of probability p and target y that is summed over voxels v, for each class.

    ========== ======================== =====================================================
    name       summed                   takes
    ========== ======================== =====================================================
    ``v``      1                        (the number of voxels that count)
    ``p``      p
    ``t``      y
    ``tp``     p y
    ``pp``     p²
    ``tt``     y²
    ``l1``     \|p − y\|
    ``power``  \|p − y\|^γ             ``exponent``: γ
    ``sqt``    (p − y)² y
    ``ce``     −y log p
    ``ce_neg`` −(1 − y) log(1 − p)
    ``nlog``   −log p
    ``focal``  −y (1 − p)^γ log p       ``exponent``: γ
    ``focal_neg`` −(1 − y) p^γ log(1 − p) ``exponent``: γ
    ``map``    p φ                      ``map``: name of φ, of shape (B, C, \*spatial)
    ``map2``   (p − y)² φ               ``map``: name of φ
    ``tp_map`` p y φ                    ``map``: name of φ
    ``t_map``  y φ                      ``map``: name of φ
    ========== ======================== =====================================================

    A map may also be given second: ``Term("map", "distances")``, as ``Term("focal", 2.0)``.
    """

    name: str
    exponent: float | None = None
    map: str | None = None

    @property
    def key(self) -> float | str | None:
        """What tells it from terms of the same name."""
        return self.exponent if self.map is None else self.map


class Summand(NamedTuple):
    """A row of the table: a term as the product of weight, factor, map and −log.

    Args:
        weight: how the target weighs: ``1``, ``y``, ``y*y`` or ``1-y``.
        factor: what it takes of p or q = 1 − p, one of :data:`FACTORS`.
        log: ``p`` or ``q``, whose logarithm it takes, or nothing.
        map: whether it takes a map.
    """

    weight: str = "1"
    factor: str = "1"
    log: str = ""
    map: bool = False

    @property
    def exponent(self) -> bool:
        """Whether it takes an exponent."""
        return self.factor.endswith("**e")

    @property
    def constant(self) -> bool:
        """Whether it has no gradient."""
        return self.factor == "1" and not self.log

    @property
    def of_true_class(self) -> bool:
        """Whether of exclusive classes only that of the label adds to it, in proportion to y."""
        return self.weight in ("y", "y*y") and "y" not in self.factor


TERMS = {
    "v": Summand(),
    "p": Summand(factor="p"),
    "t": Summand("y"),
    "tp": Summand("y", "p"),
    "pp": Summand(factor="p*p"),
    "tt": Summand("y*y"),
    "l1": Summand(factor="abs(p-y)"),
    "power": Summand(factor="abs(p-y)**e"),
    "sqt": Summand("y", "(p-y)**2"),
    "ce": Summand("y", log="p"),
    "ce_neg": Summand("1-y", log="q"),
    "nlog": Summand(log="p"),
    "focal": Summand("y", "q**e", log="p"),
    "focal_neg": Summand("1-y", "p**e", log="q"),
    "map": Summand(factor="p", map=True),
    "map2": Summand(factor="(p-y)**2", map=True),
    "tp_map": Summand("y", "p", map=True),
    "t_map": Summand("y", map=True),
}
"""Every term, by its name."""


class Factor(NamedTuple):
    """A function of voxels and an exponent, and its derivative by p."""

    value: Callable[[Voxels, float], Tensor]
    slope: Callable[[Voxels, float], Tensor | float]


FACTORS = {
    "p": Factor(lambda x, _: x.p, lambda x, _: 1.0),
    "p*p": Factor(lambda x, _: x.p * x.p, lambda x, _: 2 * x.p),
    "abs(p-y)": Factor(lambda x, _: (x.p - x.y).abs(), lambda x, _: (x.p - x.y).sign()),
    "(p-y)**2": Factor(lambda x, _: (x.p - x.y) ** 2, lambda x, _: 2 * (x.p - x.y)),
    "abs(p-y)**e": Factor(
        lambda x, e: power((x.p - x.y).abs(), e),
        lambda x, e: (x.p - x.y).sign() * power_slope((x.p - x.y).abs(), e),
    ),
    "p**e": Factor(lambda x, e: power(x.p, e), lambda x, e: power_slope(x.p, e)),
    "q**e": Factor(lambda x, e: power(x.not_p, e), lambda x, e: -power_slope(x.not_p, e)),
}
"""What a factor says, in torch."""

WEIGHTS: dict[str, Callable[[Voxels], Tensor]] = {
    "y": lambda x: x.y,
    "y*y": lambda x: x.y * x.y,
    "1-y": lambda x: 1 - x.y,
}
"""What a weight says, in torch."""

LOGS: dict[tuple[str, str], Callable[[Voxels], Tensor]] = {
    ("p", "1"): lambda x: x.log_p,
    ("p", "y"): lambda x: x.log_p_of_true,
    ("q", "1"): lambda x: x.log_not_p,
    ("q", "1-y"): lambda x: x.log_not_p_of_false,
}
"""A logarithm in torch, which is asked only where its weight is not 0."""


def summand(x: Voxels, term: Term) -> Tensor:
    """What a term sums, for each voxel and class."""
    row = TERMS[term.name]
    value = _product(x, term, _factor(x, term), -LOGS[row.log, row.weight](x) if row.log else 1.0)
    return value if isinstance(value, Tensor) else torch.ones_like(x.input)


class Slopes(NamedTuple):
    """Derivatives by p, log p and log(1 − p), taken as if these were independent."""

    p: Tensor | float = 0.0
    log_p: Tensor | float = 0.0
    log_not_p: Tensor | float = 0.0


def summand_slopes(x: Voxels, term: Term) -> Slopes:
    """Derivatives of :func:`summand`, by the product rule."""
    row = TERMS[term.name]
    by_p: Tensor | float = 0.0
    if row.factor != "1":
        slope = FACTORS[row.factor].slope(x, float(term.exponent or 0))
        log = -LOGS[row.log, row.weight](x) if row.log else 1.0
        by_p = _product(x, term, slope, log)
    if not row.log:
        return Slopes(by_p)
    by_log = -_product(x, term, _factor(x, term), 1.0)
    return Slopes(by_p, by_log) if row.log == "p" else Slopes(by_p, log_not_p=by_log)


def _factor(x: Voxels, term: Term) -> Tensor | float:
    factor = TERMS[term.name].factor
    return 1.0 if factor == "1" else FACTORS[factor].value(x, float(term.exponent or 0))


def _product(x: Voxels, term: Term, factor: Tensor | float, log: Tensor | float) -> Tensor | float:
    """Of weight, factor, map and logarithm, of which those that are 1 cost nothing."""
    row = TERMS[term.name]
    weight = 1.0 if row.weight == "1" else WEIGHTS[row.weight](x)
    phi = x.maps[str(term.map)] if row.map else 1.0
    parts = [each for each in (weight, factor, phi, log) if isinstance(each, Tensor)]
    return reduce(mul, parts) if parts else 1.0


def as_term(key: str | Term | tuple[str, float | str | None]) -> Term:
    """A term from itself, its bare name, or its name and its exponent or map."""
    whole = Term(key) if isinstance(key, str) else Term(*key)
    second = whole.exponent
    return Term(whole.name, None, second) if isinstance(second, str) else whole


def as_terms(terms: Sequence[str | Term]) -> tuple[Term, ...]:
    """Terms from terms or their bare names, each once, in the order given."""
    return tuple(dict.fromkeys(as_term(term) for term in terms))


def checked(terms: Sequence[str | Term], maps: Sequence[str]) -> tuple[Term, ...]:
    """Terms that can be summed, each once, in the order given.

    Args:
        terms: or their bare names.
        maps: names of the maps that there are.

    Raises:
        ValueError: one that does not exist, or without the exponent or map that it takes.
    """
    whole = as_terms(terms)
    for term in whole:
        if term.name not in TERMS:
            raise ValueError(f"terms: expected some of {list(TERMS)}, got {term.name}")
        row = TERMS[term.name]
        # no union of types: the compiler of torch 2.8 cannot make one
        if row.exponent and not isinstance(term.exponent, (float, int)):
            raise ValueError(f"{term.name}: expected a number as parameter, got {term.key!r}")
        if row.map and term.map not in maps:
            raise ValueError(
                f"maps: expected {term.key!r}, which {term.name} names, got {list(maps)}"
            )
    return whole
