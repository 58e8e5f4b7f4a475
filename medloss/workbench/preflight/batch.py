"""One batch as a loss is called with it, and batches made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

READY = ("distance_map", "skeleton", "components")
"""Extras of a target that were made from its label, and go with no other."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What a loss is called with.

    Args:
        input: (B, C, *spatial) from the network, or several of them (list, tuple, mapping) under
            deep supervision, the full resolution among them.
        target: (B, 1, *spatial) class indices or (B, C, *spatial), or a mapping with ``label``.

    Raises:
        TypeError: there is no tensor in one of them.
        ValueError: they have no voxel in common.
    """

    input: Any
    target: Any

    def __post_init__(self) -> None:
        if not isinstance(self.label, Tensor):
            raise TypeError(f"label: expected a tensor, got {type(self.label).__name__}")
        if not any(True for _ in tensors(self.input)):
            raise TypeError(f"input: expected a tensor, got {type(self.input).__name__}")
        logits, label = self.logits, self.label
        if logits.ndim < 3 or label.ndim != logits.ndim or label.shape[0] != logits.shape[0]:
            raise ValueError(
                f"label: expected (B, 1 or C, *spatial) to match input {list(logits.shape)}, "
                f"got {list(label.shape)}"
            )

    @property
    def label(self) -> Tensor:
        """The label itself."""
        found: Tensor = self.target
        if isinstance(self.target, Mapping):
            found = self.target["label"]
        return found

    @cached_property
    def logits(self) -> Tensor:
        """The input at the label's resolution, (B, C, *spatial), plain and without history."""
        return plain(self.of_logits(self.input)).detach()

    @property
    def classes(self) -> int:
        """Number of channels."""
        return self.logits.shape[1]

    def of_logits(self, tree: Any) -> Tensor:
        """What corresponds to :attr:`logits` in something built as the input is."""
        found = [
            one[:, 0] if one.shape[3:] == self.label.shape[2:] else one  # (B, L, C, ...) of DynUNet
            for one in tensors(tree)
        ]
        same = [one for one in found if one.shape[2:] == self.label.shape[2:]]
        return (same or found)[0]

    @property
    def is_index(self) -> bool:
        """Whether one channel of the label holds class indices."""
        return self.label.shape[1] == 1 and self.classes > 1

    @cached_property
    def truth(self) -> Tensor:
        """The label as (B, C, *spatial), float32; labels that are no class are in no channel."""
        label = plain(self.label).detach().to(self.logits.device)
        if not self.is_index:
            return label.float().expand(-1, self.classes, *label.shape[2:])
        every = torch.arange(self.classes, device=label.device)
        return (label == every.view(1, -1, *[1] * (label.ndim - 2))).float()

    @cached_property
    def exclusive(self) -> bool:
        """Whether every voxel belongs to exactly one class, background included."""
        if self.is_index:
            return True
        return self.classes > 1 and bool(((self.truth.sum(1) - 1).abs() < 1e-3).all())

    @property
    def foreground(self) -> slice:
        """Channels that are no background."""
        return slice(1 if self.exclusive else 0, None)

    def labelled(self, label: Tensor) -> Batch:
        """With another label; what was made from the old one is dropped."""
        if not isinstance(self.target, Mapping):
            return Batch(self.input, label)
        kept = {key: value for key, value in self.target.items() if key not in READY}
        return Batch(self.input, {**kept, "label": label})

    def emptied(self) -> Batch:
        """With background everywhere."""
        label = torch.zeros_like(self.label)
        if self.exclusive and not self.is_index:
            label[:, 0] = 1
        return self.labelled(label)

    def answered(self, size: float) -> Any:
        """An input that gives the right answer: logits of ± size."""
        return self._filled((2 * self.truth - 1) * size)

    def told(self) -> Any:
        """An input that gives the right answer as probabilities."""
        return self._filled(self.truth)

    def _filled(self, answer: Tensor) -> Any:
        return mapped(
            self.input, lambda one: answer.to(one.dtype) if one.shape == answer.shape else one
        )

    def samples(self, rows: slice) -> Batch:
        """Some of the samples."""
        count = self.label.shape[0]

        def cut(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value[rows] if value.ndim and value.shape[0] == count else value
            nested = isinstance(value, list | tuple) and len(value) == count
            return value[rows] if nested and hasattr(value[0], "__len__") else value

        return Batch(mapped(self.input, cut), self._over_target(cut))

    def pair(self) -> Batch:
        """Two samples; where there is one, the second has its input shifted against the label."""
        if self.label.shape[0] > 1:
            return self.samples(slice(0, 2))

        def shifted(one: Tensor) -> Tensor:
            return torch.cat([one, one.roll(max(1, one.shape[-1] // 2), dims=-1)])

        return Batch(mapped(self.input, shifted), self._over_target(_twice))

    def contrast(self) -> Batch:
        """The first sample, and its input with background as label."""
        first = self.samples(slice(0, 1))
        empty = torch.cat([plain(first.label), plain(first.emptied().label)])
        twice = mapped(first.input, lambda one: torch.cat([one, one]))
        return Batch(twice, first._over_target(_twice)).labelled(empty)

    def _over_target(self, change: Callable[[Any], Any]) -> Any:
        if isinstance(self.target, Mapping):
            return {key: change(value) for key, value in self.target.items()}
        return change(self.target)


def _twice(value: Any) -> Any:
    if isinstance(value, Tensor) and value.ndim and value.shape[0] == 1:
        if getattr(value, "is_batch", False):  # whose place of each sample torch.cat would not join
            from monai.data.meta_tensor import MetaTensor

            wrapped: Any = value
            both = MetaTensor(torch.cat([plain(value)] * 2))
            both.is_batch, both.affine = True, torch.cat([wrapped.affine] * 2)
            return both
        return torch.cat([value, value])
    nested = isinstance(value, list | tuple) and len(value) == 1
    return [*value, *value] if nested and hasattr(value[0], "__len__") else value


def tensors(tree: Any) -> Iterator[Tensor]:
    """The tensors in lists, tuples and mappings, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from tensors(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from tensors(value)


def mapped(tree: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same lists, tuples and mappings with other tensors.

    Example:
        >>> mapped([torch.zeros(1), {"a": torch.ones(1)}], lambda one: float(one))
        [0.0, {'a': 1.0}]
    """
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: mapped(value, change) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)([mapped(value, change) for value in tree])
    return tree


def mapped_like(tree: Any, flat: Sequence[Tensor]) -> Any:
    """The same lists, tuples and mappings with these tensors, in order."""
    rest = iter(flat)
    return mapped(tree, lambda _: next(rest))


def plain(tensor: Tensor) -> Tensor:
    """The tensor inside a MetaTensor."""
    return tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor
