"""A request as the kernels take it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.sums.gpu.tiles import Load, Tile
from medloss.sums.request import Request
from medloss.sums.terms import WITH_MAP

OF_TRUE_CLASS = ("t", "tp", "tt", "ce", "focal", "tp_map", "t_map")
"""Terms that with class indices only the true class of a voxel adds to."""
CONSTANT = ("v", "t", "tt", "t_map")
"""Terms without the probability: no gradient."""
OF_LOG_P = ("ce", "nlog", "focal")
OF_LOG_Q = ("ce_neg", "focal_neg")
"""Terms with the logarithm of p, and of 1 - p."""


class Placed(NamedTuple):
    """A term as the kernels are compiled for it."""

    name: str
    exponent: float
    map_at: int
    """Number of its map, or -1."""
    place: int
    """Position among the sums."""


class Plan:
    """What the kernels need, apart from the tile.

    Args:
        request: what to sum.
        gradient: whether for the gradient, to which some terms do not add.
    """

    def __init__(self, request: Request, *, gradient: bool) -> None:
        flat = request.flat()
        self.batch, self.classes, self.voxels = flat.input.shape
        self.processors = processors(flat.input.device)
        of_true = OF_TRUE_CLASS if flat.activation == "softmax" and flat.is_index else ()
        trues: list[Placed] = []
        others: list[Placed] = []
        for at, (name, parameter) in enumerate(flat.terms):
            if gradient and name in CONSTANT:
                continue
            map_at = int(parameter or 0) if name in WITH_MAP else -1
            exponent = 0.0 if name in WITH_MAP else float(parameter or 0)
            (trues if name in of_true else others).append(Placed(name, exponent, map_at, at))
        self.terms = (*trues, *others)
        self.read = (
            seen(flat.input),
            None,  # no head
            seen(flat.target),
            None if flat.mask is None else seen(flat.mask),
            tuple(map(seen, flat.maps)),
        )
        names = {term.name for term in others}
        self.has_log_p = not names.isdisjoint(OF_LOG_P)
        has_log_q = not names.isdisjoint(OF_LOG_Q)
        self.choices: dict[str, Any] = {
            # flat tuples: not every triton compiles a tuple of tuples
            "NAMES": tuple(term.name for term in self.terms),
            "EXPONENTS": tuple(term.exponent for term in self.terms),
            "MAPS": tuple(term.map_at for term in self.terms),
            "PLACES": tuple(term.place for term in self.terms),
            "TRUES": len(trues),
            "LOG_Q": has_log_q,
            "ACTIVATION": flat.activation,
            "INDEX": flat.is_index,
            "FEATURES": 1,
            "PADDED": 0,  # no head
            "CLASSES": self.classes,
        }
        self.key = (gradient, flat.input.dtype, flat.mask is None, *self.choices.values())
        # values of all classes of a voxel that live at once
        logs = self.has_log_p or has_log_q
        tiles = 1 + logs + (not flat.is_index) + len({term.map_at for term in others} - {-1})
        if gradient:
            shared = has_log_q and flat.activation == "softmax"
            tiles += 1 + (not names <= {"p"}) + logs + 2 * shared
        self.load = Load(
            self.classes, flat.input.itemsize, 0 if gradient else len(flat.terms), tiles
        )

    def programs(self, tile: Tile) -> int:
        """How many for each sample."""
        tiles = -(-self.voxels // tile.voxels)
        if not tile.programs:
            return tiles
        return max(1, min(tiles, tile.programs * self.processors // self.batch))


def seen(tensor: Tensor) -> tuple[Any, ...]:
    """A tensor (B, C, V) as the kernels take it: memory, and strides in elements.

    The stride of an axis of one element, which is never used, is 0: for the compiler, strides that
    are 1, that 16 divides and others are three different kernels.
    """
    stored = tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor
    return stored, *(s * (n > 1) for n, s in zip(stored.shape, stored.stride(), strict=True))


def on_device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Kernels are launched on the current device, which need not be the tensor's."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


@cache
def processors(device: torch.device) -> int:
    """Multiprocessors; two stand for the interpreter's, so that there is something to add."""
    if device.type != "cuda":
        return 2
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count
