"""Ratios of linear forms of class sums: value and gradient in closed form.

Of a small input the algebra on the sums (B, C) takes most of the time of a call, where autograd
does it operation by operation and back again. A loss that says which ratio it is saves that; its
formula stays the truth, and is taken for every other derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medloss.runtime.eager import without_autocast
from medloss.sums.choice import NUMBA, TRITON
from medloss.sums.engine import Form, form_of
from medloss.sums.request import gradient_like
from medloss.sums.results import ClassSums
from medloss.sums.terms import Term, as_term
from medloss.sums.voxels import Activation

if TYPE_CHECKING:
    from medloss.sums.gpu.ratios import Evaluated

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
        volume_exponent: None, or the classes are first added up in above and below, each weighted
            by (Σ y)^−exponent, those weights scaled to the sum 1.
    """

    above: Linear
    below: Linear
    smooth: tuple[float, float] | None = None
    first: int = 0
    batch: bool = False
    volume_exponent: int | None = None


class WeightedRatios:
    """A weighted sum of ratios, apart from the tensors that it is of and from what evaluates it.

    Args:
        form: of the sums.
        terms: of the form, by their names.
        parts: weights and ratios.
        formula: the same; it holds no tensor, so that none outlives its graph.
        is_index: whether the target holds class indices.
    """

    def __init__(
        self,
        form: Form,
        terms: tuple[Term, ...],
        parts: Sequence[tuple[float, Ratio]],
        formula: Formula,
        *,
        is_index: bool,
    ) -> None:
        self.form, self.terms, self.parts = form, terms, parts
        self.formula, self.is_index = formula, is_index

    def of(self, input: Tensor, target: Tensor, mask: Tensor | None) -> RatioSum:
        """Their value, and how it goes on from the sums."""
        raise NotImplementedError


class RatiosByLoops(WeightedRatios):
    """The same by compiled loops."""

    def __init__(self, *given: Any, is_index: bool) -> None:
        super().__init__(*given, is_index=is_index)
        from medloss.sums.cpu import backend, combining  # compiled loops, imported where they run

        self.backend, self.combine = backend, combining.combine
        kinds, above, below, numbers = [], [], [], []
        for weight, ratio in self.parts:
            kind, exponent = combining.MEAN, ratio.volume_exponent
            if exponent is not None:
                kind = combining.POOLED
            elif ratio.smooth is None:
                kind = combining.TOTAL
            t_at, p_at = (self._at(name) for name in ("t", "p"))
            kinds.append((kind, ratio.first, ratio.batch, exponent or 0, t_at, p_at))
            above.append(self._factors(ratio.above))
            below.append(self._factors(ratio.below))
            numbers.append((weight, *(ratio.smooth or (0.0, 0.0))))
        self.tables = (
            np.array(kinds, np.int64),
            np.array(above, np.float64),
            np.array(below, np.float64),
            np.array(numbers, np.float64),
            self._at("v"),
        )

    def _at(self, name: str) -> int:
        term = Term(name)
        return self.terms.index(term) if term in self.terms else -1

    def _factors(self, linear: Linear) -> list[float]:
        factors = [0.0] * len(self.terms)
        for key, factor in linear:
            factors[self.terms.index(as_term(key))] += factor
        return factors

    def of(self, input: Tensor, target: Tensor, mask: Tensor | None) -> RatioSum:
        """Their value, and how it goes on from the sums."""
        plan, read = self.backend.planned(self.form.request(input, target, mask), gradient=False)
        return self.combined(plan, plan.add_up(read)[0])

    def plans(self, input: Tensor, target: Tensor) -> tuple[Any, Any]:
        """Those of the sums and of the gradient, for tensors of this form without a mask."""
        request = self.form.request(input, target, None)
        of_sums, of_slopes = (
            self.backend.planned(request, gradient=gradient)[0] for gradient in (False, True)
        )
        return of_sums, of_slopes

    def combined(self, plan: Any, parts: Array) -> RatioSumByLoops:
        """Of sums over blocks, as the plan adds them up."""
        batch, terms, classes = plan.batch, plan.terms, plan.classes
        sums, by_sums = np.empty((batch, terms, classes)), np.zeros((batch, terms, classes + 1))
        number = self.combine(parts, *self.tables, sums, by_sums)
        return RatioSumByLoops(self, number, plan.value_dtype, sums, by_sums)


class RatiosOnDevice(WeightedRatios):
    """The same by triton's kernels: two launches, and two for the gradient."""

    def of(self, input: Tensor, target: Tensor, mask: Tensor | None) -> RatioSum:
        """Their value, and how it goes on from the sums."""
        from medloss.sums.gpu.ratios import evaluated

        with without_autocast(input.device.type):
            done = evaluated(self.form.request(input, target, mask), self.terms, self.parts)
        return RatioSumOnDevice(self, done)


