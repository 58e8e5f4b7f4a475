"""What a loss on class sums is, slowly: terms added up over lists of voxels in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from medloss.base import RegionLoss, SumsLoss, VoxelLoss
from medloss.base.targets import Extras
from medloss.sums import Term
from medloss.sums.terms import as_term, as_terms
from medloss.testing.registry import ExemptError
from medloss.testing.scenes import Scene

FORMULAS: dict[str, Callable[[Tensor, Tensor, Tensor, Any], Tensor]] = {
    "v": lambda p, y, phi, _: torch.ones_like(p),
    "p": lambda p, y, phi, _: p,
    "t": lambda p, y, phi, _: y,
    "tp": lambda p, y, phi, _: p * y,
    "pp": lambda p, y, phi, _: p**2,
    "tt": lambda p, y, phi, _: y**2,
    "l1": lambda p, y, phi, _: (p - y).abs(),
    "power": lambda p, y, phi, gamma: (p - y).abs() ** gamma,
    "sqt": lambda p, y, phi, _: (p - y) ** 2 * y,
    "ce": lambda p, y, phi, _: -y * p.log(),
    "ce_neg": lambda p, y, phi, _: -(1 - y) * (1 - p).log(),
    "nlog": lambda p, y, phi, _: -p.log(),
    "focal": lambda p, y, phi, gamma: -y * (1 - p) ** gamma * p.log(),
    "focal_neg": lambda p, y, phi, gamma: -(1 - y) * p**gamma * (1 - p).log(),
    "map": lambda p, y, phi, _: p * phi,
    "map2": lambda p, y, phi, _: (p - y) ** 2 * phi,
    "tp_map": lambda p, y, phi, _: p * y * phi,
    "t_map": lambda p, y, phi, _: y * phi,
}
"""Each term as it is written, of probability p, target y, map φ and an exponent."""


class SlowSums:
    """Sums of some terms, (B, C) each, read as the sums of the engine are."""

    def __init__(self, values: dict[Term, Tensor]) -> None:
        self.values = values

    def __getattr__(self, name: str) -> Tensor:
        found = [value for term, value in self.values.items() if term.name == name]
        if len(found) != 1:
            raise AttributeError(name)
        return found[0]

    def __getitem__(self, key: str | tuple[str, Any]) -> Tensor:
        return self.values[as_term(key)]

    def each(self, change: Callable[[Tensor], Tensor]) -> SlowSums:
        """The same with every sum changed."""
        return SlowSums({term: change(value) for term, value in self.values.items()})


def slow_value(loss: Any, scene: Scene) -> Tensor:
    """The reduced loss of a scene in float64, differentiable by its logits.

    Args:
        loss: on class sums, with the reduction of :class:`RegionLoss` or :class:`VoxelLoss`.
        scene: its voxels, few.

    Raises:
        ExemptError: the loss is something else.
    """
    kind = RegionLoss if isinstance(loss, RegionLoss) else VoxelLoss
    shared = isinstance(loss, kind) and all(
        getattr(type(loss), name) is getattr(kind, name)
        for name in ("compute", "from_sums", "counted", "evaluate")
    )
    if not shared:
        raise ExemptError("it is no function of class sums with the shared reduction")
    prepared = loss.prepare(scene.logits, scene.target, Extras(**scene.extras))
    each = _voxels(loss, scene, prepared)
    present = scene.extras.get("present")
    if isinstance(loss, VoxelLoss) and loss.reduction == "none":
        return _of_voxels(loss, each, prepared)
    sums = each.each(lambda value: value.flatten(2).sum(2))
    if present is not None:
        sums = _only(sums, present)
    if loss.batch:
        sums = sums.each(lambda value: value.sum(0, keepdim=True))
        present = None if present is None else present.any(0, keepdim=True)
    first = 0 if loss.include_background else 1
    sums = sums.each(lambda value: value[:, first:])
    present = None if present is None else present[:, first:]
    if isinstance(loss, RegionLoss):
        return _of_classes(loss, loss.per_class(sums), present)  # type: ignore[arg-type]
    total = loss.per_class(sums, prepared)
    if loss.reduction == "sum":
        summed: Tensor = loss.summed(total, sums)
        return summed
    number = loss.normalizer(sums, prepared).sum()
    mean: Tensor = total.sum() / number if number > 0 else total.sum() * 0
    return mean


def _only(sums: SlowSums, present: Tensor) -> SlowSums:
    return sums.each(lambda value: torch.where(present, value, 0))


def _of_voxels(loss: VoxelLoss, each: SlowSums, prepared: Any) -> Tensor:
    first, present = 0 if loss.include_background else 1, prepared.present
    if present is not None:
        spatial = [1] * (prepared.values.ndim - 2)
        each = each.each(lambda value: value.where(present.view(*present.shape, *spatial), 0))
    return loss.per_class(each.each(lambda value: value[:, first:]), prepared)  # type: ignore[arg-type]


def _of_classes(loss: RegionLoss, value: Tensor, present: Tensor | None) -> Tensor:
    """Weighted, and reduced over the (sample, class) pairs that were annotated."""
    pairs = []
    if present is not None and value.shape[1] == 1:  # all classes in one number
        present = present.any(1, keepdim=True)
    weight = loss.weight
    for b, c in ((b, c) for b in range(value.shape[0]) for c in range(value.shape[1])):
        known = present is None or bool(present[b, c])
        of_class = 1.0 if weight is None else torch.as_tensor(weight).expand(value.shape[1])[c]
        pairs.append(value[b, c] * of_class if known else value[b, c] * 0)
    if loss.reduction == "none":
        return torch.stack(pairs).view(value.shape)
    total = torch.stack(pairs).sum()
    number = value.numel() if present is None else int(present.sum())
    return total if loss.reduction == "sum" else total / max(number, 1)


def _voxels(loss: SumsLoss, scene: Scene, prepared: Any) -> SlowSums:
    """Every term of every voxel, 0 where it does not count."""
    z, y, classes = scene.logits, scene.target, scene.logits.shape[1]
    weight = scene.extras.get("mask", torch.ones_like(z[:, :1]))
    if loss.ignore_index is not None:
        lonely = y.shape[1] == 1
        counts = (y != loss.ignore_index) if lonely else (y > 0).any(1, keepdim=True)
        weight = weight * counts
    if y.shape[1] != classes:
        y = torch.cat([y == c for c in range(classes)], 1)
    p = {"softmax": z.softmax(1), "sigmoid": z.sigmoid()}.get(prepared.activation, z)
    maps = loss.maps(prepared)
    values = {}
    for term in as_terms(loss.terms()):
        phi = z if term.map is None else maps[term.map].double()
        values[term] = FORMULAS[term.name](p, y.double(), phi, term.exponent) * weight
    return SlowSums(values)
