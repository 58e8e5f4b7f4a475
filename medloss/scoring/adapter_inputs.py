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

from medloss.objects.planes import PLANES, Plane, planes_of
from medloss.objects.spacing import Spacing, SpacingSource, parse_spacing
from medloss.runtime import threads
from medloss.runtime.compiling import Loops
from medloss.scoring.inputs import ROUNDING, left_out, signed, to_array
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


def item_planes(y_pred: Tensor, y: Tensor) -> list[tuple[Plane, ...]]:
    """The planes of the slices along the axes of every item: those of RAS where nothing tells.

    Args:
        y_pred: prediction, batch first.
        y: reference, asked first.

    Raises:
        ValueError: a MetaTensor no longer tells which of its affines belong to these items.
    """
    batch = len(y)
    for tensor in (y, y_pred):
        if isinstance(tensor, MetaTensor) and y.ndim == 5:
            affines = list(tensor.affine) if tensor.is_batch else [tensor.affine]
            found = [planes_of(np.asarray(affine)) for affine in affines]
            if len(found) == batch:
                return found
            if len({*found}) == 1:
                return found[:1] * batch
            raise ValueError(
                f"axis: expected the number of an axis, as the MetaTensor has {len(found)} "
                f"orientations and does not tell which of them belong to these {batch} samples"
            )
    return [PLANES] * batch


def in_a_row(tensor: Tensor) -> Tensor:
    r"""(B, C, \*spatial) of any number of axes as a 2D image of one column, which counts alike."""
    return tensor if tensor.ndim < 3 else _unwrapped(tensor).flatten(2).unsqueeze(-1)


