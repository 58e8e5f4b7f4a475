"""The logarithm of the probability of each voxel's true class: what losses on hard voxels need.

One number a voxel, where the classes are exclusive and the target names one of them. On CUDA
devices it takes one read of the logits, and its gradient one more and one write.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from medloss.runtime.eager import evaluate
from medloss.runtime.operators import operator
from medloss.sums.choice import TRITON, chosen_backend
from medloss.sums.request import SumsRequest, gradient_like
from medloss.sums.voxels import work_dtype


def log_p_true(input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Log softmax(z)_y for the class y that the target names.

    Args:
        input: z, (B, C, \*spatial), logits.
        target: y, (B, 1, \*spatial), class indices.
        mask: (B, 1, \*spatial), weight of each voxel; what is hidden by a 0 has no influence.

    Returns:
        (B, 1, \*spatial), float64 for float64 input, else float32; 0 where the label is no class or
        the mask is 0.

    Raises:
        ValueError: a target or mask of another shape.

    Example:
        >>> import torch
        >>> z = torch.tensor([[[[0.0, 0.0]], [[0.0, 1.0]]]])
        >>> log_p_true(z, torch.tensor([[[[0, 1]]]])).exp()
        tensor([[[[0.5000, 0.7311]]]])
    """
    one = [input.shape[0], 1, *input.shape[2:]]
    for name, given in (("target", target), ("mask", mask)):
        if given is not None and list(given.shape) != one:
            raise ValueError(f"{name}: expected {one}, got {list(given.shape)}")
    if chosen_backend(input, (mask,)).name == TRITON:
        return evaluate(_KERNELS, input, target, mask)
    return _KERNELS.plain(input, target, mask)


class _Kernels:
    """By the kernels for CUDA devices."""

    differentiable: ClassVar[int] = 1

    def value(self, *tensors: Any) -> Tensor:
        """Log p of the true class."""
        from medloss.sums.gpu import true_class

        return true_class.log_p_true(_request(*tensors))

    def slopes(self, gradient: Tensor, *tensors: Any) -> tuple[Tensor]:
        """Gradient by the input."""
        from medloss.sums.gpu import true_class

        return (true_class.log_p_true_slopes(_request(*tensors), gradient),)

    def plain(self, input: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """In torch."""
        known = (target >= 0) & (target < input.shape[1])
        if mask is not None:
            known, input = known & (mask != 0), input.where(mask != 0, 0)
        logits = input.to(work_dtype(input))
        labels = target.long().where(known, 0)
        return logits.log_softmax(1).gather(1, labels).where(known, 0)

    def recorded(self, *tensors: Any) -> Tensor:
        """As an operator."""
        return _operator(*tensors)


def _request(input: Tensor, target: Tensor, mask: Tensor | None) -> SumsRequest:
    return SumsRequest(input, target, mask, (), (), "softmax")


def _fake(input: Tensor, *_: Any) -> Tensor:
    return input.new_empty((input.shape[0], 1, *input.shape[2:]), dtype=work_dtype(input))


_KERNELS = _Kernels()
_operator = operator(
    "medloss::log_p_true",
    "Tensor input, Tensor target, Tensor? mask",
    "",
    of=_Kernels,
    fake=_fake,
    fake_slope=gradient_like,
)
