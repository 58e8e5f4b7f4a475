"""Ratios of linear forms of class sums: value and gradient in closed form.

Of a small input the algebra on the sums (B, C) takes most of the time of a call, where autograd
does it operation by operation and back again. A loss that says which ratio it is saves that; its
formula stays the truth, and is taken for every other derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medloss.runtime.eager import evaluate, is_recorded, is_transformed, without_autocast
from medloss.sums.choice import NUMBA, TRITON
from medloss.sums.engine import Form, form_of
from medloss.sums.results import ClassSums
from medloss.sums.terms import Term, as_term
from medloss.sums.voxels import Activation, work_dtype

Array = npt.NDArray[np.float64]
Linear = tuple[tuple[str | Term, float], ...]
"""Terms and their factors."""
Formula = Callable[..., Tensor]
"""Of class sums, and of the input, target and mask that they are of: the same number in torch."""


class Ratio(NamedTuple):
    """A loss as data.

    Args:
        above: the linear form on top.
        below: the one that it is divided by; without ``smooth`` one of terms without a gradient.
        smooth: what is added to each, where the loss is the mean over samples and classes of
            1 − above / below; None where it is Σ above / Σ below over samples and classes.
        first: the first class that counts.
        batch: whether the sums of samples are added up first.
    """

    above: Linear
    below: Linear
    smooth: tuple[float, float] | None = None
    first: int = 0
    batch: bool = False


class RatioValue(NamedTuple):
    """What a ratio is.

    Args:
        value: as a loss.
        each: 1 − above / below, or above, of each sample and class that counts.
        counts: None, or below likewise.
    """

    value: float | Tensor
    each: Array | Tensor
    counts: Array | Tensor | None


class RatioSum:
    """A weighted sum of ratios, as :func:`medloss.runtime.eager.evaluate` takes it.

    Args:
        form: of the sums.
        terms: of the form, by their names.
        parts: weights and ratios.
        formula: the same.
    """

    differentiable: ClassVar[int] = 1
    sums: Array
    """(B, K, C), of the last value, as is what follows."""
    found: list[RatioValue]
    by_sums: Array

    def __init__(
        self,
        form: Form,
        terms: tuple[Term, ...],
        parts: Sequence[tuple[float, Ratio]],
        formula: Formula,
    ) -> None:
        self.form, self.terms, self.parts, self.formula = form, terms, parts, formula

    def value(self, *tensors: Any) -> Tensor:
        """The loss."""
        from medloss.sums.cpu.backend import totals  # compiled loops, imported where they run

        self.sums = totals(self.form.request(*tensors))
        self.by_sums = np.zeros_like(self.sums)
        with np.errstate(all="ignore"):  # what is not finite shows in the loss
            self.found = [
                _evaluated(ratio, weight, self.terms, self.sums, self.by_sums)
                for weight, ratio in self.parts
            ]
        total = sum(w * each.value for (w, _), each in zip(self.parts, self.found, strict=True))
        return torch.tensor(total, dtype=work_dtype(tensors[0]))

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by the input."""
        return self.form.slopes(torch.from_numpy(self.by_sums * gradient.item()), *tensors)

    def plain(self, *tensors: Any) -> Tensor:
        """By the formula, of sums in plain torch."""
        sums = self.form.plain(*tensors)
        return self.formula(ClassSums(sums.unbind(1), self.terms), *tensors)

    def recorded(self, *tensors: Any) -> Tensor:
        """By the formula, of sums as an operator."""
        sums = self.form.recorded(*tensors)
        return self.formula(ClassSums(sums.unbind(1), self.terms), *tensors)


class RatioSumOnDevice(RatioSum):
    """The same in two launches of triton's kernels, and two for the gradient."""

    on_device: Tensor
    """The gradient by the sums."""

    def value(self, *tensors: Any) -> Tensor:
        """The loss."""
        from medloss.sums.gpu.ratios import evaluated

        with without_autocast(tensors[0].device.type):
            done = evaluated(self.form.request(*tensors), self.terms, self.parts)
        self.found = [RatioValue(*each) for each in done.found]
        self.on_device = done.by_sums
        return done.value

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by the input."""
        return self.form.slopes(self.on_device * gradient, *tensors)


def ratio_sum(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    terms: Sequence[str | Term],
    *,
    activation: Activation,
    parts: Sequence[tuple[float, Ratio]],
    formula: Formula,
) -> tuple[Tensor, RatioSum] | None:
    """A weighted sum of ratios and what it was made of, or None where only the formula can serve.

    Args:
        input: as for :func:`medloss.sums.class_sums`, like target, mask, terms and activation.
        target: likewise.
        mask: likewise.
        terms: all that the ratios are of, or more.
        activation: likewise.
        parts: weights and ratios.
        formula: the same in torch; it holds no tensor, so that none outlives its graph.
    """
    tensors = input, target, mask
    if is_transformed(*tensors) or is_recorded(*tensors):
        return None
    form, named = form_of(input, target, terms, activation, mask, {})
    kind = _kind(form.backend, input)
    if kind is None:
        return None
    whole = kind(form, named, parts, formula)
    return evaluate(whole, *tensors), whole


def _kind(backend: str, input: Tensor) -> type[RatioSum] | None:
    if backend == TRITON:
        from medloss.sums.gpu.ratios import serves

        return RatioSumOnDevice if serves(input) else None
    return RatioSum if backend == NUMBA else None


def _evaluated(
    ratio: Ratio, weight: float, terms: tuple[Term, ...], sums: Array, by_sums: Array
) -> RatioValue:
    """The value of a ratio; its weighted slope is added to ``by_sums``."""
    (at, above), (at_below, below) = _rows(ratio.above, terms), _rows(ratio.below, terms)
    counted, slopes = sums, by_sums
    if ratio.first:  # a NaN of the background stays
        counted = sums[:, :, 1:] + np.clip(sums[:, :, :1], 0, 0)
        slopes = by_sums[:, :, 1:]
    if ratio.batch:
        counted = counted.sum(0, keepdims=True)
    top, bottom = above @ counted[:, at], below @ counted[:, at_below]
    if ratio.smooth is None:
        total, whole = top.sum(), bottom.sum()
        if whole == 0 and total == total:
            return RatioValue(0.0, top, bottom)
        slopes[:, at] += (weight / whole * above)[:, None]
        return RatioValue(float(total / whole), top, bottom)
    bottom += ratio.smooth[1]
    found = (top + ratio.smooth[0]) / bottom
    each = (weight / found.size) / bottom
    slopes[:, at] -= above[:, None] * each[:, None]
    slopes[:, at_below] += below[:, None] * (found * each)[:, None]
    found = 1 - found
    return RatioValue(float(found.mean()), found, None)


@lru_cache(maxsize=256)
def _rows(linear: Linear, terms: tuple[Term, ...]) -> tuple[npt.NDArray[np.intp], Array]:
    """Where its terms are, each once, and their factors: 0 times a NaN of others is none."""
    row: dict[int, float] = {}
    for key, factor in linear:
        at = terms.index(as_term(key))
        row[at] = row.get(at, 0.0) + factor
    return np.array(list(row), np.intp), np.array(list(row.values()), np.float64)