def ignored_voxels(
    y: Tensor, mask: Tensor | None, ignore_index: int | None
) -> tuple[Tensor, NDArray[np.bool_] | Tensor | None]:
    """The reference with background where it is ignored, and where that is, (B, *spatial).

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
        return y, None
    return y, _handed(ignored[:, 0], stays_on_device(ignored))


def in_channels(y_pred: Tensor, y: Tensor, num_classes: int | None) -> Tensor:
    """The reference in as many channels as the prediction has, where it alone is a label map.

    Args:
        y_pred: prediction.
        y: reference, batch first; without its ignored voxels.
        num_classes: number of labels of label maps, where the user says it.

    Raises:
        ValueError: values that are no label of these channels.
    """
    classes = y_pred.shape[1] if y_pred.ndim > 1 else 1
    if num_classes is not None or y.ndim < 2 or y.shape[1] != 1 or classes == 1:
        return y
    return _scored_masks("y", y, True, range(classes))


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
    is_map, first, classes = _layout(y_pred, y, num_classes, background, probabilities)
    stay = stays_on_device(y, y_pred) and not probabilities
    if all(is_map):
        predictions, references = (
            _handed(_labels(name, tensor, classes)[:, 0], stay)
            for name, tensor in (("y_pred", y_pred), ("y", y))
        )
        for prediction, reference in zip(predictions, references, strict=True):
            yield [Maps(reference, prediction, range(first, classes))]
        return

    scored = range(first, classes)
    references = _handed(_scored_masks("y", y, is_map[1], scored), stay)
    if probabilities:
        for chances, reference in zip(_chances(y_pred[:, first:]), references, strict=True):
            pairs = zip(reference, chances, strict=True)
            yield [Maps(r, p >= 0.5, (1,), {1: p}) for r, p in pairs]
        return
    predictions = _handed(_scored_masks("y_pred", y_pred, is_map[0], scored), stay)
    for prediction, reference in zip(predictions, references, strict=True):
        yield [Maps(r, p, (1,)) for r, p in zip(reference, prediction, strict=True)]


def batch_counts(
    y_pred: Tensor,
    y: Tensor,
    num_classes: int | None,
    ignored: NDArray[np.bool_] | Tensor | None,
    *,
    background: bool,
) -> tuple[NDArray[np.int64], list[int]]:
    """Voxels of every item and class, in one pass over the batch: what :func:`item_cases` holds.

    Args:
        y_pred: prediction, as for :func:`item_cases`.
        y: reference, likewise.
        num_classes: number of labels of label maps.
        ignored: (B, *spatial), where voxels do not count; ``None`` for nowhere.
        background: whether label or channel 0 is scored too.

    Returns:
        For each item and class the voxels of the reference, the prediction and both, (B, C, 3); and
        the voxels of each item that count.
    """
    is_map, first, classes = _layout(y_pred, y, num_classes, background, False)
    batch, voxels = len(y), math.prod(y.shape[2:])
    keep = np.zeros((batch, 0), np.uint8)
    counted = [voxels] * batch
    if ignored is not None:
        keep = np.logical_not(to_array(ignored)).reshape(batch, voxels).view(np.uint8)
        counted = np.count_nonzero(keep, axis=1).tolist()
    scored = range(first, classes)
    if not batch or not voxels or not scored:
        return np.zeros((batch, len(scored), 3), np.int64), counted
    if all(is_map):
        maps = (_labels(name, each, classes) for name, each in (("y", y), ("y_pred", y_pred)))
        one, other = (each.contiguous().cpu().numpy().reshape(batch, voxels) for each in maps)
        found = np.zeros((batch, classes, 3), np.int64)
        threads.run(batch, lambda n: _count_labels(one, other, keep, n, found), one.size)
        return found[:, first:], counted
    one, other = (
        _scored_masks(name, each, is_labels, scored).contiguous().cpu().numpy()
        for name, each, is_labels in (("y", y, is_map[1]), ("y_pred", y_pred, is_map[0]))
    )
    one, other = (each.view(np.uint8).reshape(-1, voxels) for each in (one, other))
    table = np.zeros((len(one), 3), np.int64)
    pieces = 1 if one.size < threads.EACH else len(one)
    edges = [n * len(one) // pieces for n in range(pieces + 1)]

    def count(n: int) -> None:
        _count_masks(one, other, keep, len(scored), edges[n], edges[n + 1], table)

    threads.run(pieces, count)
    return table.reshape(batch, len(scored), 3), counted


_loops = Loops("metrics")


@_loops.kernel
def _count_labels(reference: Any, prediction: Any, keep: Any, item: int, out: Any) -> None:
    a, b = reference[item], prediction[item]
    for n in range(a.size):
        if keep.size == 0 or keep[item, n]:
            out[item, a[n], 0] += 1
            out[item, b[n], 1] += 1
            if a[n] == b[n]:
                out[item, a[n], 2] += 1


@_loops.kernel
def _count_masks(
    reference: Any, prediction: Any, keep: Any, channels: int, first: int, last: int, out: Any
) -> None:
    """Count in the rows ``first`` to ``last``, ``channels`` for each item."""
    for row in range(first, last):
        a, b = reference[row], prediction[row]
        one, other, both = 0, 0, 0
        if keep.size:
            counts = keep[row // channels]
            for n in range(a.size):
                one += a[n] & counts[n]
                other += b[n] & counts[n]
                both += a[n] & b[n] & counts[n]
        else:
            for n in range(a.size):
                one += a[n]
                other += b[n]
                both += a[n] & b[n]
        out[row, 0], out[row, 1], out[row, 2] = one, other, both


def _layout(
    y_pred: Tensor, y: Tensor, num_classes: int | None, background: bool, probabilities: bool
) -> tuple[list[bool], int, int]:
    """Whether the prediction and the reference are label maps, the first class scored, how many."""
    shape, other = y.shape, y_pred.shape
    fits = len(other) == len(shape) and other[0] == shape[0] and other[2:] == shape[2:]
    if len(shape) not in (4, 5) or not fits:
        raise ValueError(
            f"y_pred: expected (B, C, *spatial) in 2D or 3D to match y {list(y.shape)}, "
            f"got {list(y_pred.shape)}"
        )
    is_map = [num_classes is not None and tensor.shape[1] == 1 for tensor in (y_pred, y)]
    is_map[0] &= not probabilities
    classes = num_classes or y.shape[1]
    first = 0 if background or classes == 1 else 1
    for name, tensor, holds_labels in zip(("y_pred", "y"), (y_pred, y), is_map, strict=True):
        if not holds_labels and tensor.shape[1] != classes:
            raise ValueError(f"{name}: expected {classes} channels, got {tensor.shape[1]}")
    return is_map, first, classes


def _scored_masks(name: str, tensor: Tensor, holds_labels: bool, scored: range) -> Tensor:
    """(B, scored, *spatial) of bool."""
    if not holds_labels:
        return _masks(name, tensor[:, scored.start :] if scored.start else tensor)
    labels = torch.arange(scored.start, scored.stop, device=tensor.device)
    shaped = labels.view(-1, *(1,) * (tensor.ndim - 2))
    return _labels(name, tensor, scored.stop) == shaped


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


def on_host(*tensors: Tensor) -> bool:
    """Whether metrics of these tensors are computed by compiled loops on the CPU."""
    return not stays_on_device(*tensors)


def _handed(tensor: Tensor, stay: bool) -> NDArray[Any] | Tensor:
    return tensor if stay else tensor.cpu().numpy()


def _masks(name: str, tensor: Tensor) -> Tensor:
    tensor = _plain(tensor)
    if tensor.dtype == torch.bool:
        return tensor
    if tensor.device.type == "cpu" and tensor.numel():
        halves = tensor.dtype in (torch.float16, torch.bfloat16)
        array = (tensor.float() if halves else tensor).numpy(force=True)
        # no copy of what is large where only the first channel is left out
        rows = array.reshape(1 if array.size < threads.EACH else len(array), -1)
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


@_loops.kernel
def _binarised(values: Any, mask: Any) -> Any:
    """Write where values are 1, up to rounding; whether they are 0 everywhere else."""
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
