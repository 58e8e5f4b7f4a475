"""Which transform makes fractions of whole labels."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

_CASES = 3
"""Cases that are tried: a transform may leave the label of one alone."""


def explain_fractions(loader: Any, batch: Any, target: Any) -> list[str]:
    """The transforms that make fractions of whole labels, as sentences that name the key.

    Cases go through the transforms one by one, the random ones with probability 1. Behind each of
    them the label is looked at, and rounded again, so that each is told by itself.

    Args:
        loader: of the batch.
        batch: of which the label was taken.
        target: the label.
    """
    dataset = getattr(loader, "dataset", None)
    transforms = [*_flat(getattr(dataset, "transform", None))]
    key = _key(batch, target)
    found: dict[str, None] = {}
    cases = getattr(dataset, "data", None)
    for case in list(cases[:_CASES]) if isinstance(cases, list | tuple) and transforms else ():
        try:
            for told in _made(case, transforms, key):
                found[told] = None
        # A bundle's own code may raise anything; what was seen until then is true.
        except Exception:  # noqa: BLE001
            continue
        if found:
            break
    return [*found]


def _made(case: Any, transforms: list[Any], key: str) -> Iterator[str]:
    from monai.transforms import apply_transform

    data = copy.copy(case)
    for transform in transforms:
        always = copy.copy(transform)
        if hasattr(always, "prob"):
            always.prob = 1.0
        before = _fractions(data, key)
        data = apply_transform(always, data)
        if isinstance(data, list):
            data = data[0]
        if before is False and _fractions(data, key):
            yield _sentence(transform, key)
            data[key] = data[key].round()


def _sentence(transform: Any, key: str) -> str:
    name, keys = type(transform).__name__, [*getattr(transform, "keys", ())]
    modes = getattr(transform, "mode", None)
    if not isinstance(modes, str | list | tuple):
        return f"{name} does, to the key {key!r}"
    if isinstance(modes, list | tuple) and key in keys and len(modes) == len(keys):
        modes = modes[keys.index(key)]
    mode = getattr(modes, "value", modes)
    wanted = ", ".join("'nearest'" if one == key else "'bilinear'" for one in keys)
    return f"{name} interpolates the key {key!r} (mode {mode!r}); give it mode=[{wanted}]"


def _fractions(data: Any, key: str) -> bool | None:
    value = data.get(key) if isinstance(data, Mapping) else None
    if not isinstance(value, Tensor) and not hasattr(value, "__array__"):
        return None
    tensor = torch.as_tensor(value)
    return tensor.is_floating_point() and bool((tensor != tensor.round()).any())


def _flat(transform: Any) -> Iterator[Any]:
    from monai.transforms import Compose

    if isinstance(transform, Compose):
        for one in transform.transforms:
            yield from _flat(one)
    elif transform is not None:
        yield transform


def _key(batch: Any, target: Any) -> str:
    """The key of the batch that the label was taken from."""
    label = target.get("label") if isinstance(target, Mapping) else target
    if isinstance(batch, Mapping) and isinstance(label, Tensor):
        for key, value in batch.items():
            same = isinstance(value, Tensor) and value.shape == label.shape
            if same and key != "image" and torch.equal(value.to(label.device, label.dtype), label):
                return str(key)
    return "label"
