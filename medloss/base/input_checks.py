"""What a call reads is checked: shapes and dtypes at once, values in one look, now, later or never.

To compare values with what is allowed the host waits for the device. ``sync`` waits, and the call
that is wrong raises. ``late`` copies the bounds to the host meanwhile, and a later call raises.
``off`` looks at nothing: labels that are out of range then belong to no class, and NaN stays NaN.
Nothing is looked at, whatever was chosen, while a CUDA graph is captured, torch.compile traces or
torch.func transforms.
"""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from medloss.objects.labels import as_index, as_values, held, readable, told
from medloss.runtime.eager import numbers_may_be_read
from medloss.sums import work_dtype

VARIABLE = "MEDLOSS_CHECKS"
Mode = Literal["sync", "late", "off"]
MODES: tuple[Mode, ...] = ("sync", "late", "off")

Judge = Callable[[float, float], str | None]
"""What is wrong with values from the first number to the second, or None."""

_chosen: Mode | None = None


def set_value_checks(mode: Mode | None) -> None:
    """When losses look at the range of labels, probabilities and masks.

    Args:
        mode: ``"sync"``: in the call, which waits for the device; ``"late"``: in a later call,
            nothing waits; ``"off"``: never. None: as the environment variable ``MEDLOSS_CHECKS``
            says, else ``"late"`` for tensors on a CUDA device and ``"sync"`` for others.

    Raises:
        ValueError: another mode.

    Example:
        >>> import medloss
        >>> medloss.set_value_checks("off")
        >>> medloss.set_value_checks(None)
    """
    global _chosen
    _chosen = None if mode is None else _checked(mode, "mode")


def _checked(mode: str, name: str) -> Mode:
    for known in MODES:
        if mode == known:
            return known
    raise ValueError(f"{name}: expected one of {', '.join(MODES)}, got {mode!r}")


def mode_for(device: torch.device) -> Mode:
    """What applies to values on a device now."""
    if device.type == "meta" or not numbers_may_be_read():
        return "off"
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return "off"
    if _chosen is not None:
        return _chosen
    named = os.environ.get(VARIABLE)
    if named:
        return _checked(named, VARIABLE)
    return "late" if device.type == "cuda" else "sync"


class _Pending(NamedTuple):
    """A look whose numbers are on their way to the host."""

    bounds: Tensor
    judges: Sequence[Judge]
    arrived: Callable[[], bool]


_pending: collections.deque[_Pending] = collections.deque()
_lock = threading.Lock()


def finish_value_checks() -> None:
    """Wait for all late checks, and raise what they found.

    Raises:
        ValueError: an earlier call was wrong.
    """
    _raise_late(wait=True)


def nothing_to_tell() -> bool:
    """Whether no look of an earlier call waits for its judgement, and the variable names a mode."""
    return not _pending and os.environ.get(VARIABLE, "") in ("", *MODES)


def _raise_late(*, wait: bool) -> None:
    while True:
        with _lock:
            if not _pending or not (wait or _pending[0].arrived()):
                return
            look = _pending.popleft()
            while wait and not look.arrived():
                torch.accelerator.synchronize()
            wrong = _judged(look.bounds.tolist(), look.judges)
            if wrong:
                _pending.clear()
        if wrong:
            raise ValueError(
                f"{wrong} (in an earlier call; {VARIABLE}=sync finds it in the call itself)"
            )


