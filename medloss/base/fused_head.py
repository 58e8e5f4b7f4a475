"""The last 1x1x1 convolution and the loss as one, so that the logits never exist in full."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medloss.base import SegmentationLoss
from medloss.base.fused_sums import sums_of_features
from medloss.base.targets import Extras, Prepared, Target
from medloss.sums import ClassSums, Term, work_dtype
from medloss.sums.terms import as_terms


class FusedHead(nn.Module):
    """A network's final 1x1x1 convolution, together with a loss on class sums.

    Formula:
        z = W h + b for the features h of each voxel, then the loss of z; tile by tile, with z made
        again in the backward.

    It takes the place of the convolution and has its ``state_dict``. In evaluation mode it is the
    convolution: logits come out. In training mode the features pass through it unchanged, and
    :meth:`loss` takes them in place of logits. Value and gradients, of features, weight and bias
    too, are those of the convolution followed by the loss. Memory beside the gradient of the
    features does not grow with the number of classes.

    Args:
        convolution: ``Conv2d`` or ``Conv3d`` with a kernel of 1; its parameters are taken over.
        loss: with ``softmax=True`` or ``sigmoid=True``, a function of class sums: region losses,
            cross entropy, focal, and compounds of such. It is not part of the ``state_dict``.

    Shapes:
        features (B, F, *spatial); logits (B, C, *spatial).

    Raises:
        TypeError: ``convolution`` or ``loss`` is something else.
        ValueError: a convolution that mixes voxels, or a loss without activation.

    Example:
        >>> import medloss
        >>> convolution = nn.Conv3d(8, 3, kernel_size=1)
        >>> head = FusedHead(convolution, medloss.loss("dice_ce", softmax=True))
        >>> features, labels = torch.randn(1, 8, 4, 4, 4), torch.randint(0, 3, (1, 1, 4, 4, 4))
        >>> fused = head.loss(head(features), labels)
        >>> plain = medloss.loss("dice_ce", softmax=True)(convolution(features), labels)
        >>> torch.allclose(fused, plain)
        True
        >>> head.eval()(features).shape
        torch.Size([1, 3, 4, 4, 4])
    """

    criterion: SegmentationLoss

    def __init__(self, convolution: nn.Conv2d | nn.Conv3d, loss: SegmentationLoss) -> None:
        super().__init__()
        if not isinstance(convolution, nn.Conv2d | nn.Conv3d):
            raise TypeError(
                f"convolution: expected Conv2d or Conv3d, got {type(convolution).__name__}"
            )
        sides = (*convolution.kernel_size, *convolution.stride)
        if set(sides) != {1} or convolution.groups != 1 or convolution.padding not in _NO_PADDING:
            raise ValueError(
                f"convolution: expected a kernel and stride of 1, one group and no padding, "
                f"got {convolution}"
            )
        if not isinstance(loss, SegmentationLoss):
            raise TypeError(f"loss: expected a loss of medloss, got {type(loss).__name__}")
        if loss.activation() not in ("softmax", "sigmoid"):
            raise ValueError("loss: expected softmax=True or sigmoid=True, since it meets logits")
        self.weight, self.bias = convolution.weight, convolution.bias
        # not as a submodule, so that the state_dict stays that of the convolution
        object.__setattr__(self, "criterion", loss)

    def forward(self, features: Tensor) -> Tensor:
        """Features in training mode, logits in evaluation mode."""
        if self.training:
            return features
        convolve = torch.conv3d if self.weight.ndim == 5 else torch.conv2d
        return convolve(features, self.weight, self.bias)

    def loss(self, features: Tensor, target: Target, **extras: Any) -> Tensor:
        """The loss of the logits that these features would give.

        Args:
            features: (B, F, *spatial), what :meth:`forward` returns in training mode.
            target: as every loss takes it.
            **extras: mask, present, spacing_mm and so on, likewise.

        Raises:
            TypeError: ``features`` is no tensor of floating-point numbers.
            ValueError: shapes that do not fit, or a loss that needs the logits of all voxels.
        """
        classes, channels = self.weight.shape[:2]
        if not isinstance(features, Tensor) or not features.is_floating_point():
            raise TypeError("features: expected a tensor of floating-point numbers")
        if features.ndim != self.weight.ndim or features.shape[1] != channels:
            axes = ", ".join("HWD"[: self.weight.ndim - 2])
            raise ValueError(
                f"features: expected (B, {channels}, {axes}), got {list(features.shape)}; in "
                f"evaluation mode the head returns logits, which the plain loss takes"
            )
        features = features.as_tensor() if hasattr(features, "as_tensor") else features
        # logits in shape only: one number, seen from every voxel
        shape = (features.shape[0], classes, *features.shape[2:])
        dtype = torch.promote_types(features.dtype, self.weight.dtype)
        shadow = features.new_zeros((), dtype=work_dtype(features.new_empty(0, dtype=dtype)))
        with torch.autocast(features.device.type, enabled=False):
            prepared = self.criterion.prepare(shadow.expand(shape), target, Extras(**extras))
            fields = {f.name: getattr(prepared, f.name) for f in dataclasses.fields(prepared)}
            return self.criterion.evaluate(_FromFeatures(**fields, head=self, features=features))


_NO_PADDING = ((0, 0), (0, 0, 0), "valid", "same")


@dataclass(frozen=True, kw_only=True)
class _FromFeatures(Prepared):
    """Inputs of a loss whose logits are made from features when they are summed."""

    head: FusedHead
    features: Tensor

    @property
    def input(self) -> Tensor:
        """What the logits never are."""
        raise ValueError(
            f"loss: {type(self.head.criterion).__name__} with these options needs the logits of "
            f"every voxel, expected a function of class sums"
        )

    def sums(
        self, terms: Sequence[str | Term], maps: Mapping[str, Tensor] | None = None
    ) -> ClassSums:
        """Class sums of the logits that the features give."""
        wanted = as_terms(terms)
        layer = self.features, self.head.weight, self.head.bias
        return ClassSums(sums_of_features(*layer, self, wanted, maps or {}).unbind(1), wanted)

    def each_voxel(
        self, terms: Sequence[str | Term], maps: Mapping[str, Tensor] | None = None
    ) -> ClassSums:
        """Refused: that would be logits in full."""
        return ClassSums(self.input, as_terms(terms))
