"""The numba backend: runs the kernels over the blocks of a request."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medloss.runtime.memory import use_large_pages
from medloss.runtime.threads import EACH, Scratch, run, scratch
from medloss.sums.cpu import exclusive, independent, tiles
from medloss.sums.cpu.stored import index, stored, view
from medloss.sums.cpu.terms import CODES
from medloss.sums.request import SumsRequest, gradient_like
from medloss.sums.terms import TERMS, Summand, Term
from medloss.sums.voxels import Activation

Kernel = Callable[..., None]
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
    plan, read = _planned(request, gradient=False)
    blocks = plan.blocks
    parts = np.zeros((len(blocks), len(request.terms), plan.classes + 1))
    kernel: Kernel = exclusive.sums if plan.softmax else independent.sums

    def work(block: int) -> None:
        own = plan.scratch()
        kernel(
            *read, *plan.arguments, *blocks[block], *own.tiles, *own.rows_and_labels,
            own.bins, parts[block],
        )  # fmt: skip

    run(len(blocks), work, request.input.numel())
    # in the order of the blocks, so that the number of threads changes nothing
    if len(blocks) > plan.batch:
        parts = parts.reshape(plan.batch, -1, *parts.shape[1:]).sum(1)
    whole = parts[:, :, : plan.classes]
    if plan.v_at >= 0:  # the same for every class, summed once
        whole[:, plan.v_at] = whole[:, plan.v_at, :1]
    return whole


def slopes(request: SumsRequest, gradient: Tensor) -> Tensor:
    """Gradient by the input for a gradient (B, K, C) of the sums."""
    plan, read = _planned(request, gradient=True)
    out = gradient_like(request.input)
    if request.input.numel() > EACH:
        use_large_pages(out)
    flat = stored(out.flatten(2), plan.dtype)
    blocks = plan.blocks
    # a gradient of 0 for labels that are no class
    g = np.zeros((plan.batch, len(request.terms), plan.classes + 1), plan.dtype)
    g[:, :, : plan.classes] = gradient.detach().numpy()
    kernel: Kernel = exclusive.slopes if plan.softmax else independent.slopes

    def work(block: int) -> None:
        own = plan.scratch()
        kernel(
            *read, *plan.arguments, *blocks[block], *own.tiles, *own.rows_and_labels,
            g[blocks[block][0]], flat,
        )  # fmt: skip

    run(len(blocks), work, request.input.numel())
    return out


def _planned(request: SumsRequest, *, gradient: bool) -> tuple[LoopPlan, tuple[Any, ...]]:
    """What the kernels need: the plan, and what they read of the tensors."""
    flat = request.flat()
    dtype = np.float64 if flat.input.itemsize == 8 else np.float32
    plan = loop_plan(
        flat.terms,
        flat.activation,
        flat.input.shape,
        dtype,
        flat.is_index,
        bool(flat.maps),
        gradient,
    )
    read = (
        stored(flat.input, dtype),
        (index if flat.is_index else stored)(flat.target, dtype),
        flat.is_index,
        plan.none if flat.mask is None else view(flat.mask[:, 0].to(flat.work_dtype).contiguous()),
        tuple(stored(each.contiguous(), dtype) for each in flat.maps) or None,
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
        self.softmax = activation == "softmax"
        self.dtype, self.has_maps = dtype, has_maps
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
        if self.softmax:
            self._exclusive(placed, is_index, gradient)
        else:
            self._independent(placed, activation == "sigmoid")
        size = max(TILE // ((self.classes + 1) * max(self.tiles, 1)), SHORTEST)
        self.size = min(1 << (size.bit_length() - 1), LONGEST) if self.tiles else LONGEST
        self.blocks = self._blocks()

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
        self.rows = exclusive.ROWS

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

    def _blocks(self) -> list[tuple[int, int, int]]:
        """Sample, first voxel and the one after the last; the same whatever runs them."""
        step = self.size * max(1, BLOCK // (self.size * self.classes))
        return [
            (b, begin, min(begin + step, self.voxels))
            for b in range(self.batch)
            for begin in range(0, self.voxels, step)
        ]

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