class Look:
    """What one call wants to have looked at; all of it is fetched together.

    Args:
        device: where the values are.
    """

    def __init__(self, device: torch.device) -> None:
        self.mode = mode_for(device)
        self.device = device
        self._bounds: list[tuple[Tensor, Tensor]] = []
        self._judges: list[Judge] = []
        self._floats: list[Tensor] = []
        if self.mode != "off":
            _raise_late(wait=False)

    @property
    def sure(self) -> bool:
        """Whether the call ends here if anything is wrong, so that the rest may rely on it."""
        return self.mode == "sync"

    def at(self, values: Tensor, judge: Judge) -> None:
        """Judge the least and the largest of some values; both are NaN where any is."""
        if values.numel() == 0 or values.dtype == torch.bool:
            return
        float_ = values.is_floating_point()
        if self.mode == "off":
            if float_:
                self._floats.append(values.detach().amin())
            return
        low, high = least_and_largest(values.detach())
        self._bounds.append((low, high))
        self._judges.append(judge)
        if float_ and self.mode == "late":
            self._floats.append(low)

    def for_nan(self, values: Tensor) -> None:
        """Have a NaN of a map told, of which a loss may read a part; no host waits for it."""
        if values.is_floating_point():
            self._floats.append(values.detach().sum().clamp(0, 0))  # 0 of infinity too

    def finish(self) -> Tensor | None:
        """Fetch and judge, or have it fetched.

        Returns:
            A factor for what is computed: 1, or NaN where a float that was read is not finite;
            None where no such float can be left.

        Raises:
            ValueError: the first thing that is wrong.
        """
        if self._bounds and self.mode == "late":
            self._send(self._together())
        elif self._bounds:
            pairs = self._together().tolist()
            wrong = _judged(pairs, self._judges)
            if wrong:
                raise ValueError(wrong)
            if any(low != low for low, _ in pairs):  # which was not judged wrong
                return torch.full((), torch.nan, device=self.device)
        if not self._floats:
            return None
        return 1 + 0 * torch.stack([each.float() for each in self._floats]).sum()

    def _together(self) -> Tensor:
        """All bounds in one tensor, of a dtype that holds them: one transfer fetches it."""
        wide = torch.int64
        if any(each.is_floating_point() for each, _ in self._bounds):
            wide = torch.float32 if self.device.type == "mps" else torch.float64
        rows = [torch.stack(pair).to(wide) for pair in self._bounds]
        return torch.stack(rows) if len(rows) > 1 else rows[0][None]

    def _send(self, bounds: Tensor) -> None:
        arrived: Callable[[], bool] = lambda: True  # noqa: E731
        if bounds.device.type == "cuda":
            there = torch.empty(bounds.shape, dtype=bounds.dtype, pin_memory=True)
            there.copy_(bounds, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(bounds.device))
            bounds, arrived = there, event.query
        with _lock:
            _pending.append(_Pending(bounds, tuple(self._judges), arrived))


def _judged(pairs: list[list[float]], judges: Sequence[Judge]) -> str | None:
    for (low, high), judge in zip(pairs, judges, strict=True):
        wrong = judge(low, high)
        if wrong:
            return wrong
    return None


def least_and_largest(values: Tensor) -> tuple[Tensor, Tensor]:
    """Both, of any dtype that torch or a compiled loop can order; NaN where there is one."""
    if values.dtype == torch.int64 and values.device.type == "cpu" and values.is_contiguous():
        # torch's own takes three times as long: it does not vectorise 64-bit integers
        from medloss.sums.cpu.stored import bounds

        return bounds(values)
    found: Any = values.aminmax()
    return found.min, found.max


STORED = (torch.float16, torch.bfloat16)
"""Dtypes in which maps are read as they are."""


