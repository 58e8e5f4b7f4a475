"""Penalty of a voxel's worst neighbour in its class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor, nn

from medloss.base import SegmentationLoss, options
from medloss.base.input_checks import Look
from medloss.base.targets import Prepared
from medloss.compound import adopt_any_loss, value_of
from medloss.sums import Activation
from medloss_compound.worst_neighbours import worst_neighbours


@options
class SCNPLoss(SegmentationLoss):
    """Any loss on the worst of each voxel's neighbours within, or outside, the class (SCNP).

    Formula:
        L = loss(z̃, y) with z̃_i = min{z_j : j in N_w(i), y_j = 1} where y_i = 1, and
        z̃_i = max{z_j : j in N_w(i), y_j = 0} where y_i = 0, for each channel, on logits; N_w(i) is
        the window of w voxels along each axis around i, cut at the border.

    A thin structure is lost where a single voxel of it fails; here its neighbours fail with it. Of
    several classes each channel is one against the rest. Ignored voxels are in no window and not in
    the loss. Where structures are a voxel or two thin, add it with a small weight to the loss of z
    itself, as a term of ``compound``: ``{"name": "scnp", "loss": "dice_ce"}`` beside ``"dice_ce"``.

    The gradient of a whole window goes to its worst voxel; a voxel beside a worse one of its class
    gets none of its own. Neighbours that are equally bad share it. Given probabilities instead of
    logits it takes the worst of those, which for exclusive classes is another loss.

    Range: that of the loss inside; CE, focal and Dice are never below their value on z.

    Empty target:
        as the loss inside, on the largest logits around each voxel.

    Labels must be hard. Loss modules of MONAI and torch are called with z̃ and the label as it came,
    bring their own activation, and know no mask. In deep supervision a window reaches farther, in
    mm, with each level.

    Cost:
        around ``dice_ce`` about 13 times its CPU time, half of what torch's pooling takes for it.
        (docs/examples/measure_topology_losses.py)

    Args:
        loss: name (``"dice_ce"``), mapping with ``name`` and options, or a loss, whose options
            then serve here too; nested ``_target_`` in a bundle config.
        window: odd number of voxels along each axis, one for all or one for each, as thick slices
            want; 1 is the loss inside.
        training_only: in evaluation mode (``loss.eval()``) this is the loss inside.

    Example:
        >>> import torch
        >>> z = torch.tensor([[2, 1, -0.5, -3], [1.5, -0.2, 0.4, -2], [-1, -2.5, -1.5, 0.3]])
        >>> y = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
        >>> loss = SCNPLoss(loss="binary_cross_entropy", sigmoid=True)
        >>> round(loss(z[None, None], y[None, None]).item(), 6)
        0.859155

    Source:
        Valverde 2026, arXiv:2603.18671.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (1, 2, 3)

    loss: str | Mapping[str, Any] | nn.Module = "dice_ce"
    window: int | Sequence[int] = 3
    training_only: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for size in self.window if isinstance(self.window, Sequence) else [self.window]:
            if not isinstance(size, int) or isinstance(size, bool) or size < 1 or size % 2 == 0:
                raise ValueError(
                    f"window: expected odd numbers of voxels from 1 on, got {self.window!r}"
                )
        self.inside = adopt_any_loss(self, self.loss)

    def activation(self) -> Activation | Callable[[Tensor], Tensor]:
        """Of a loss of another library that is its own: its input is taken for logits."""
        chosen = super().activation()
        known = isinstance(self.inside, SegmentationLoss)
        return chosen if known or chosen != "probabilities" else "sigmoid"

    def check(self, prepared: Prepared) -> None:
        """Windows have to fit the axes, and labels have to be hard."""
        super().check(prepared)
        axes = prepared.values.ndim - 2
        if isinstance(self.window, Sequence) and len(self.window) != axes:
            raise ValueError(
                f"window: expected {axes} numbers, one for each axis, got {self.window!r}"
            )
        _check_hard(prepared)

    def compute(self, prepared: Prepared) -> Tensor:
        """The loss inside, on the worst neighbours."""
        if self.training or not self.training_only:
            axes = prepared.values.ndim - 2
            window = self.window if isinstance(self.window, Sequence) else [self.window] * axes
            z = worst_neighbours(prepared.input, prepared.target, prepared.mask, window)
            prepared = replace(prepared, values=z, raw=z)
        if isinstance(self.inside, SegmentationLoss):
            return self.inside.evaluate(prepared)
        return value_of("loss", self.inside, prepared)


def _check_hard(prepared: Prepared) -> None:
    """Refuse labels between 0 and 1, of which no voxel's class follows."""
    target = prepared.target
    if prepared.is_index or not target.is_floating_point():
        return
    look = Look(target.device)
    if look.mode != "off":
        look.at((target - target.round()).abs(), _fractions)
        look.finish()


def _fractions(low: float, high: float) -> str | None:
    if high == 0:
        return None
    return (
        "target: expected hard labels, 0 or 1 in each channel, got fractions; of those no class "
        "of a voxel follows, and so no neighbours of the same class"
    )
