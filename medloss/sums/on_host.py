"""Numbers for what looks for objects on the host; importing it imports torch's compiler."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from medloss.sums.eager import no_transform


@torch.compiler.disable  # type: ignore[untyped-decorator]
def as_array(tensor: Tensor) -> NDArray[Any]:
    """Numbers that no derivative passes through, on the host; within torch.func too.

    Raises:
        RuntimeError: vmap made a batch of it.
    """
    plain: Tensor = torch.func.debug_unwrap(tensor.detach().cpu())
    if plain.shape != tensor.shape:
        raise RuntimeError("vmap: a loss that looks for objects on the host takes one input a call")
    with no_transform():
        array: NDArray[Any] = plain.numpy()
    return array
