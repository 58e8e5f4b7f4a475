"""What MONAI's engines hand to a metric, as pairs of maps with their spacing.

Tensors on a CUDA device stay there, all others become numpy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from medloss.objects.spacing import Spacing, SpacingSource, parse_spacing
from medloss.runtime import threads
from medloss.runtime.compiling import Loops
from medloss.scoring.inputs import ROUNDING, left_out, signed
from medloss.scoring.tensors.maps import equals, largest

_ZERO, _HALF, _ONE, _NEAR = map(np.float32, (0, 0.5, 1, ROUNDING))


class Maps(NamedTuple):
    """Two label maps.

    Args:
        reference: label map.
        prediction: label map.
        labels: those to score.
        probabilities: of each of them, or ``None`` if they are not known.
    """

    reference: NDArray[Any] | Tensor
    prediction: NDArray[Any] | Tensor
    labels: Sequence[int]
    probabilities: Mapping[int, NDArray[Any]] | None = None


def item_spacings(
    y_pred: Tensor, y: Tensor, spacing: Any, *, needed: bool
) -> Spacing | Sequence[None]:
    """Spacing of every item of a batch: as given, or that of a MetaTensor.

    Args:
        y_pred: prediction, batch first.
        y: reference, asked first.
        spacing: what the user gave, or ``None``.
        needed: whether the metric measures anything in mm.

    Raises:
        ValueError: it is needed, and nothing tells, or a MetaTensor no longer can.
    """
    batch, axes = len(y), y.ndim - 2
    if not needed:
        return [None] * batch
    given = None if spacing is None else parse_spacing(spacing, batch=batch, axes=axes)
    found: Spacing | None = SpacingSource(given, y, y_pred, batch=batch, axes=axes).read()
    if found is None:
        raise ValueError(
            "spacing: distances need the size of a voxel; call with MetaTensors or with "
            "spacing=(mm, mm, mm), or make the metric with spacing_mm=(mm, mm, mm), or with "
            "spacing_mm='voxel' for distances in voxels"
        )
    return found


def in_a_row(tensor: Tensor) -> Tensor:
    r"""(B, C, \*spatial) of any number of axes as a 2D image of one column, which counts alike."""
    return tensor if tensor.ndim < 3 else _unwrapped(tensor).flatten(2).unsqueeze(-1)


def ignored_voxels(
    y: Tensor, mask: Tensor | None, ignore_index: int | None
) -> tuple[Tensor, Sequence[NDArray[np.bool_] | Tensor | None]]:
    """The reference with background where it is ignored, and for each item where that is.

    Args:
        y: reference, batch first.
        mask: (B, 1, *spatial), voxels of 0 do not count; or ``None``.
        ignore_index: label of a reference of label maps whose voxels do not count, or ``None``.

    Raises:
        ValueError: a mask of another shape, or a label to ignore in channels.
    """
    ignored = None
    if mask is not None:
        if mask.shape != y[:, :1].shape:
            raise ValueError(f"mask: expected {list(y[:, :1].shape)}, got {list(mask.shape)}")
        ignored = ~left_out("mask", _plain(mask), tuple(mask.shape))
    if ignore_index is not None:
        if y.shape[1] != 1:
            raise ValueError(
                f"ignore_index: expected y as label maps (B, 1, *spatial), got {list(y.shape)}"
            )
        marked = equals(_unwrapped(y), ignore_index)
        y = _plain(y)
        y = torch.where(marked, torch.zeros_like(y), y)
        ignored = marked if ignored is None else ignored | marked
    if ignored is None:
        return y, [None] * len(y)
    return y, list(_handed(ignored[:, 0], stays_on_device(ignored)))


def item_cases(
    y_pred: Tensor,
    y: Tensor,
    num_classes: int | None,
    *,
    background: bool,
    probabilities: bool = False,
) -> Iterator[list[Maps]]:
    """Pairs of maps of every item: one pair of label maps, or one pair of masks for each channel.

    Channels may overlap (multi-label): each is a case of its own.

    Args:
        y_pred: prediction (B, C, *spatial) of 0 and 1, or label maps (B, 1, *spatial).
        y: reference, likewise.
        num_classes: number of labels of label maps; without it there are only channels.
        background: whether label or channel 0 is scored too; a single channel always is.
        probabilities: whether the prediction is (B, C, *spatial) probabilities of the classes. A
            class is then predicted where its probability is at least 0.5.

    Raises:
        ValueError: shapes that do not fit, or values that are neither.
    """
    if y.ndim not in (4, 5) or y_pred.ndim != y.ndim or y_pred[:, :1].shape != y[:, :1].shape:
        raise ValueError(
            f"y_pred: expected (B, C, *spatial) in 2D or 3D to match y {list(y.shape)}, "
            f"got {list(y_pred.shape)}"
        )
    is_map = [num_classes is not None and tensor.shape[1] == 1 for tensor in (y_pred, y)]
    is_map[0] &= not probabilities
    classes = num_classes or y.shape[1]
    first = 0 if background or classes == 1 else 1
    both = (("y_pred", y_pred, is_map[0]), ("y", y, is_map[1]))
    for name, tensor, holds_labels in both:
        if not holds_labels and tensor.shape[1] != classes:
            raise ValueError(f"{name}: expected {classes} channels, got {tensor.shape[1]}")
    stay = stays_on_device(y, y_pred) and not probabilities
    if all(is_map):
        predictions, references = (
            _handed(_labels(name, tensor, classes)[:, 0], stay) for name, tensor, _ in both
        )
        for prediction, reference in zip(predictions, references, strict=True):
            yield [Maps(reference, prediction, range(first, classes))]
        return

    def masks(name: str, tensor: Tensor, holds_labels: bool) -> NDArray[np.bool_] | Tensor:
        if not holds_labels:
            return _handed(_masks(name, tensor[:, first:]), stay)
        scored = torch.arange(first, classes, device=tensor.device)
        shaped = scored.view(-1, *(1,) * (y.ndim - 2))
        return _handed(_labels(name, tensor, classes) == shaped, stay)

    references = masks(*both[1])
    if probabilities:
        for chances, reference in zip(_chances(y_pred[:, first:]), references, strict=True):
            pairs = zip(reference, chances, strict=True)
            yield [Maps(r, p >= 0.5, (1,), {1: p}) for r, p in pairs]
        return
    predictions = masks(*both[0])
    for prediction, reference in zip(predictions, references, strict=True):
        yield [Maps(r, p, (1,)) for r, p in zip(reference, prediction, strict=True)]


def _chances(tensor: Tensor) -> NDArray[Any]:
    tensor = _plain(tensor).float()
    bad = ~((tensor >= 0) & (tensor <= 1))  # NaN is bad too
    if bad.any():
        raise ValueError(
            f"y_pred: expected probabilities from 0 to 1, got values from {float(tensor.min()):g} "
            f"to {float(tensor.max()):g}; apply the activation first"
        )
    chances: NDArray[Any] = tensor.cpu().numpy()
    return chances


def stays_on_device(*tensors: Tensor) -> bool:
    """Whether metrics of these tensors are computed where they are: on one CUDA device."""
    return tensors[0].is_cuda and len({tensor.device for tensor in tensors}) == 1


def _handed(tensor: Tensor, stay: bool) -> NDArray[Any] | Tensor:
    return tensor if stay else tensor.cpu().numpy()


def _masks(name: str, tensor: Tensor) -> Tensor:
    tensor = _plain(tensor)
    if tensor.dtype == torch.float32 and tensor.device.type == "cpu":
        array = tensor.numpy(force=True)
        # no copy where only the first channel is left out
        rows = array.reshape(len(array), math.prod(array.shape[1:]))
        out = np.empty(rows.shape, dtype=np.bool_)
        if all(threads.run(len(rows), lambda n: _binarised(rows[n], out[n]), rows.size)):
            return torch.from_numpy(out.reshape(array.shape))
    foreground = tensor > 0.5 if tensor.is_floating_point() else tensor != 0
    off = tensor != foreground
    if tensor.is_floating_point():
        off = ~((tensor - foreground.to(tensor)).abs() <= ROUNDING)  # NaN is off
    if off.any():
        raise ValueError(
            f"{name}: expected only 0 and 1, got {tensor[off][0].item()!r}, among values from "
            f"{float(tensor.min()):g} to {float(tensor.max()):g}; binarise probabilities first "
            f"(AsDiscrete), or give num_classes for label maps"
        )
    return foreground


@Loops("metrics").kernel
def _binarised(values: Any, mask: Any) -> Any:
    """Write where float32 values are 1, up to rounding; whether they are 0 everywhere else."""
    good = True
    for n in range(values.size):
        one = values[n] > _HALF
        mask[n] = one
        # NaN is not
        good &= abs(values[n] - (_ONE if one else _ZERO)) <= _NEAR
    return good


def _labels(name: str, tensor: Tensor, classes: int) -> Tensor:
    tensor = _plain(tensor)
    whole = tensor.round() if tensor.is_floating_point() else tensor
    # torch would wrap a number that the type of the map cannot hold
    most = min(classes - 1, largest(tensor))
    good = (whole >= 0) & (whole <= most)
    if tensor.is_floating_point():
        good &= (tensor - whole).abs() <= ROUNDING
    if not good.all():
        raise ValueError(
            f"{name}: expected label maps of whole numbers from 0 to {classes - 1}, got "
            f"{tensor[~good][0].item()!r}"
        )
    return whole.to(torch.uint8 if classes <= 256 else torch.int32)


def _plain(tensor: Tensor) -> Tensor:
    """Without history and wrapper, of a type that torch computes with."""
    plain = _unwrapped(tensor)
    return plain if plain.is_floating_point() else signed(plain)


def _unwrapped(tensor: Tensor) -> Tensor:
    plain: Tensor = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
    if plain.is_complex():
        raise TypeError(f"expected real numbers, got {plain.dtype}")
    return plain.detach()
