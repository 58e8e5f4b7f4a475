"""The triton backend: launches the kernels of class sums for a request, with a head or without."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medloss.sums.gpu import head as heads
from medloss.sums.gpu.head import Head
from medloss.sums.gpu.kernels import class_sums_kernel, class_sums_slopes_kernel
from medloss.sums.gpu.residence import processors, resident, spread, stages_that_fit
from medloss.sums.gpu.tiles import AS_MANY, Load, Tile, chosen_tile
from medloss.sums.request import SumsRequest, gradient_like
from medloss.sums.terms import TERMS, Summand

FUSED: dict[str, Any] = {"enable_fp_fusion": True}
"""A product and a sum in one rounding, which newer versions of triton do not take for granted."""


def sums(request: SumsRequest, head: Head | None = None) -> Tensor:
    """Sums of shape (B, K, C) in ``request.work_dtype``.

    Args:
        request: with a head the input is there in shape only.
        head: what makes the logits.
    """
    # a fixed order, where atomic additions would have none
    return parts_of(request, head).sum(1).to(request.work_dtype)


def parts_of(request: SumsRequest, head: Head | None = None) -> Tensor:
    """The sums that each program finds, (B, programs, K, C), float64."""
    plan = LaunchPlan(request, head, gradient=False)

    def launch(tile: Tile) -> Tensor:
        choices = {
            **plan.choices, "FOLD": plan.fold(tile),
            "DOUBLE": request.work_dtype == torch.float64, **tile.choices, **FUSED,
        }  # fmt: skip
        # float64, as torch would copy it to be that
        of_none = plan.x.new_empty(0, dtype=torch.float64)
        given = *plan.read, of_none, plan.voxels, 1
        choices |= plan.stages(class_sums_kernel, given, choices)
        programs = plan.programs(tile, class_sums_kernel, given, choices)
        partial = of_none.new_empty((plan.batch, programs, len(request.terms), plan.classes))
        class_sums_kernel[(plan.batch * programs,)](
            *plan.read, partial, plan.voxels, programs, **choices
        )
        return partial

    with on_device_of(plan.x):
        return launch(plan.tile(launch))


def slopes(request: SumsRequest, gradient: Tensor) -> Tensor:
    """Gradient by the input for a gradient (B, K, C) of the sums."""
    return _slopes(request, gradient, None)[0]


def slopes_of_head(
    request: SumsRequest, gradient: Tensor, head: Head
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by features, weight and bias for a gradient (B, K, C) of the sums."""
    out, partial = _slopes(request, gradient, head)
    if partial is None:
        nothing = torch.zeros_like(head.weight)
        return out, nothing, nothing[:, 0]
    by_head = partial.sum(0).float()
    return out, by_head[:, :-1], by_head[:, -1]


def _slopes(
    request: SumsRequest, gradient: Tensor, head: Head | None
) -> tuple[Tensor, Tensor | None]:
    """By what is read, and what each program finds by a head, (programs, classes, F + 1)."""
    plan = LaunchPlan(request, head, gradient=True)
    out = gradient_like(plan.x)
    if not plan.terms:
        return out.zero_(), None
    written = seen(out.flatten(2))
    of_sums = gradient.detach().to(request.work_dtype).contiguous()

    def launch(tile: Tile) -> Tensor | None:
        choices = {
            **plan.choices, "LOG_P": plan.has_log_p, "SUMS": len(request.terms), **tile.choices,
            **FUSED,
        }  # fmt: skip
        by_head = None if head is None else head.weight.new_empty(0, dtype=torch.float64)
        given = *plan.read, of_sums, written, by_head, plan.voxels, 1
        choices |= plan.stages(class_sums_slopes_kernel, given, choices)
        programs = plan.programs(tile, class_sums_slopes_kernel, given, choices)
        if head is not None:
            shape = (plan.batch * programs, plan.classes, head.weight.shape[1] + 1)
            by_head = head.weight.new_empty(shape, dtype=torch.float64)
        class_sums_slopes_kernel[(plan.batch * programs,)](
            *plan.read, of_sums, written, by_head, plan.voxels, programs, **choices
        )
        return by_head

    with on_device_of(plan.x):
        return out, launch(plan.tile(launch))


