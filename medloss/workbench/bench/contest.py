"""One contest of losses: first calls, comparison of the values, alternating rounds, memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

import medloss
from medloss.workbench.bench import measure
from medloss.workbench.bench.agreement import Outcome, differences, outcome
from medloss.workbench.bench.copy_speed import Copy
from medloss.workbench.bench.devices import Device
from medloss.workbench.bench.entries import failed, measured
from medloss.workbench.bench.inputs import Inputs
from medloss.workbench.bench.kernels import kernels
from medloss.workbench.bench.peers import SOURCES, Loss, Rival, Variant
from medloss.workbench.bench.results import Contest, Entry

OURS = "medloss"
COPY = "copy"
NOTABLE = 0.01
"""Relative error of a rival's 16-bit value that is worth a note."""

_ERRORS = (RuntimeError, TypeError, ValueError, ArithmeticError, ImportError, AttributeError)
"""What building or calling a loss may raise; torch's errors, memory included, are RuntimeErrors."""


class Subject:
    """A loss that takes part.

    Args:
        entry: what is known of it so far.
        loss: ours or another's.
        inputs: what it is called with.
    """

    def __init__(self, entry: Entry, loss: Loss, inputs: Inputs) -> None:
        self.entry, self.loss, self.inputs = entry, loss, inputs
        self._value: Tensor | None = None

    def step(self) -> None:
        """Forward and backward."""
        value = self.loss(self.inputs.logits, self.inputs.labels)
        value.backward()  # type: ignore[no-untyped-call]
        self._value = value.detach()

    @property
    def value(self) -> float:
        """The value of the last step."""
        return math.nan if self._value is None else float(self._value)

    def first(self, device: Device) -> Tensor:
        """Run and note the first step; returns its gradient.

        Raises:
            RuntimeError: there is no gradient.
        """
        self.inputs.drop_gradient()
        first_s = device.time(self.step).wall_s
        self.entry = replace(self.entry, first_s=first_s, numbers={"value": finite(self.value)})
        gradient = self.inputs.logits.grad
        if gradient is None:
            raise RuntimeError("its backward gives the logits no gradient")
        self.inputs.drop_gradient()
        return gradient

    def entrant(self) -> measure.Entrant:
        """For the rounds."""
        return measure.Entrant(self.entry.name, self.step, self.inputs.drop_gradient)


@dataclass(frozen=True)
class Conditions:
    """What all contests of a table share.

    Args:
        inputs: for every loss.
        device: where they are.
        copy: stands for the memory's speed.
        rounds: of time measurements.
        memory: whether to measure memory.
    """

    inputs: Inputs
    device: Device
    copy: Copy
    rounds: int
    memory: bool


def contest(
    name: str,
    variant: Variant,
    rivals: Sequence[Rival],
    conditions: Conditions,
    tell: Callable[[str], None],
) -> Contest:
    """Measure our loss ``name`` beside its rivals."""
    inputs = conditions.inputs
    title = ", ".join(filter(None, (name, variant.name)))
    tell(f"{title}: first calls")
    before = kernels()
    ours, expected = _ours(name, variant, conditions)
    note = kernels().since(before)
    subjects = [ours, *(_rival(rival, expected, conditions) for rival in rivals)]
    expected = None  # its gradient must not lie in memory from here on
    running = [each.entrant() for each in subjects if each.entry.status in ("ok", "disagrees")]

    copy = measure.Entrant(COPY, conditions.copy)
    times = measure.rounds(
        [*running, copy],
        conditions.rounds,
        conditions.device,
        lambda text: tell(f"{title}: {text}"),
    )
    inputs.drop_gradient()
    extra: dict[str, int] = {}
    if conditions.memory and not conditions.device.no_memory:
        tell(f"{title}: memory")
        extra = measure.memory(running, conditions.device)
    entries = [measured(each.entry, times, extra) for each in subjects]
    return Contest(
        title,
        entries[0],
        tuple(entries[1:]),
        unit_bytes=inputs.logits.nbytes,
        floor_bytes=inputs.floor_bytes,
        copy_bytes=conditions.copy.moved_bytes,
        copy_s=tuple(times[COPY].wall_s),
        notes=(note,),
    )


def finite(value: float) -> float | None:
    """The value for a JSON file, which has neither infinity nor NaN."""
    return value if math.isfinite(value) else None


def _ours(name: str, variant: Variant, conditions: Conditions) -> tuple[Subject, Outcome | None]:
    options: Mapping[str, Any] = {"softmax": True, **variant.options}
    call = ", ".join([repr(name), *(f"{key}={value!r}" for key, value in options.items())])
    entry = Entry(OURS, f"medloss.loss({call})")
    subject = Subject(entry, _refuse, conditions.inputs)
    try:
        subject.loss = medloss.loss(name, **options)
        gradient = subject.first(conditions.device)
    except _ERRORS as error:
        subject.entry = failed(entry, error)
        return subject, None
    return subject, Outcome(subject.value, gradient)


def _rival(rival: Rival, expected: Outcome | None, conditions: Conditions) -> Subject:
    entry = Entry(rival.name, rival.computes)
    subject = Subject(entry, _refuse, conditions.inputs)
    missing = SOURCES[rival.source].why_missing
    if missing:
        subject.entry = replace(entry, status="missing", reason=missing)
        return subject
    try:
        subject.loss = rival.build(conditions.inputs.classes)
        subject.first(conditions.device)
        if rival.differs:
            check: Any = {"check": "other definition", "reason": rival.differs}
            subject.entry = replace(subject.entry, **check)
        elif expected is not None:
            subject.entry = _checked(subject, expected, unique=rival.unique)
    except _ERRORS as error:
        subject.entry = failed(entry, error)
    return subject


def _refuse(logits: Tensor, labels: Tensor) -> Tensor:
    raise RuntimeError("the loss was not built")


def _checked(subject: Subject, ours: Outcome, *, unique: bool) -> Entry:
    """The entry with what the comparison found."""
    inputs = subject.inputs
    theirs = outcome(subject.loss, inputs.logits, inputs.labels)
    found = differences(ours, theirs, gradients=unique)
    numbers = {
        **subject.entry.numbers,
        "value_in_float32": finite(theirs.value),
        "value_difference": finite(found.value),
        "gradient_difference": None if found.gradient is None else finite(found.gradient),
    }
    wrong = found.exceed(inputs.logits.dtype)
    if wrong:
        reason = f"{wrong}: ours {ours.value:.9g}, theirs {theirs.value:.9g}"
        return replace(subject.entry, status="disagrees", reason=reason, numbers=numbers)
    reason = ""
    if not abs(subject.value - theirs.value) <= NOTABLE * max(abs(theirs.value), 1.0):
        dtype = str(inputs.logits.dtype).removeprefix("torch.")
        reason = (
            f"gives {subject.value:.6g} in {dtype}; the same logits in float32 give it "
            f"{theirs.value:.6g}, and ours {ours.value:.6g} in {dtype}"
        )
    return replace(subject.entry, check="equal", reason=reason, numbers=numbers)
