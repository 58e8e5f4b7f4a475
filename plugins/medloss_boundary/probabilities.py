"""Probabilities of all voxels, for losses that look at neighbours."""

from __future__ import annotations

from torch import Tensor

from medloss.base.targets import Prepared
from medloss.sums.voxels import Voxels


def probabilities(prepared: Prepared) -> Tensor:
    r"""Of shape (B, C, \*spatial), differentiable; times the weights of the voxels."""
    p = Voxels(prepared.input, prepared.target, prepared.activation, {}).p
    return p if prepared.mask is None else p * prepared.mask