class Placed(NamedTuple):
    """A term as the kernels are compiled for it."""

    row: Summand
    exponent: float
    map_at: int
    """Number of its map, or -1."""
    place: int
    """Position among the sums."""


class LaunchPlan:
    """What the kernels need, apart from the tile.

    Args:
        request: what to sum.
        head: what makes the logits, if they are not there.
        gradient: whether for the gradient, to which some terms do not add.
    """

    def __init__(
        self, request: SumsRequest, head: Head | None = None, *, gradient: bool = False
    ) -> None:
        flat = request.flat()
        self.batch, self.classes, self.voxels = flat.input.shape
        self.head = head
        self.x = request.input if head is None else head.features
        softmax = flat.activation == "softmax"
        trues: list[Placed] = []
        others: list[Placed] = []
        for at, term in enumerate(flat.terms):
            row = TERMS[term.name]
            if gradient and row.constant:
                continue
            map_at = -1 if term.map is None else int(term.map)
            placed = Placed(row, float(term.exponent or 0), map_at, at)
            own = softmax and flat.is_index and row.of_true_class
            (trues if own else others).append(placed)
        self.terms = (*trues, *others)
        self.read = (
            seen(self.x.detach().flatten(2)),
            None if head is None else (head.weight, head.bias),
            seen(flat.target),
            None if flat.mask is None else seen(flat.mask),
            tuple(map(seen, flat.maps)),
        )
        self.has_log_p = any(term.row.log == "p" for term in others)
        has_log_q = any(term.row.log == "q" for term in others)
        self.choices: dict[str, Any] = {
            # flat tuples: not every triton compiles a tuple of tuples
            "WEIGHTS": tuple(term.row.weight for term in self.terms),
            "FACTORS": tuple(term.row.factor for term in self.terms),
            "LOGS": tuple(term.row.log for term in self.terms),
            "EXPONENTS": tuple(term.exponent for term in self.terms),
            "MAPS": tuple(term.map_at for term in self.terms),
            "PLACES": tuple(term.place for term in self.terms),
            "TRUES": len(trues),
            "LOG_Q": has_log_q,
            "ACTIVATION": flat.activation,
            "INDEX": flat.is_index,
            "FEATURES": 1 if head is None else head.weight.shape[1],
            "PADDED": 0 if head is None else head.padded,
            "CLASSES": self.classes,
        }
        self.key = (gradient, flat.input.dtype, flat.mask is None, *self.choices.values())
        # values of all classes of a voxel that live at once
        logs = self.has_log_p or has_log_q
        tiles = 1 + logs + (not flat.is_index) + len({term.map_at for term in others} - {-1})
        if gradient:
            only_p = all(term.row == Summand(factor="p") for term in others)
            tiles += 1 + (not only_p) + logs + 2 * (has_log_q and softmax)
        self.load = Load(
            self.classes, flat.input.itemsize, 0 if gradient else len(flat.terms), tiles
        )

    def tile(self, launch: Callable[[Tile], object]) -> Tile:
        """Which to take."""
        return heads.TILE if self.head else chosen_tile(self.load, self.key, launch)

    def fold(self, tile: Tile) -> int:
        """Neighbouring voxels that lie in one thread."""
        return heads.FOLD if self.head else self.load.fold(tile)

    def stages(
        self, kernel: Any, given: tuple[Any, ...], choices: dict[str, Any]
    ) -> dict[str, int]:
        """Of the loads of a head, whose tiles are shared; other kernels share next to nothing."""
        if self.head is None:
            return {}
        return {"num_stages": stages_that_fit(kernel, given, choices, self.x.device)}

    def programs(
        self, tile: Tile, kernel: Any, given: tuple[Any, ...], choices: dict[str, Any]
    ) -> int:
        """How many for each sample, of a kernel with its arguments and what it is compiled for."""
        tiles, each, device = -(-self.voxels // tile.voxels), tile.programs, self.x.device
        if not each:
            return tiles
        if each == AS_MANY:
            each = resident(kernel, given, choices, device)
        return spread(tiles, each * processors(device) // self.batch)


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
