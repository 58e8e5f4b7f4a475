"""Two label maps as tensors of codes on one device, and what of them one class needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medloss.objects.labels import held, readable
from medloss.scoring.inputs import signed
from medloss.scoring.maps import MOST_CODES, MOST_CONFUSED, code_places

Cut = tuple[slice, ...]


def tensor_of(array: NDArray[Any] | Tensor, device: Any = None) -> Tensor:
    """An array as a contiguous tensor; it is turned round, if need be, on the device.

    Args:
        array: of integers or bool.
        device: where to, ``None`` for the CPU, or where the tensor is.
    """
    if isinstance(array, Tensor):
        plain: Tensor = signed(array.detach().as_subclass(Tensor))
        return plain.to(device).contiguous()
    native = signed(array)
    if native.dtype.kind == "u" and native.dtype.itemsize > 1:  # torch computes with few of them
        native = native.astype(np.int32 if native.dtype.itemsize == 2 else np.int64)
    if not native.flags.writeable or min(native.strides, default=0) < 0:
        native = native.copy(order="K" if min(native.strides, default=0) >= 0 else "C")
    return torch.from_numpy(native).to(device).contiguous()


def largest(tensor: Tensor) -> int:
    """The largest whole number that a tensor of such a type can hold, of floats enough."""
    if tensor.dtype == torch.bool:
        return 1
    return 1 << 62 if tensor.is_floating_point() else torch.iinfo(tensor.dtype).max


def equals(tensor: Tensor, value: int) -> Tensor:
    """Where a tensor has a value: nowhere if its type cannot hold it, which torch would wrap.

    Example:
        >>> equals(torch.tensor([156], dtype=torch.uint8), -100)
        tensor([False])
    """
    number = held(value, tensor.dtype)
    if number is None:
        return torch.zeros_like(tensor, dtype=torch.bool)
    return readable(tensor) == number


class TensorMasks(NamedTuple):
    """One class in the smallest box that holds it in both maps.

    Args:
        reference: where the reference has it, bool.
        prediction: where the prediction has it.
        cut: the box, in the whole maps.
    """

    reference: Tensor
    prediction: Tensor
    cut: Cut


class TensorMaps:
    """Reference and prediction in codes, on one device.

    Args:
        reference: label map, 2D or 3D, integers or bool.
        prediction: label map of the same shape, on the same device.
        labels: those that will be asked for.
        ignored: where it is not 0, voxels do not count.

    Raises:
        ValueError: maps on different devices.
    """

    def __init__(
        self,
        reference: Tensor,
        prediction: Tensor,
        labels: Sequence[int],
        ignored: Tensor | None = None,
    ) -> None:
        if reference.device != prediction.device:
            raise ValueError(
                f"prediction: expected it on the device of the reference, {reference.device}, "
                f"got {prediction.device}"
            )
        plain = [
            m.view(torch.uint8) if m.dtype == torch.bool else m for m in (reference, prediction)
        ]
        self.codes, self.many, (self.reference, self.prediction) = _coded(plain, labels)
        self.ignored = None if ignored is None else (ignored != 0).to(reference.device)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Voxels of each code that the reference, the prediction and both have, (3, codes)."""
        one, other = self._counted()
        each = (one, other, one[one == other])
        return torch.stack([torch.bincount(m, minlength=self.many) for m in each]).cpu().numpy()

    @cached_property
    def confused(self) -> NDArray[np.int64] | None:
        """As :attr:`medloss.scoring.maps.LabelMaps.confused`; waits for the device."""
        if len(self.codes) > MOST_CONFUSED:
            return None
        one, other = self._counted()
        wrong = one != other
        places = torch.from_numpy(code_places(self.codes, self.many).astype(np.int64))
        rows, columns = (places.to(m.device)[m[wrong].long()] for m in (one, other))
        many = len(self.codes) + 1
        found = torch.bincount(rows * many + columns, minlength=many * many)
        return found.reshape(many, many).cpu().numpy()

    def _counted(self) -> tuple[Tensor, Tensor]:
        """The codes of the voxels that count, one after the other."""
        one, other = self.reference.flatten(), self.prediction.flatten()
        if self.ignored is not None:
            counted = ~self.ignored.flatten()
            one, other = one[counted], other[counted]
        return one, other

    def window(
        self, code: int, prediction: bool, first: NDArray[np.int64], last: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """As :meth:`medloss.scoring.maps.LabelMaps.window`; waits for the device."""
        masks = self.masks(code)
        if masks is None:
            return np.zeros((0, 0, 0), dtype=bool), first
        flat = (slice(0, 1),) * (3 - len(masks.cut))
        cut = (*flat, *masks.cut)
        low = np.array([side.start for side in cut])
        first = np.maximum(first, low)
        end = np.minimum(last + 1, [side.stop for side in cut])
        box = tuple(slice(a, max(a, b)) for a, b in zip(first - low, end - low, strict=True))
        mask = (masks.prediction if prediction else masks.reference)[(None,) * len(flat)]
        return mask[box].cpu().numpy(), first

    @property
    def any_ignored(self) -> bool:
        """Whether some voxels may not count."""
        return self.ignored is not None

    @cached_property
    def voxels(self) -> int:
        """Voxels that count."""
        ignored = 0 if self.ignored is None else int(self.ignored.count_nonzero())
        return self.reference.numel() - ignored

    def masks(self, code: int) -> TensorMasks | None:
        """A class by its code; ``None`` if neither map has it. Waits for the device."""
        reference, prediction = equals(self.reference, code), equals(self.prediction, code)
        either, cut = reference | prediction, []
        for axis in range(either.ndim):
            others = [n for n in range(either.ndim) if n != axis]
            held = either.any(dim=others).cpu().nonzero()
            if not len(held):
                return None
            cut.append(slice(int(held[0]), int(held[-1]) + 1))
        box = tuple(cut)
        return TensorMasks(reference[box], prediction[box], box)


def _coded(
    maps: Sequence[Tensor], labels: Sequence[int]
) -> tuple[dict[int, int], int, list[Tensor]]:
    """Code of each label, one more than the largest code, and the maps in codes.

    Labels serve as codes where they can.
    """
    bounds = [bound for m in maps if m.numel() for bound in m.aminmax()]
    found = torch.stack([bound.long() for bound in bounds]).tolist() if bounds else []
    values = [*found, *labels, 0]
    if min(values) >= 0 and max(values) < MOST_CODES:
        return {label: label for label in labels}, max(values) + 1, [*maps]
    known = sorted(set(labels))
    if len(known) >= MOST_CODES:
        raise ValueError(f"labels: expected fewer than {MOST_CODES}, got {len(known)}")
    table = torch.tensor(known, device=maps[0].device)
    coded = []
    for each in maps:
        place = torch.searchsorted(table, each.long()).clamp_max_(len(known) - 1)
        coded.append(torch.where(table[place] == each, place + 1, 0))
    return {label: n + 1 for n, label in enumerate(known)}, len(known) + 1, coded
