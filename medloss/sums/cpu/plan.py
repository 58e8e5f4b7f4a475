"""A request in the numbers that the kernels take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from medloss.runtime.memory import Scratch, scratch
from medloss.sums.cpu import exclusive, independent, tiles
from medloss.sums.cpu.terms import CODES, CONSTANT, MAPPED_OF_TRUE_CLASS, NEEDS, OF_TRUE_CLASS
from medloss.sums.cpu.views import index, stored, view
from medloss.sums.request import Request
from medloss.sums.terms import WITH_EXPONENT, WITH_MAP, Term

TILE = 1 << 17
"""Elements of one tile: scratch and what streams past it stay in the second-level cache."""
LONGEST, SHORTEST = 4096, 64
"""Voxels of a tile: long runs of memory for few classes, loops worth starting for many."""
BLOCK = 1 << 18
"""Elements of a block: enough that the interpreter between blocks does not count."""

Placed = tuple[int, Term]


class Plan:
    """What the kernels need, apart from which block they work on.

    Args:
        flat: a request with one axis of voxels.
        gradient: whether for the gradient, to which some terms do not add.
    """

    def __init__(self, flat: Request, *, gradient: bool) -> None:
        self.batch, self.classes, self.voxels = flat.input.shape
        self.softmax = flat.activation == "softmax"
        self.dtype = np.float64 if flat.input.itemsize == 8 else np.float32
        self.v_at = -1
        self.arguments: tuple[Any, ...] = ()
        placed = []
        for at, term in enumerate(flat.terms):
            if term.name == "v":
                self.v_at = at
            elif not (gradient and term.name in CONSTANT):
                placed.append((at, term))
        # A stand-in of the same type, so that kernels are not compiled for its absence too.
        none = np.zeros((0, 0), self.dtype)
        self.read = (
            stored(flat.input, self.dtype),
            (index if flat.is_index else stored)(flat.target, self.dtype),
            flat.is_index,
            none if flat.mask is None else view(flat.mask[:, 0].to(flat.work_dtype).contiguous()),
            tuple(stored(each.contiguous(), self.dtype) for each in flat.maps) or None,
        )
        if self.softmax:
            self._exclusive(placed, flat.is_index, gradient)
        else:
            self._independent(placed, flat.activation == "sigmoid")
        size = max(TILE // ((self.classes + 1) * max(self.tiles, 1)), SHORTEST)
        self.size = min(1 << (size.bit_length() - 1), LONGEST) if self.tiles else LONGEST

    def _exclusive(self, placed: list[Placed], is_index: bool, gradient: bool) -> None:
        of_true = {**OF_TRUE_CLASS, **MAPPED_OF_TRUE_CLASS} if is_index else {}
        p_at = [at for at, term in placed if term.name == "p"]
        trues = [(at, term) for at, term in placed if term.name in of_true]
        others = [(at, term) for at, term in placed if term.name not in (*of_true, "p")]
        mapped: list[Placed] = []
        if all(term.name == "map" for _, term in others):
            mapped, others = others, mapped
        needs = self._needs(others)
        if any("l" in NEEDS.get(term.name, "") for _, term in trues):
            needs |= tiles.NEED_TRUE_L
        self.arguments = (
            *self._table(trues, of_true),
            *(self._table(others) if others else (None, None)),
            self._table(mapped)[0] if self.read[-1] else None,
            p_at[0] if p_at else -1,
            self.v_at,
            needs,
        )
        # The gradient keeps ∂/∂log p of every class where the logits were.
        self.tiles = 2 if needs & (tiles.NEED_L | tiles.NEED_M) or (gradient and others) else 1
        self.rows = exclusive.ROWS

    def _independent(self, placed: list[Placed], logits: bool) -> None:
        self.arguments = (*self._table(placed), self.v_at, self._needs(placed), logits)
        self.tiles, self.rows = 0, independent.ROWS

    def _table(
        self, placed: list[Placed], means: Mapping[str, str] | None = None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
        """Rows of code, position and map, and exponents; ``means``: terms that stand for others.

        What is ``None`` for want of such terms is left out of the kernel that is compiled.
        """
        rows = np.full((len(placed), 3), -1, np.int32)
        gammas = np.zeros(len(placed), self.dtype)
        for row, (at, term) in enumerate(placed):
            rows[row, :2] = CODES[(means or {}).get(term.name, term.name)], at
            if term.name in WITH_MAP:
                rows[row, 2] = int(term.parameter or 0)
            else:
                gammas[row] = term.parameter or 0
        some = any(term.name in WITH_EXPONENT for _, term in placed)
        return rows, gammas if some else None

    @staticmethod
    def _needs(placed: list[Placed]) -> int:
        bits = {"q": tiles.NEED_Q, "l": tiles.NEED_L, "m": tiles.NEED_Q | tiles.NEED_M}
        needs = 0
        for _, term in placed:
            for row in NEEDS.get(term.name, ""):
                needs |= bits.get(row, 0)
        return needs

    def blocks(self) -> list[tuple[int, int, int]]:
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
