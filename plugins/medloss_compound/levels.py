"""The levels of deep supervision: outputs, weights, targets, and the loss as it serves there."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medloss.base import SegmentationLoss
from medloss.base.input_checks import STORED
from medloss.base.targets import PER_VOXEL
from medloss.compound import WeightedSum
from medloss.compound.class_values import Passes
from medloss.distance.steps import Steps, parsed
from medloss.objects.spacing import SpacingSource
from medloss.offers.host import host


def named_levels(outputs: Any, label: Any) -> dict[str, Tensor]:
    """Outputs by level, the highest resolution first.

    Args:
        outputs: a tensor (B, C, *spatial); (B, L, C, *spatial), levels stacked; or several tensors
            in a list, a tuple or a mapping.
        label: of the highest resolution; with one channel it tells a stack of images from a volume.

    Raises:
        TypeError: outputs of another kind.
        ValueError: no output, or a higher resolution after a lower one.
    """
    if isinstance(outputs, Tensor):
        if not _stacked(outputs, label):
            return {"level_0": outputs}
        outputs = outputs.unbind(1)
    if isinstance(outputs, Mapping):
        levels = {str(name): output for name, output in outputs.items()}
    elif isinstance(outputs, list | tuple):
        levels = {f"level_{k}": output for k, output in enumerate(outputs)}
    else:
        raise TypeError(
            f"input: expected a tensor, or several in a list, tuple or mapping, "
            f"got {type(outputs).__name__}"
        )
    if not levels:
        raise ValueError("input: expected at least one output, got none")
    for name, output in levels.items():
        if not isinstance(output, Tensor):
            raise TypeError(f"input: expected tensors, got {type(output).__name__} at {name}")
    voxels = [math.prod(output.shape[2:]) for output in levels.values()]
    if max(voxels) > voxels[0]:
        shapes = [list(output.shape) for output in levels.values()]
        raise ValueError(f"input: expected the highest resolution first, got {shapes}")
    return levels


def _stacked(outputs: Tensor, label: Any) -> bool:
    if outputs.ndim == 5:  # a label of several channels may be one of a volume without its channel
        return isinstance(label, Tensor) and label.ndim == 4 and label.shape[1] == 1
    return outputs.ndim == 6


def level_weights(
    names: Sequence[str],
    mode: str,
    given: Sequence[float] | Mapping[str, float] | None,
) -> list[float]:
    """Weight of each level, before they are normalised.

    Args:
        names: of the levels, the highest resolution first.
        mode: ``"exp"``: 1, ½, ¼ and so on; ``"two"``: 1, ½, ½; ``"same"``: 1, 1, 1.
        given: numbers instead, in this order or by name; those beyond the last level are not used.

    Raises:
        ValueError: a level has no weight.
    """
    if given is None:
        return {
            "exp": [0.5**k for k in range(len(names))],
            "two": [1.0 if k == 0 else 0.5 for k in range(len(names))],
            "same": [1.0] * len(names),
        }[mode]
    if isinstance(given, Mapping):
        missing = [name for name in names if name not in given]
        if missing:
            raise ValueError(
                f"weights: expected one for each of {', '.join(names)}, got none for "
                f"{', '.join(missing)}"
            )
        return [float(given[name]) for name in names]
    if len(given) < len(names):
        raise ValueError(f"weights: expected {len(names)}, one for each level, got {len(given)}")
    return [float(weight) for weight in given[: len(names)]]


SPATIAL = ("label", *PER_VOXEL)
"""What a target may hold for each voxel."""


def joined(target: Any, extras: Mapping[str, Any]) -> dict[str, Any]:
    """Label and extras as one mapping.

    Raises:
        ValueError: an extra is given twice, or there is no label.
    """
    if not isinstance(target, Mapping):
        return {"label": target, **extras}
    if "label" not in target:
        hint = "; did you mean 'label'?" if difflib.get_close_matches("label", target, n=1) else ""
        raise ValueError(
            f"target: expected a mapping with the key 'label', got {sorted(target)}{hint}"
        )
    for name in extras:
        if target.get(name) is not None and extras[name] is not None:
            raise ValueError(f"{name}: given twice, as keyword and inside the target mapping")
    return {**target, **extras}


def nearest(tensor: Tensor, size: Sequence[int]) -> Tensor:
    """The nearest voxel to each centre of a coarser grid, exactly, whatever the dtype.

    Voxel i of n takes voxel ⌊(i + ½) N / n⌋ of N, as torch's ``nearest-exact`` does for floats.

    Args:
        tensor: (B, C, *spatial).
        size: spatial shape that is wanted.

    Example:
        >>> nearest(torch.arange(8).view(1, 1, 8, 1), (3, 1)).flatten()
        tensor([1, 4, 6])
    """
    if hasattr(tensor, "as_tensor"):  # the affine of a MetaTensor is that of the full resolution
        tensor = tensor.as_tensor()
    for axis, n in enumerate(size, start=2):
        whole = tensor.shape[axis]
        if n != whole:
            i = torch.arange(n, device=tensor.device)
            tensor = tensor.index_select(axis, (2 * i + 1) * whole // (2 * n))
    return tensor


def target_at(target: Mapping[str, Any], output: Tensor, full: Tensor) -> dict[str, Any]:
    """The target in the resolution of an output.

    Args:
        target: ``label`` and what else belongs to it, in full resolution.
        output: (B, C, *spatial).
        full: output of the highest resolution, which may know the spacing.

    Raises:
        TypeError: what has voxels is no tensor.
    """
    for name in SPATIAL:
        if target.get(name) is not None and not isinstance(target[name], Tensor):
            raise TypeError(f"{name}: expected a torch.Tensor, got {type(target[name]).__name__}")
    shape, size = target["label"].shape[2:], output.shape[2:]
    if (
        shape == size
        or len(shape) != len(size)
        or any(n < m for n, m in zip(shape, size, strict=True))
    ):
        return dict(target)  # nothing to do, or nothing that can be meant: the loss says what
    here = {k: nearest(v, size) if k in SPATIAL and v is not None else v for k, v in target.items()}
    spacing = _spacing(target, full)
    if spacing is not None:
        here["spacing_mm"] = scaled(spacing, [n / m for n, m in zip(shape, size, strict=True)])
    return here


def _spacing(target: Mapping[str, Any], full: Tensor) -> Steps | None:
    """That of the full resolution; None where nothing says it, or a MetaTensor no longer can."""
    shape = {"batch": full.shape[0], "axes": full.ndim - 2}
    given = target.get("spacing_mm")
    if given is not None:
        return parsed(given, **shape)
    try:
        found: Steps | None = SpacingSource(None, target["label"], full, **shape).read()
        return found
    except ValueError:  # a loss that needs it says so in full resolution
        return None


def scaled(spacing_mm: Steps, factors: Sequence[float]) -> Steps:
    """Size of voxels that are larger by a factor along each axis."""
    if isinstance(spacing_mm, Tensor):
        return torch.stack([s * f for s, f in zip(spacing_mm.unbind(1), factors, strict=True)], 1)
    return tuple(tuple(s * f for s, f in zip(row, factors, strict=True)) for row in spacing_mm)


FAMILIES = ("boundary", "topology")
MONAI_NAMES = ("BoundaryLoss", "HausdorffDTLoss", "LogHausdorffDTLoss", "SoftclDiceLoss")


def belongs_to_full_resolution(loss: nn.Module) -> bool:
    """Whether a loss looks at boundaries, distances or topology.

    So it is for the families boundary and topology, whoever offers them, for a loss that needs a
    ready map, for one with the option ``spacing_mm``, and for those of MONAI.
    """
    kind = type(loss)
    if kind.__module__.startswith("monai.") and kind.__name__ in MONAI_NAMES:
        return True
    target = f"{kind.__module__}:{kind.__qualname__}"
    for offer in host().losses:
        if target in (offer.record.target, *offer.record.also) and (
            offer.record.family in FAMILIES or offer.record.needs
        ):
            return True
    return hasattr(loss, "spacing_mm")


def term_at_level(loss: nn.Module, *, boundary: bool) -> nn.Module | None:
    """The loss with the same weights, whose schedules neither count nor measure this pass.

    Args:
        loss: stays as it is.
        boundary: whether terms on boundaries, distances and topology are kept.

    Returns:
        A loss that shares its parts with the given one, or None where nothing of it is left.
    """
    terms_decide = isinstance(loss, WeightedSum)  # whatever the family of their sum
    if not boundary and not terms_decide and belongs_to_full_resolution(loss):
        return None
    if not isinstance(loss, SegmentationLoss):
        return loss
    parts: dict[str, nn.Module | None] = dict(loss._modules)
    if isinstance(loss, WeightedSum):
        terms = {k: term_at_level(term, boundary=boundary) for k, term in loss.losses.items()}
        kept = {k: term for k, term in terms.items() if term is not None}
        if not kept:
            return None
        parts["losses"] = nn.ModuleDict(kept)
    else:
        for name, part in loss.named_children():
            parts[name] = term_at_level(part, boundary=boundary)
            if parts[name] is None:
                return None
    lower = copy.copy(loss)
    lower.__dict__["_modules"] = parts
    if isinstance(lower, WeightedSum):
        lower.training = False
        lower._seen = Passes()
    return lower


def spacing_options(loss: nn.Module) -> list[str]:
    """Losses whose option ``spacing_mm`` says the size of a voxel."""
    return [
        type(each).__name__
        for each in loss.modules()
        if getattr(each, "spacing_mm", None) is not None
    ]


def call(loss: nn.Module, output: Tensor, target: dict[str, Any]) -> Tensor:
    """Value of a loss at one level.

    Raises:
        ValueError: a loss of another library beside what it does not know.
        TypeError: it gives something else than a tensor.
    """
    beside = sorted(k for k, v in target.items() if k != "label" and v is not None)
    label = target["label"]
    if isinstance(loss, SegmentationLoss):
        value = loss(output, target if beside else label)
    else:
        beside = [name for name in beside if name != "spacing_mm"]
        if beside:
            raise ValueError(
                f"{', '.join(beside)}: {type(loss).__name__} of another library takes a label alone"
            )
        value = loss(output.float() if output.dtype in STORED else output, label)
    if not isinstance(value, Tensor):
        raise TypeError(f"loss: expected one tensor, got {type(value).__name__}")
    return value
