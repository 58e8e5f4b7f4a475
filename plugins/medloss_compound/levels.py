"""The levels of deep supervision: outputs of each resolution, and their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


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
