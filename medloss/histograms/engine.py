"""Error histograms as operators of torch, computed by what suits the input."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from medloss.histograms import plain
from medloss.histograms.cells import check_bins, spread_nan
from medloss.sums import Activation, chosen_backend
from medloss.sums.request import gradient_like

FUSED = {"numba": "medloss.histograms.compiled", "triton": "medloss.histograms.gpu"}
"""By backend of the class sums, the module that has this in one pass; else it is plain torch."""


def error_histograms(
    input: Tensor,
    target: Tensor,
    *,
    activation: Activation,
    mask: Tensor | None = None,
    bins: int = 1024,
) -> Tensor:
    """Soft histograms of e = |p − y|, for each sample and class, foreground apart from background.

    Each voxel counts for both edges of the cell of its error, by its distance from them, and with
    its weight: as foreground by y, as background by 1 − y. Histograms are additive over samples,
    patches and ranks. The gradient is by ``input``. A NaN in a voxel that counts makes both
    histograms of its sample and class NaN.

    Args:
        input: (B, C, *spatial), logits, or probabilities where ``activation`` says so.
        target: (B, 1, *spatial) class indices or (B, C, *spatial) one-hot, multi-label or soft.
        activation: how ``input`` becomes probabilities.
        mask: (B, 1, *spatial), weight of each voxel; 0 ignores it.
        bins: number of cells, even.

    Returns:
        (B, C, 2, bins + 1) in float64, foreground first.

    Raises:
        ValueError: ``bins`` is not even, shapes that do not fit, or ``MEDLOSS_BACKEND`` names a
            backend that cannot serve this input.

    Example:
        >>> p = torch.tensor([[[[0.5, 0.125]]]])
        >>> y = torch.tensor([[[[1, 0]]]])
        >>> error_histograms(p, y, activation="probabilities", bins=4)[0, 0].tolist()
        [[0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]]
    """
    check_bins(bins)
    one, whole = [input.shape[0], 1, *input.shape[2:]], list(input.shape)
    if list(target.shape) not in (one, whole):
        raise ValueError(f"target: expected {one} or {whole}, got {list(target.shape)}")
    if mask is not None and list(mask.shape) != one:
        raise ValueError(f"mask: expected {one}, got {list(mask.shape)}")
    module = FUSED.get(chosen_backend(input, (target, mask)).name)
    if module is None:
        return plain.histograms(input, target, mask, activation, bins)
    found: Tensor = _histograms(input, target, mask, activation, bins, module)
    return found


def _count(
    input: Tensor, target: Tensor, mask: Tensor | None, activation: str, bins: int, module: str
) -> Tensor:
    flat = _flat(input, target, mask)
    return spread_nan(import_module(module).histograms(*flat, activation, bins))


def _slope(
    gradient: Tensor, input: Tensor, target: Tensor, mask: Tensor | None, *rest: Any
) -> Tensor:
    activation, _, module = rest
    out = gradient_like(input)
    slopes = plain.table(gradient)
    import_module(module).slopes(*_flat(input, target, mask), activation, slopes, out)
    return out


def _flat(input: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor | None, ...]:
    """With one axis of voxels."""
    return tuple(None if t is None else t.detach().flatten(2) for t in (input, target, mask))


ARGUMENTS = "Tensor input, Tensor target, Tensor? mask, str activation, int bins, str module"
_histograms = torch.library.custom_op(
    "medloss::error_histograms", _count, mutates_args=(), schema=f"({ARGUMENTS}) -> Tensor"
)
_slopes = torch.library.custom_op(
    "medloss::error_histograms_slopes",
    _slope,
    mutates_args=(),
    schema=f"(Tensor gradient, {ARGUMENTS}) -> Tensor",
)


def _fake_count(
    input: Tensor, target: Any, mask: Any, activation: str, bins: int, _: Any
) -> Tensor:
    return input.new_empty((*input.shape[:2], 2, bins + 1), dtype=torch.float64)


def _fake_slope(gradient: Tensor, input: Tensor, *_: Any) -> Tensor:
    return gradient_like(input)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.options = inputs[3:]


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return _slopes(gradient, *ctx.saved_tensors, *ctx.options), *[None] * 5


def _keep_for_second(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.options = inputs[4:]


def _differentiate_twice(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    """Through plain torch."""
    of_counts, input, target, mask = ctx.saved_tensors
    activation, bins, _ = ctx.options
    more = torch.is_grad_enabled()
    with torch.enable_grad():
        of_counts, input = (
            t.view_as(t) if more and t.requires_grad else t.detach().requires_grad_()
            for t in (of_counts, input)
        )
        counts = plain.histograms(input, target, mask, activation, bins)
        (first,) = torch.autograd.grad(counts, input, of_counts, create_graph=True)
        second = torch.autograd.grad(
            first, (of_counts, input), gradient, create_graph=more, allow_unused=True
        )
    return *second, *[None] * 5


_histograms.register_fake(_fake_count)
_histograms.register_autograd(_differentiate, setup_context=_keep)
_slopes.register_fake(_fake_slope)
_slopes.register_autograd(_differentiate_twice, setup_context=_keep_for_second)
