"""One look at the least and the largest of all values that a call reads: now, later, or never.

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

from medloss.runtime.eager import numbers_may_be_read

VARIABLE = "MEDLOSS_CHECKS"
MODES = ("sync", "late", "off")
Mode = Literal["sync", "late", "off"]

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
    if mode not in MODES:
        raise ValueError(f"{name}: expected one of {', '.join(MODES)}, got {mode!r}")
    return mode  # type: ignore[return-value]


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
        self._bounds: list[Tensor] = []
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
        self._bounds.append(torch.stack((low, high)))
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
        if self._bounds:
            bounds = torch.stack([each.to(self._wide()) for each in self._bounds])
            if self.mode == "sync":
                pairs = bounds.tolist()
                wrong = _judged(pairs, self._judges)
                if wrong:
                    raise ValueError(wrong)
                if any(low != low for low, _ in pairs):  # which was not judged wrong
                    return torch.full((), torch.nan, device=self.device)
            else:
                self._send(bounds)
        if not self._floats:
            return None
        return 1 + 0 * torch.stack([each.float() for each in self._floats]).sum()

    def _wide(self) -> torch.dtype:
        """What holds all bounds."""
        if not any(each.is_floating_point() for each in self._bounds):
            return torch.int64
        return torch.float32 if self.device.type == "mps" else torch.float64

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
