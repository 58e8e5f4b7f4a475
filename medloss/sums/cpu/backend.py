"""The numba backend: runs the kernels over the blocks of a request."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medloss.runtime.memory import use_large_pages
from medloss.runtime.threads import EACH, Scratch, run, scratch
from medloss.sums.cpu import exclusive, independent, tiles, two_classes
from medloss.sums.cpu.stored import flat, index, stored, view
from medloss.sums.cpu.terms import CODES
from medloss.sums.request import SumsRequest, gradient_like
from medloss.sums.terms import TERMS, Summand, Term
from medloss.sums.voxels import Activation

T = TypeVar("T")
Placed = tuple[int, Term]
"""A term with its position among the sums."""

TILE = 1 << 17
"""Elements of one tile: scratch and what streams past it stay in the second-level cache."""
LONGEST, SHORTEST = 4096, 64
"""Voxels of a tile: long runs of memory for few classes, loops worth starting for many."""
BLOCK = 1 << 18
"""Elements of a block: enough that the interpreter between blocks does not count."""
NAMES = {row: name for name, row in TERMS.items()}


def sums(request: SumsRequest) -> Tensor:
    """Sums of shape (B, K, C) in ``request.work_dtype``."""
    return torch.from_numpy(totals(request)).to(request.work_dtype)


def totals(request: SumsRequest) -> npt.NDArray[np.float64]:
    """Sums of shape (B, K, C) as they were added up, before they are rounded."""
    plan, read = planned(request, gradient=False)
    parts, _ = plan.add_up(read)
    # in the order of the blocks, so that the number of threads changes nothing
    if len(parts) > plan.batch:
        parts = parts.reshape(plan.batch, -1, *parts.shape[1:]).sum(1)
    whole = parts[:, :, : plan.classes]
    if plan.v_at >= 0:  # the same for every class, summed once
        whole[:, plan.v_at] = whole[:, plan.v_at, :1]
    return whole


def slopes(request: SumsRequest, gradient: Tensor) -> Tensor:
    """Gradient by the input for a gradient (B, K, C) of the sums."""
    plan, read = planned(request, gradient=True)
    # a gradient of 0 for labels that are no class
    g = np.zeros((plan.batch, plan.terms, plan.classes + 1), plan.dtype)
    g[:, :, : plan.classes] = gradient.detach().numpy()
    out = gradient_like(request.input)
    plan.write(read, g, out)
    return out


def planned(request: SumsRequest, *, gradient: bool) -> tuple[LoopPlan, tuple[Any, ...]]:
    """What the kernels need: the plan, and what they read of the tensors."""
    given = request.flat()
    dtype = np.float64 if given.input.itemsize == 8 else np.float32
    plan = loop_plan(
        given.terms,
        given.activation,
        given.input.shape,
        dtype,
        given.is_index,
        bool(given.maps),
        gradient,
    )
    read = (
        stored(given.input, dtype),
        (index if given.is_index else stored)(given.target, dtype),
        given.is_index,
        plan.none
        if given.mask is None
        else view(given.mask[:, 0].to(given.work_dtype).contiguous()),
        tuple(stored(each.contiguous(), dtype) for each in given.maps) or None,
    )
    return plan, read


class LoopPlan:
    """What the kernels need, apart from the tensors and which block they work on.

    Args:
        terms: of a request.
        activation: likewise.
        shape: of its input, with one axis of voxels.
        dtype: what is computed in.
        is_index: whether the target holds class indices.
        has_maps: whether there are maps.
        gradient: whether for the gradient, to which some terms do not add.
    """

    def __init__(
        self,
        terms: tuple[Term, ...],
        activation: Activation,
        shape: tuple[int, ...],
        dtype: type[np.floating[Any]],
        is_index: bool,
        has_maps: bool,
        gradient: bool,
    ) -> None:
        self.batch, self.classes, self.voxels = shape
        self.elements = self.batch * self.classes * self.voxels
        self.terms = len(terms)
        self.dtype, self.has_maps = dtype, has_maps
        self.value_dtype = torch.float64 if dtype is np.float64 else torch.float32
        self.v_at = -1
        self.arguments: tuple[Any, ...] = ()
        placed = []
        for at, term in enumerate(terms):
            if term.name == "v":
                self.v_at = at
            elif not (gradient and TERMS[term.name].constant):
                placed.append((at, term))
        # A stand-in of the same type, so that kernels are not compiled for its absence too.
        self.none = np.zeros((0, 0), dtype)
        self.loops: Any = independent
        longest = LONGEST
        if activation != "softmax":
            self._independent(placed, activation == "sigmoid")
        elif self.classes == 2 and is_index and _of_two_classes(placed):
            self._two_classes(placed, gradient)
            longest = two_classes.LONGEST
        else:
            self._exclusive(placed, is_index, gradient)
        size = max(TILE // ((self.classes + 1) * max(self.tiles, 1)), SHORTEST)
        self.size = min(1 << (size.bit_length() - 1), longest) if self.tiles else longest
        self.blocks = self._blocks()

    def read(self, input: Tensor, target: Tensor) -> tuple[Any, ...]:
        """What the kernels read of contiguous tensors, without mask and maps."""
        is_index = target.shape[1] != self.classes
        x = flat(input, self.dtype)
        return x, flat(target, self.dtype), is_index, self.none, None

    def add_up(self, read: tuple[Any, ...]) -> tuple[npt.NDArray[np.float64], bool]:
        """Sums of each block, (blocks, K, C + 1), and whether a label is no class."""
        parts = np.zeros((len(self.blocks), self.terms, self.classes + 1))

        def work(first: int, last: int) -> bool:
            own = self.scratch()
            strange: bool = self.loops.sums(
                *read, *self.arguments, self.blocks, first, last,
                *own.tiles, *own.rows_and_labels, own.bins, parts,
            )  # fmt: skip
            return strange

        return parts, any(self._run(work))

    def write(self, read: tuple[Any, ...], gradient: npt.NDArray[Any], out: Tensor) -> None:
        """Into ``out`` the gradient by the input, for one (B, K, C + 1) of the sums."""
        if self.elements > EACH:
            use_large_pages(out)
        written = stored(out.flatten(2), self.dtype)

        def work(first: int, last: int) -> None:
            own = self.scratch()
            self.loops.slopes(
                *read, *self.arguments, self.blocks, first, last,
                *own.tiles, *own.rows_and_labels, gradient, written,
            )  # fmt: skip

        self._run(work)

    def _run(self, work: Callable[[int, int], T]) -> list[T]:
        """Over all blocks, many small ones at once: the interpreter between them must not count."""
        number = len(self.blocks)
        if self.elements < 2 * EACH:
            return [work(0, number)]
        step = max(1, number * BLOCK // self.elements)
        return run(
            -(-number // step),
            lambda task: work(task * step, min((task + 1) * step, number)),
            self.elements,
        )

    def _exclusive(self, placed: list[Placed], is_index: bool, gradient: bool) -> None:
        own = {at: linear_in_y(term.name) if is_index else None for at, term in placed}
        p_at = [at for at, term in placed if term.name == "p"]
        trues = [(at, Term(name, *term[1:])) for at, term in placed if (name := own[at])]
        others = [(at, term) for at, term in placed if own[at] is None and term.name != "p"]
        mapped: list[Placed] = []
        if all(term.name == "map" for _, term in others):
            mapped, others = others, mapped
        needs = _needs(others)
        if _needs(trues) & tiles.NEED_L:
            needs |= tiles.NEED_TRUE_L
        self.arguments = (
            *self._table(trues),
            *(self._table(others) if others else (None, None)),
            self._table(mapped)[0] if self.has_maps else None,
            p_at[0] if p_at else -1,
            self.v_at,
            needs,
        )
        # The gradient keeps ∂/∂log p of every class where the logits were.
        self.tiles = 2 if needs & (tiles.NEED_L | tiles.NEED_M) or (gradient and others) else 1
        self.rows, self.loops = exclusive.ROWS, exclusive

    def _two_classes(self, placed: list[Placed], gradient: bool) -> None:
        at = {term.name: at for at, term in placed}
        trues = [
            (at, Term(name, *term[1:])) for at, term in placed if (name := linear_in_y(term.name))
        ]
        needs = 0
        for row in (TERMS[term.name] for _, term in trues):
            if row.log:  # which is in the derivative of a product alone
                needs |= tiles.NEED_Q
                needs |= 0 if gradient and row.factor == "1" else tiles.NEED_TRUE_L
        self.arguments = (*self._table(trues), at.get("p", -1), at.get("pp", -1), self.v_at, needs)
        self.tiles, self.rows, self.loops = 0, two_classes.ROWS, two_classes

    def _independent(self, placed: list[Placed], logits: bool) -> None:
        self.arguments = (*self._table(placed), self.v_at, _needs(placed), logits)
        self.tiles, self.rows = 0, independent.ROWS

    def _table(self, placed: list[Placed]) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
        """Rows of code, position and map, and exponents.

        What is ``None`` for want of such terms is left out of the kernel that is compiled.
        """
        codes = [CODES[term.name] for _, term in placed]
        maps = [-1 if term.map is None else int(term.map) for _, term in placed]
        rows = np.array([codes, [at for at, _ in placed], maps], np.int32).T.copy()
        gammas = np.array([term.exponent or 0 for _, term in placed], self.dtype)
        some = any(TERMS[term.name].exponent for _, term in placed)
        return rows, gammas if some else None

    def _blocks(self) -> npt.NDArray[np.int64]:
        """Sample, first voxel and the one after the last; the same whatever runs them."""
        step = self.size * max(1, BLOCK // (self.size * self.classes))
        blocks = [
            (b, begin, min(begin + step, self.voxels))
            for b in range(self.batch)
            for begin in range(0, self.voxels, step)
        ]
        return np.array(blocks, np.int64).reshape(-1, 3)

    def scratch(self) -> Scratch:
        """For the calling thread."""
        return scratch(self.classes, self.size, self.tiles, self.rows, self.dtype)


loop_plan = lru_cache(maxsize=128)(LoopPlan)
"""Kept: the inputs of a training have few shapes."""


@cache
def linear_in_y(name: str) -> str | None:
    """The term that stands for one of the true class, if that takes the voxel's weight as y.

    A map, or y beside itself, is such a weight.

    Example:
        >>> linear_in_y("tt"), linear_in_y("tp_map"), linear_in_y("sqt")
        ('t', 'tp', None)
    """
    row = TERMS[name]
    return NAMES.get(Summand("y", row.factor, row.log)) if row.of_true_class else None


def _of_two_classes(placed: list[Placed]) -> bool:
    """Whether the kernels for two classes know all of these terms, of labels."""
    names = (term.name for _, term in placed)
    return all(name in ("p", "pp") or (linear_in_y(name) and not TERMS[name].map) for name in names)


def _needs(placed: list[Placed]) -> int:
    """Rows beyond p, y and map from which terms and their derivatives are made, as bits."""
    needs = 0
    for row in (TERMS[term.name] for _, term in placed):
        if "q" in row.factor:
            needs |= tiles.NEED_Q
        if row.log == "p":
            needs |= tiles.NEED_L
        if row.log == "q":
            needs |= tiles.NEED_Q | tiles.NEED_M
    return needs
