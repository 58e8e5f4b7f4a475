"""Losses inside another one: built from what a config holds, checked, and called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor, nn

import medloss
from medloss.base import SegmentationLoss
from medloss.base.targets import Prepared


def build_inner_loss(
    given: str | Mapping[str, Any] | nn.Module, options: Mapping[str, Any]
) -> nn.Module:
    """The loss that is meant inside another one.

    Args:
        given: name, mapping with ``name`` and options, or a loss that is built already.
        options: of the loss, beside those of the mapping, which come first; none where it is built.

    Raises:
        TypeError: ``given`` is nothing of that.
        ValueError: options for a loss that is built already.

    Example:
        >>> build_inner_loss({"name": "focal", "gamma": 1.0}, {"softmax": True}).gamma
        1.0
    """
    if isinstance(given, str):
        given = {"name": given}
    if isinstance(given, Mapping) and "name" in given:
        own = {key: value for key, value in given.items() if key != "name"}
        built: nn.Module = medloss.loss(str(given["name"]), **{**options, **own})
        return built
    if not isinstance(given, nn.Module):
        raise TypeError(f"loss: expected a name, a mapping with a name, or a loss, got {given!r}")
    if options:
        raise ValueError(
            f"{', '.join(options)}: expected none beside a loss that is built already, "
            f"{type(given).__name__}, which has its own"
        )
    return given


def adopt_inner_loss(
    outer: SegmentationLoss, given: str | Mapping[str, Any] | nn.Module, *, knows: str
) -> SegmentationLoss:
    """A loss of medloss inside, with the options that every loss has.

    Args:
        outer: as :func:`adopt_any_loss` takes it.
        given: likewise.
        knows: what it has to know, for errors.

    Raises:
        TypeError: it is no loss of medloss.
    """
    inside = adopt_any_loss(outer, given)
    if not isinstance(inside, SegmentationLoss):
        raise TypeError(
            f"loss: expected a loss of medloss, which knows {knows}, got {type(inside).__name__}"
        )
    return inside


def adopt_any_loss(
    outer: SegmentationLoss, given: str | Mapping[str, Any] | nn.Module
) -> nn.Module:
    """The loss inside; the options that every loss of medloss has serve inside and outside.

    Args:
        outer: what wraps it; takes over those options of a loss that is built already.
        given: as :func:`build_inner_loss` takes it.
    """
    defaults = {f.name: f.default for f in fields(SegmentationLoss)}
    options = {k: getattr(outer, k) for k in defaults if getattr(outer, k) is not defaults[k]}
    inside = build_inner_loss(given, options)
    if isinstance(inside, SegmentationLoss):
        for name in defaults:
            setattr(outer, name, getattr(inside, name))
    return inside


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
    _ = prepared.input  # which a fused head refuses: its raw input is no more than a shape
    label = prepared.label
    if isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) and prepared.is_index:
        label = label.squeeze(1).long()  # torch's class indices have no axis of channels
    value = loss(prepared.raw, label)
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected one tensor, got {type(value).__name__}")
    return value


def _whose(loss: nn.Module) -> str:
    """Of another library, or a wrapper of ours that takes many outputs and one label."""
    return "" if type(loss).__module__.startswith("medloss") else " of another library"
