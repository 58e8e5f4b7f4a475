"""Deep supervision: one loss at several resolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from medloss.base.kept import KeptForms
from medloss.base.options import check_number, checked
from medloss.base.segmentation import SegmentationLoss
from medloss.base.targets import Target, with_channel
from medloss.compound import TermValue, WeightedSum, build_inner_loss
from medloss.compound.breakdown import LastPass
from medloss.compound.class_values import ClosedPass
from medloss_compound.levels import (
    call,
    joined,
    level_weights,
    named_levels,
    spacing_options,
    target_at,
    term_at_level,
)

MODES = ("exp", "same", "two")


class _Level(NamedTuple):
    """A level of a forward pass: its name and weight, its loss, the value and the terms of that."""

    name: str
    weight: float
    loss: nn.Module
    value: Tensor
    terms: LastPass | ClosedPass | None


class DeepSupervisionLoss(_Loss):
    """Weighted mean of one loss over the outputs of a deeply supervised network.

    Formula:
        L = Σ_k w_k loss(output_k, target_k) / Σ_k w_k over the levels k, with w_k = 1 / 2^k; the
        target of a lower resolution is the nearest voxel of the full one, its spacing scaled.

    Outputs are a list, a tuple, a mapping, or one tensor (B, L, C, *spatial) as DynUNet stacks
    them (in 2D beside labels of one channel), the highest resolution first; a single output
    (B, C, *spatial), as in evaluation, has weight 1. The target is that of the full resolution, a
    tensor or a mapping with ``mask``, ``present`` and so on; or a list with one for each level.
    Labels stay integers. Terms on boundaries, distances and topology count in full resolution
    alone, unless ``boundary_levels`` asks for more. Schedules, and the gradient shares of
    ``breakdown()``, go by the first level.

    Range: that of the loss inside.

    Empty target:
        as the loss inside; an object that no voxel of a lower resolution meets is not in its
        target.

    MONAI differs: its weights are not normalised (``normalize=False`` is that), end at 1/16, and
    are silently others if ``weights`` is too short; integer targets, stacked outputs and mappings
    fail there.

    Args:
        loss: name (``"dice_ce"``), mapping with ``name`` and options, or a loss, of other
            libraries too; nested ``_target_`` in a bundle config.
        weight_mode: ``"exp"``: 1, 1/2, 1/4 and so on; ``"two"``: 1, 1/2, 1/2; ``"same"``: all 1.
        weights: numbers instead, from the highest resolution on, or by name of the output.
        normalize: divide the weights by their sum.
        skip_lowest: the lowest of several resolutions has weight 0, as in nnU-Net.
        boundary_levels: in so many levels terms on boundaries, distances and topology count; None:
            in all.
        options: of the loss, where it is given by name.

    Raises:
        ValueError: options or weights that cannot be meant.
        TypeError: ``loss`` is none.

    Example:
        >>> import torch
        >>> loss = DeepSupervisionLoss("dice_ce", softmax=True)
        >>> outputs = [torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 4)]
        >>> label = torch.zeros(1, 1, 8, 8, dtype=torch.long)
        >>> _ = loss(outputs, label)
        >>> for name, term in loss.breakdown().items():
        ...     print(name, round(term.value, 3), round(term.weight, 3))
        level_0/dice 0.667 0.667
        level_0/cross_entropy 0.693 0.667
        level_1/dice 0.667 0.333
        level_1/cross_entropy 0.693 0.333

    Source:
        Lee 2015, arXiv:1409.5185; Isensee 2018, arXiv:1809.10486 (nnU-Net).
    """

    def __init__(
        self,
        loss: str | Mapping[str, Any] | nn.Module = "dice_ce",
        weight_mode: str = "exp",
        weights: Sequence[float] | Mapping[str, float] | None = None,
        *,
        normalize: bool = True,
        skip_lowest: bool = False,
        boundary_levels: int | None = 1,
        **options: Any,
    ) -> None:
        super().__init__()
        normalize = checked("normalize", normalize, bool)
        skip_lowest = checked("skip_lowest", skip_lowest, bool)
        boundary_levels = checked("boundary_levels", boundary_levels, int | None)
        check_number("boundary_levels", boundary_levels, int | None)
        if weight_mode not in MODES:
            raise ValueError(f"weight_mode: expected one of {MODES}, got {weight_mode!r}")
        if boundary_levels is not None and boundary_levels < 1:
            raise ValueError(
                f"boundary_levels: expected a number from 1 on, or None, got {boundary_levels!r}"
            )
        numbers = weights.values() if isinstance(weights, Mapping) else weights or ()
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError(f"weights: expected finite numbers of at least 0, got {weights!r}")
        self.loss = build_inner_loss(loss, options)
        self.weight_mode = weight_mode
        self.weights = weights
        self.normalize = normalize
        self.skip_lowest = skip_lowest
        self.boundary_levels = boundary_levels
        self.options = options
        self.reduction = getattr(self.loss, "reduction", self.reduction)
        self._kept: dict[tuple[nn.Module, bool], KeptForms] = {}
        self._lower = self._lower_losses()
        self._last: list[_Level] = []
        self._last_training: list[_Level] = []

    def forward(
        self,
        input: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
        target: Target | Sequence[Target],
        **extras: Any,
    ) -> Tensor:
        """Value of the loss.

        Args:
            input: outputs of the network, the highest resolution first.
            target: of the full resolution, or one for each level.
            **extras: ``mask``, ``present``, ``spacing_mm`` and so on of the full resolution.

        Raises:
            ValueError: outputs, weights or targets that do not fit each other.
            TypeError: something else than tensors.
        """
        targets = list(target) if isinstance(target, list | tuple) else None
        first = joined(target if targets is None else (targets or [None])[0], extras)
        outputs = named_levels(input, first.get("label"))
        if targets is not None and (extras or len(targets) != len(outputs)):
            raise ValueError(
                f"target: expected {len(outputs)} of them, one for each level and with its extras "
                f"inside, got {len(targets)} and {sorted(extras)} beside them"
            )
        if len(outputs) > 1 and not torch.compiler.is_compiling():  # which cannot make copies
            self._lower = self._lower_losses()
        losses = [self._loss_of(k) for k in range(len(outputs))]
        weights = self._weights(list(outputs), losses)
        full = next(iter(outputs.values()))
        if isinstance(first["label"], Tensor):
            first["label"] = with_channel(first["label"], full)
        levels: list[_Level] = []
        summands: list[Tensor] = []
        for k, (name, output) in enumerate(outputs.items()):
            loss, weight = losses[k], weights[k]
            if loss is None or weight == 0:
                # Its head stays in the graph, as DistributedDataParallel wants of all parameters.
                summands.append(0 * output[(0,) * output.ndim])
                continue
            if targets is not None:
                here = joined(targets[k], {})
            else:
                here = first if len(outputs) == 1 else self._target_of(loss, first, output, full)
            value = call(loss, output, here)
            summands.append(weight * value)
            inside = _compound(loss)
            terms = None if inside is None else inside._seen.last
            levels.append(_Level(name, weight, loss, value.detach(), terms))
        total = reduce(_added, summands)
        self._last = levels
        if self.training and total.requires_grad:
            self._last_training = levels
        return total

    def breakdown(self, *, training: bool = False) -> dict[str, TermValue]:
        """Value and weight of each term at each level in the last forward pass.

        Terms are called ``level_0/dice``, or by the output's own name where outputs are a mapping.

        Args:
            training: the last pass that had a gradient, whatever was validated since.

        Raises:
            RuntimeError: there was none yet.
        """
        seen = self._last_training if training else self._last
        if not seen:
            raise RuntimeError("breakdown: expected a forward pass first, there was none")
        terms = {}
        for level in seen:
            inside = _compound(level.loss)
            if inside is None or level.terms is None:
                terms[level.name] = TermValue(float(level.value.mean()), level.weight)
                continue
            told = level.terms.told(
                class_names=inside.class_names, with_gradient=bool(inside.gradient_share)
            )
            for name, term in told.items():
                norm = term.gradient_norm
                terms[f"{level.name}/{name}"] = replace(
                    term,
                    weight=level.weight * term.weight,
                    gradient_norm=None if norm is None else level.weight * norm,
                )
        return terms

    def step_schedule(self, step: int | None = None) -> None:
        """Go to the next step of the schedules inside, as the compound loss itself does."""
        inside = _compound(self.loss)
        if inside is not None:
            inside.step_schedule(step)

    def extra_repr(self) -> str:
        """All options, as the constructor takes them."""
        names = ("weight_mode", "weights", "normalize", "skip_lowest", "boundary_levels", "options")
        told = [f"{name}={getattr(self, name)!r}" for name in names]
        return ", ".join([f"loss={type(self.loss).__name__}", *told])

    def _loss_of(self, level: int) -> nn.Module | None:
        """The loss of a level, None where nothing of it counts there."""
        if level == 0:
            return self.loss
        boundary = self.boundary_levels is None or level < self.boundary_levels
        return self._lower[int(boundary)]

    def _lower_losses(self) -> tuple[nn.Module | None, nn.Module | None]:
        """The loss of lower levels without and with terms on boundaries, of parts of the loss."""
        without, whole = (term_at_level(self.loss, boundary=each) for each in (False, True))
        for boundary, lower in enumerate((without, whole)):
            if isinstance(lower, SegmentationLoss):  # a copy, which forgets what was decided
                lower._kept = self._kept.setdefault((self.loss, bool(boundary)), lower._kept)
        return without, whole

    def _weights(self, names: list[str], losses: list[nn.Module | None]) -> list[float]:
        if len(names) == 1:
            return [1.0]
        weights = level_weights(names, self.weight_mode, self.weights)
        if self.skip_lowest:
            weights[-1] = 0.0
        weights = [0.0 if at is None else w for at, w in zip(losses, weights, strict=True)]
        total = sum(weights)
        if not total:
            raise ValueError(f"weights: expected a level with a weight above 0, got {weights}")
        return [w / total for w in weights] if self.normalize else weights

    def _target_of(
        self, loss: nn.Module, target: Mapping[str, Any], output: Tensor, full: Tensor
    ) -> dict[str, Any]:
        """The target at the resolution of an output.

        Raises:
            ValueError: a spacing that cannot be scaled.
        """
        here = target_at(target, output, full)
        label = target["label"]
        if label.shape[2:] != output.shape[2:] and target.get("spacing_mm") is None:
            own = spacing_options(loss)
            if own:
                raise ValueError(
                    f"spacing_mm: that of {', '.join(own)} is an option and belongs to the full "
                    f"resolution, expected it in the call, where it is scaled with the level"
                )
        return here


def _added(total: Tensor, value: Tensor) -> Tensor:
    if total.ndim and total.shape != value.shape:
        raise ValueError(
            f"reduction: expected 'mean' or 'sum' for levels of several resolutions, got values of "
            f"shape {list(total.shape)} and {list(value.shape)}"
        )
    return total + value


def _compound(loss: nn.Module) -> WeightedSum | None:
    """The compound loss that a loss is or wraps."""
    return next((each for each in loss.modules() if isinstance(each, WeightedSum)), None)