class RatioSum:
    """The value of weighted ratios, as :mod:`medloss.runtime.eager` takes it.

    Args:
        ratios: what it is the value of.
        sums: (B, K, C) that it was made of.
    """

    __slots__ = ("ratios", "sums")

    differentiable: ClassVar[int] = 1

    def __init__(self, ratios: WeightedRatios, sums: Array | Tensor) -> None:
        self.ratios, self.sums = ratios, sums

    def value(self, *tensors: Any) -> Tensor:
        """The loss."""
        raise NotImplementedError

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by the input."""
        raise NotImplementedError

    def plain(self, *tensors: Any) -> Tensor:
        """By the formula, of sums in plain torch."""
        return self._by_formula(self.ratios.form.plain, *tensors)

    def recorded(self, *tensors: Any) -> Tensor:
        """By the formula, of sums as an operator."""
        return self._by_formula(self.ratios.form.recorded, *tensors)

    def _by_formula(
        self, sum_up: Callable[..., Tensor], input: Tensor, target: Tensor, mask: Tensor | None
    ) -> Tensor:
        if self.ratios.is_index and target.is_floating_point():  # which the loops alone read
            target = target.long()
        tensors = input, target, mask
        sums = ClassSums(sum_up(*tensors).unbind(1), self.ratios.terms)
        return self.ratios.formula(sums, *tensors)


class RatioSumByLoops(RatioSum):
    """The same by compiled loops.

    Args:
        ratios: what it is the value of.
        number: itself.
        dtype: its own.
        sums: (B, K, C) that it was made of.
        by_sums: (B, K, C + 1), its derivative by the sums; 0 for labels that are no class.
    """

    __slots__ = ("by_sums", "dtype", "loops", "number", "plan")

    def __init__(
        self, ratios: RatiosByLoops, number: float, dtype: torch.dtype, sums: Array, by_sums: Array
    ) -> None:
        super().__init__(ratios, sums)
        self.loops, self.number, self.dtype, self.by_sums = ratios, number, dtype, by_sums
        self.plan: Any = None  # of the gradient, where one is kept

    def value(self, *tensors: Any) -> Tensor:
        """The loss."""
        return torch.tensor(self.number, dtype=self.dtype)

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by the input."""
        plan, input, target = self.plan, tensors[0], tensors[1]
        if plan is not None and input.is_contiguous() and target.is_contiguous():
            read = plan.read(input, target)
            out = torch.empty_like(input)
        else:
            request = self.loops.form.request(*tensors)
            plan, read = self.loops.backend.planned(request, gradient=True)
            out = gradient_like(input)
        with np.errstate(all="ignore"):  # what is not finite shows in the gradient
            by_sums = (self.by_sums * gradient.item()).astype(plan.dtype)
        plan.write(read, by_sums, out)
        return (out,)


class RatioSumOnDevice(RatioSum):
    """The same on a device.

    Args:
        ratios: what it is the value of.
        done: by the kernels.
    """

    __slots__ = ("done",)

    def __init__(self, ratios: RatiosOnDevice, done: Evaluated) -> None:
        super().__init__(ratios, done.sums)
        self.done = done

    def value(self, *tensors: Any) -> Tensor:
        """The loss."""
        return self.done.value

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by the input."""
        return self.ratios.form.slopes(self.done.by_sums * gradient, *tensors)


def weighted_ratios(
    input: Tensor,
    target: Tensor,
    mask: Tensor | None,
    terms: Sequence[str | Term],
    *,
    activation: Activation,
    parts: Sequence[tuple[float, Ratio]],
    formula: Formula,
) -> WeightedRatios | None:
    """A weighted sum of ratios for tensors of some form, None where only the formula can serve.

    Args:
        input: as for :func:`medloss.sums.class_sums`, like target, mask, terms and activation.
        target: likewise.
        mask: likewise.
        terms: all that the ratios are of, or more.
        activation: likewise.
        parts: weights and ratios.
        formula: the same in torch.
    """
    form, named = form_of(input, target, terms, activation, mask, {})
    is_index = target.shape[1] != input.shape[1]
    if form.backend == TRITON:
        from medloss.sums.gpu.ratios import serves

        if serves(input, parts):
            return RatiosOnDevice(form, named, parts, formula, is_index=is_index)
    if form.backend != NUMBA:
        return None
    return RatiosByLoops(form, named, parts, formula, is_index=is_index)
