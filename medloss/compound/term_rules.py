"""What may be a term of a compound loss, and how terms of other libraries are called."""

from __future__ import annotations

from torch import Tensor, nn

from medloss.base import SegmentationLoss
from medloss.base.targets import Prepared


def check_term(name: str, loss: nn.Module, compound: SegmentationLoss) -> None:
    """Refuse a term that wants for itself what belongs to the compound loss.

    Raises:
        ValueError: so it is.
    """
    if not isinstance(loss, SegmentationLoss):
        return
    own = [k for k in ("sigmoid", "softmax") if getattr(loss, k) and not getattr(compound, k)]
    other_act = loss.other_act is not None and loss.other_act is not compound.other_act
    own += ["other_act"] * other_act
    if own:
        raise ValueError(
            f"{name}: {', '.join(own)} belongs to the compound loss, whose one activation "
            f"serves every term"
        )
    for option in ("ignore_index", "to_onehot_y"):
        if getattr(loss, option) not in (None, False, getattr(compound, option)):
            raise ValueError(f"{name}: {option} belongs to the compound loss, not to a term")


def value_of(name: str, loss: nn.Module, prepared: Prepared) -> Tensor:
    """Value of a term that is no function of class sums.

    Raises:
        ValueError: a loss that takes a label alone, beside what it does not know.
        TypeError: it gives something else than a tensor.
    """
    if isinstance(loss, SegmentationLoss):
        return loss.compute(prepared)
    if prepared.mask is not None or prepared.present is not None:
        raise ValueError(
            f"{name}: {type(loss).__name__}{_whose(loss)} knows no mask, present or "
            f"ignore_index; leave them out, or this term"
        )
    value = loss(prepared.raw, prepared.label)
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected one tensor, got {type(value).__name__}")
    return value


def _whose(loss: nn.Module) -> str:
    """Of another library, or a wrapper of ours that takes many outputs and one label."""
    return "" if type(loss).__module__.startswith("medloss") else " of another library"