def plain_tensor(tensor: Any, name: str) -> Tensor:
    """The plain tensor inside a MetaTensor or other wrapper, gradient history kept."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(tensor).__name__}")
    if tensor.is_complex():
        raise TypeError(f"{name}: expected real numbers, got {tensor.dtype}")
    if type(tensor) is not Tensor and hasattr(tensor, "as_tensor"):
        plain: Tensor = tensor.as_tensor()
        return plain
    return tensor


def no_probabilities(low: float, high: float) -> str | None:
    """What is wrong with values from ``low`` to ``high`` as probabilities, or None."""
    if low < 0 or high > 1:  # a NaN is not judged: it comes out as NaN, as that of a logit does
        return (
            f"input: expected probabilities in [0, 1], got values in [{low:.4g}, {high:.4g}]; "
            f"for logits pass softmax=True (exclusive classes) or sigmoid=True"
        )
    return None


def checked_target(
    label: Tensor, values: Tensor, ignore_index: int | None, mask: Tensor | None, look: Look
) -> tuple[Tensor, Tensor | None]:
    """The target and, where something is ignored, which voxels are not."""
    classes, came = values.shape[1], label.dtype
    label = readable(label)
    ignored = _ignored(label, came, classes, ignore_index)
    counts = ignored
    if mask is not None:
        counts = mask != 0 if ignored is None else ignored & (mask != 0)
    kept = label
    if counts is not None and came != torch.bool:
        kept = torch.where(counts, label, torch.zeros_like(label))
    if label.shape[1] > 1 or classes == 1:
        why = (
            "a single class holds values in [0, 1]"
            if classes == 1
            else "a target with one channel for each class holds values in [0, 1]"
        )
        look.at(kept, _out_of_range(1, why, came))
        return as_values(kept, mode=look.mode), ignored
    look.at(kept, _out_of_range(classes - 1, f"the input has {classes} classes", came))
    if kept.is_floating_point() and look.mode != "off":
        look.at((kept - kept.round()).abs(), _fractions)
    return as_index(kept, classes, sure=look.sure), ignored


def _ignored(
    label: Tensor, came: torch.dtype, classes: int, ignore_index: int | None
) -> Tensor | None:
    """(B, 1, *spatial) bool, the voxels that are not to be ignored."""
    if ignore_index is None:
        return None
    if label.shape[1] == 1:
        number = held(ignore_index, came)
        return None if number is None else label != number
    # A NaN is not ignored.
    if 0 <= ignore_index < classes:
        return ~(label[:, ignore_index : ignore_index + 1] > 0.5)
    return (label != 0).any(1, keepdim=True)


def _out_of_range(highest: int, why: str, came: torch.dtype) -> Judge:
    def judge(low: float, high: float) -> str | None:
        if low >= 0 and high <= highest:
            return None
        logits = came.is_floating_point and not (low.is_integer() and high.is_integer())
        return (
            f"target: expected labels from 0 to {highest} ({why}), got {told(low, high, came)}; "
            + (
                "input comes first and target second: loss(input, target)"
                if logits
                else "pass ignore_index for voxels to leave out"
            )
        )

    return judge


def _fractions(low: float, high: float) -> str | None:
    if high == 0:
        return None
    return (
        "target: expected whole class indices in one channel, got fractions; "
        "soft labels need one channel for each class"
    )


def checked_mask(given: Tensor | None, values: Tensor, look: Look) -> Tensor | None:
    """The mask in the dtype that is computed in, values in [0, 1]."""
    if given is None:
        return None
    mask = _of_each_voxel(given, "mask", values)
    look.at(mask, _no_weights)
    return mask.to(work_dtype(values))


def _of_each_voxel(given: Any, name: str, values: Tensor) -> Tensor:
    """(B, 1, *spatial), on the device of the input."""
    found = readable(plain_tensor(given, name).to(values.device))
    expected = [values.shape[0], 1, *values.shape[2:]]
    if list(found.shape) != expected:
        raise ValueError(f"{name}: expected {expected}, got {list(found.shape)}")
    return found


def _no_weights(low: float, high: float) -> str | None:
    if low >= 0 and high <= 1:
        return None
    return f"mask: expected values in [0, 1], got {low:g} to {high:g}"


def checked_present(present: Any, values: Tensor, look: Look) -> Tensor | None:
    """Which classes were annotated, (B, C) bool."""
    if present is None:
        return None
    annotated = readable(torch.as_tensor(present, device=values.device))
    expected = list(values.shape[:2])
    if list(annotated.shape) != expected:
        raise ValueError(f"present: expected {expected}, got {list(annotated.shape)}")
    if annotated.is_floating_point() and look.mode != "off":
        look.at((annotated - annotated.round()).abs(), _no_flags)
    look.at(annotated, _no_flags)
    return annotated.bool()


def _no_flags(low: float, high: float) -> str | None:
    if low in (0, 1) and high in (0, 1):
        return None
    return f"present: expected booleans, or 0 and 1, got {low:g} to {high:g}"


def checked_components(
    given: Any, values: Tensor, mask: Tensor | None, look: Look
) -> Tensor | None:
    """Numbers of objects, (B, 1, *spatial) int64, 0 where voxels do not count."""
    if given is None:
        return None
    numbers = _of_each_voxel(given, "components", values)
    if mask is not None:
        numbers = torch.where(mask != 0, numbers, torch.zeros_like(numbers))
    look.at(numbers, _no_numbers)
    if numbers.is_floating_point():
        look.at((numbers - numbers.round()).abs(), lambda _, high: _no_numbers(0, -high))
    return numbers.long()


def _no_numbers(low: float, high: float) -> str | None:
    if low >= 0 and high >= 0:
        return None
    whole = "components: expected whole numbers, from 1 on for objects and 0 elsewhere"
    if low < 0:
        return f"components: expected numbers of at least 0, got {low:g} ({whole})"
    return f"{whole}, got others"


def checked_map(
    given: Tensor | None,
    name: str,
    values: Tensor,
    mask: Tensor | None,
    look: Look,
    stays: tuple[torch.dtype, ...] = STORED,
) -> Tensor | None:
    """A ready map of the shape of the input, 0 where voxels do not count."""
    if given is None:
        return None
    plain = plain_tensor(given, name).to(values.device)
    if plain.dtype not in stays:  # the sums read those as they are
        plain = plain.to(work_dtype(values))
    if plain.shape != values.shape:
        raise ValueError(f"{name}: expected {list(values.shape)}, got {list(plain.shape)}")
    if mask is not None and plain.is_floating_point():  # nor has a NaN there any influence
        plain = torch.where(mask != 0, plain, 0)
    look.for_nan(plain)
    return plain
