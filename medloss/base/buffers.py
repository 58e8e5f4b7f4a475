"""Weights that a loss keeps as buffers: checked, never rounded, never changed by a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

NO_FLOAT64 = ("mps",)
"""Kinds of device without it."""


def weights(given: Any, name: str, *, highest: float | None = None) -> Tensor | None:
    """One number, or a list of them, in float64, so that the input alone limits the precision.

    Args:
        given: a number, a list, an array, a tensor, or None.
        name: of the option.
        highest: largest number where one is given for all classes.

    Raises:
        ValueError: a negative or infinite number, NaN, or a shape that is no list.
    """
    if given is None:
        return None
    if isinstance(given, Tensor):
        found = given.detach().to(torch.float64 if given.device.type not in NO_FLOAT64 else None)
        found = found.clone()
    else:  # on the host, whatever the default device is
        try:
            plain = torch.as_tensor(given, device="cpu")
            found = torch.as_tensor(given, dtype=torch.float64, device="cpu").clone()
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"{name}: expected finite numbers, got {given!r}") from error
        if plain.dtype == torch.bool:
            raise TypeError(f"{name}: expected finite numbers, got {given!r}")
    if found.ndim <= 1 and found.is_meta:  # there are no numbers to look at
        return found
    good = found.ndim <= 1 and bool(((found >= 0) & found.isfinite()).all())
    if good and highest is not None and found.ndim == 0:
        good = float(found) <= highest
    if not good:
        limit = (
            "finite numbers of at least 0"
            if highest is None
            else f"a number in [0, {highest:g}] or finite ones of at least 0 for each class"
        )
        raise ValueError(f"{name}: expected {limit}, got {given!r}")
    return found


def kept_precise(
    loss: M, apply: Callable[..., M], fn: Callable[[Tensor], Tensor], recurse: bool
) -> M:
    """``Module._apply`` that moves the buffers of a loss to devices and leaves their dtype.

    Args:
        loss: owner of the buffers.
        apply: of its base class.
        fn: what is to be done to tensors.
        recurse: to modules inside too.
    """
    own = {name: buffer for name, buffer in loss._buffers.items() if buffer is not None}
    for name in own:
        loss._buffers[name] = None
    try:
        apply(fn, recurse)
    finally:
        loss._buffers.update({name: _moved(buffer, fn) for name, buffer in own.items()})
    return loss


def _moved(buffer: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
    if buffer.is_meta:
        return fn(buffer)
    device = fn(torch.empty(0, device=buffer.device)).device
    return buffer.to(device, torch.float32 if device.type in NO_FLOAT64 else buffer.dtype)


def load_refusing_others(
    loss: nn.Module,
    load: Callable[..., None],
    state_dict: dict[str, Any],
    prefix: str,
    metadata: Any,
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    """``Module._load_from_state_dict`` for buffers that follow from options.

    A checkpoint with other weights than those that the loss was built with is refused: one of both
    is not what was meant.
    """
    own = {name: buffer for name, buffer in loss._buffers.items() if buffer is not None}
    for name, buffer in own.items():
        saved = state_dict.get(prefix + name)
        if not isinstance(saved, Tensor) or saved.is_meta or buffer.is_meta:
            continue
        here = buffer.to(saved.device, saved.dtype)  # as precise as it was saved
        if here.shape != saved.shape or not torch.equal(here, saved):
            errors.append(
                f"{prefix + name}: the checkpoint has {saved.tolist()}, this loss was built with "
                f"{buffer.tolist()}; build it with those of the checkpoint, or leave them out of it"
            )
    kept = {name: buffer.clone() for name, buffer in own.items() if not buffer.is_meta}
    load(state_dict, prefix, metadata, strict, missing, unexpected, errors)
    for name, buffer in kept.items():  # not rounded to what was saved
        loss._buffers[name] = buffer
