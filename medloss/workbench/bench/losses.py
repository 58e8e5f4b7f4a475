"""The suite of losses: forward plus backward of ours beside others', on random logits."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

import medloss
from medloss.runtime.progress import tracked
from medloss.sums import chosen_backend
from medloss.workbench.bench.contest import (
    OURS,
    Bench,
    Contestant,
    Tell,
    Verdict,
    Work,
    benchmark,
    finite,
    shape_text,
)
from medloss.workbench.bench.devices import Device
from medloss.workbench.bench.environment import kernels
from medloss.workbench.bench.loss_rivals import (
    DEFAULT,
    SOURCES,
    LossFunction,
    LossRival,
    Variant,
    rivals,
)
from medloss.workbench.bench.measure import LARGE
from medloss.workbench.bench.results import BenchReport, Contest, Table

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
LABEL_DTYPES = {"int64": torch.int64, "uint8": torch.uint8}

VALUE_TOLERANCE = 1e-5
"""Relative, and absolute below 1. Several libraries compute in float32 whatever the input."""
GRADIENT_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4, torch.bfloat16: 1e-2}
"""Of the length of the difference, relative. float16 is not here: it has no number as small as the
gradient of a mean over a volume."""
NOTABLE = 0.01
"""Relative error of a rival's 16-bit value that is worth a note."""


@dataclass(frozen=True)
class LossPlan:
    """What to measure; the options of ``medloss bench``.

    Args:
        losses: names in the registry.
        shapes: (B, C, *spatial) of the logits.
        dtypes: of the logits, by name.
        labels_dtype: by name.
        threads: numbers of threads.
        rivals: their sources.
        rounds: of time measurements.
        calls: of each loss in a row in each round; the median is the round's time.
        spread: standard deviation of the logits.
        seed: of the random inputs.
        memory: whether to measure memory.
        copy_bytes: size of the buffer whose copying stands for the memory's speed.
    """

    losses: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...] = ("float32",)
    labels_dtype: str = "int64"
    threads: tuple[int, ...] = (1,)
    rivals: tuple[str, ...] = ()
    rounds: int = 5
    calls: int = 1
    spread: float = 4.0
    seed: int = 0
    memory: bool = True
    copy_bytes: int = LARGE


@dataclass(frozen=True)
class LossInputs:
    """What every loss of a table is called with.

    Args:
        logits: (B, C, *spatial), a leaf that takes a gradient.
        labels: (B, 1, *spatial).
    """

    logits: Tensor
    labels: Tensor

    @property
    def floor_bytes(self) -> int:
        """What forward plus backward of any loss has to move.

        Logits and labels are read by each of the two, the gradient is written:
        B V (3 C itemsize + 2 label_itemsize).
        """
        batch, classes, *spatial = self.logits.shape
        voxel = 3 * classes * self.logits.itemsize + 2 * self.labels.itemsize
        return batch * math.prod(spatial) * voxel

    def drop_gradient(self) -> None:
        """As an optimizer's ``zero_grad`` does between steps."""
        self.logits.grad = None

    def step(self, loss: LossFunction) -> Tensor:
        """Forward and backward; the value."""
        value = loss(self.logits, self.labels)
        torch.autograd.backward(value)
        self.gradient()
        return value.detach()

    def gradient(self) -> Tensor:
        """By the logits.

        Raises:
            RuntimeError: there is none.
        """
        if self.logits.grad is None:
            raise RuntimeError("its backward gives the logits no gradient")
        return self.logits.grad


def random_inputs(
    shape: tuple[int, ...], dtype: str, labels_dtype: str, *, spread: float, seed: int, device: str
) -> LossInputs:
    """Normal logits of standard deviation ``spread``, labels uniform over the classes."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator).mul_(spread).to(device, DTYPES[dtype])
    labels = torch.randint(shape[1], (shape[0], 1, *shape[2:]), generator=generator)
    return LossInputs(logits.requires_grad_(), labels.to(device, LABEL_DTYPES[labels_dtype]))


def run(plan: LossPlan, device: Device, tell: Tell = lambda text: None) -> BenchReport:
    """Measure everything; ``tell`` hears what is being done."""
    before = torch.get_num_threads()
    try:
        tables = functools.partial(_tables, plan)
        return benchmark("losses", plan, device, tables, calls=plan.calls, tell=tell)
    finally:
        torch.set_num_threads(before)


def _tables(plan: LossPlan, bench: Bench) -> Iterator[Table]:
    device = bench.device.name
    # Start what torch starts once, so that it is in nobody's first call.
    LossInputs(torch.zeros(64, requires_grad=True, device=device), torch.empty(0)).step(
        lambda x, _: (x * x).sum()
    )
    for shape in plan.shapes:
        for dtype in plan.dtypes:
            inputs = random_inputs(
                shape, dtype, plan.labels_dtype, spread=plan.spread, seed=plan.seed, device=device
            )
            for threads in plan.threads:
                torch.set_num_threads(threads)
                yield _table(plan, bench, inputs, threads)


def _table(plan: LossPlan, bench: Bench, inputs: LossInputs, threads: int) -> Table:
    device = bench.device
    backend = chosen_backend(inputs.logits.detach()).name
    shape, dtype = shape_text(tuple(inputs.logits.shape)), _name(inputs.logits.dtype)
    title = f"{shape} {dtype}, {plan.labels_dtype} labels"
    title += f", {threads} thread{'s' * (threads > 1)}" if device.name == "cpu" else ", CUDA"
    notes = [f"backend of medloss: {backend}"]
    if plan.calls > 1:
        notes.append(f"the time of a round is the median of {plan.calls} calls in a row")
    if plan.memory and device.no_memory:
        notes.append(f"memory was not measured: {device.no_memory}")

    def contests() -> Iterator[Contest]:
        for name in tracked(plan.losses, "losses"):
            every = [rival for rival in rivals().get(name, ()) if rival.source in plan.rivals]
            variants = {rival.variant.name: rival.variant for rival in every} or {"": DEFAULT}
            for variant in variants.values():  # ours once for each definition
                own = [rival for rival in every if rival.variant.name == variant.name]
                yield _contest(title, name, variant, own, inputs, bench)

    settings: dict[str, str | int] = {
        "shape": shape,
        "dtype": dtype,
        "labels_dtype": plan.labels_dtype,
        "threads": threads,
        "device": device.name,
        "backend": backend,
        "unit": "logits",
    }
    return Table(settings, title, tuple(contests()), tuple(notes))


def _contest(
    title: str,
    name: str,
    variant: Variant,
    others: Sequence[LossRival],
    inputs: LossInputs,
    bench: Bench,
) -> Contest:
    """Our loss ``name`` beside its rivals."""
    before = kernels()
    work: Work[Tensor, ValueAndGradient] = Work(
        ", ".join(filter(None, (name, variant.name))),
        inputs.logits.nbytes,
        inputs.floor_bytes,
        number=float,
        answer=lambda value: ValueAndGradient(float(value), inputs.gradient()),
        note=lambda: kernels().since(before),
        reset=inputs.drop_gradient,
    )
    return bench.contest(
        title,
        work,
        _ours(name, variant.options, inputs),
        [_contestant(rival, inputs) for rival in others],
    )


def _ours(
    name: str, options: Mapping[str, Any], inputs: LossInputs
) -> Contestant[Tensor, ValueAndGradient]:
    options = {"softmax": True, **options}
    call = ", ".join([repr(name), *(f"{key}={value!r}" for key, value in options.items())])
    return Contestant(
        OURS,
        f"medloss.loss({call})",
        lambda: functools.partial(inputs.step, medloss.loss(name, **options)),
    )


def _contestant(rival: LossRival, inputs: LossInputs) -> Contestant[Tensor, ValueAndGradient]:
    build = functools.cache(lambda: rival.build(inputs.logits.shape[1]))

    def judge(value: Tensor, ours: ValueAndGradient) -> Verdict:
        return _judged(build(), float(value), ours, inputs, unique=rival.unique)

    return Contestant(
        rival.name,
        rival.computes,
        lambda: functools.partial(inputs.step, build()),
        judge,
        missing=SOURCES[rival.source].why_missing,
        differs=rival.differs,
    )


class ValueAndGradient(NamedTuple):
    """Value of a loss, and its gradient by the logits."""

    value: float
    gradient: Tensor


class Differences(NamedTuple):
    """Distance of two values and gradients, relative; None where gradients are not compared."""

    value: float
    gradient: float | None

    def exceed(self, dtype: torch.dtype) -> str:
        """What disagrees and by how much, or nothing; a NaN disagrees."""
        if not self.value <= VALUE_TOLERANCE:
            return f"values differ by {self.value:.1e} (tolerance {VALUE_TOLERANCE:.0e})"
        limit = GRADIENT_TOLERANCE.get(dtype)
        if limit is not None and self.gradient is not None and not self.gradient <= limit:
            return f"gradients differ by {self.gradient:.1e} (tolerance {limit:.0e})"
        return ""


def exact(
    loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor
) -> ValueAndGradient:
    """Value and gradient for logits of float32 or better.

    16-bit logits are handed over as float32, so that the definition is compared and not how well a
    library computes with 16 bits.
    """
    wide = logits.detach().to(torch.promote_types(logits.dtype, torch.float32)).requires_grad_()
    inputs = LossInputs(wide, labels)
    return ValueAndGradient(float(inputs.step(loss)), inputs.gradient())


def differences(
    ours: ValueAndGradient, theirs: ValueAndGradient, *, gradients: bool = True
) -> Differences:
    """How far ours is from theirs."""
    value = abs(ours.value - theirs.value) / max(abs(theirs.value), 1.0)
    if not gradients or ours.gradient.dtype not in GRADIENT_TOLERANCE:
        return Differences(value, None)
    # slice by slice, so that the comparison needs no third gradient
    off = math.hypot(
        *(
            float((a.to(b.dtype) - b).norm())
            for a, b in zip(*(each.gradient for each in (ours, theirs)), strict=True)
        )
    )
    length = float(theirs.gradient.norm())
    return Differences(value, off / length if length else off)


def _judged(
    loss: LossFunction, value: float, ours: ValueAndGradient, inputs: LossInputs, *, unique: bool
) -> Verdict:
    """What the comparison found; ``value`` is that of the logits as they are."""
    inputs.drop_gradient()
    theirs = exact(loss, inputs.logits, inputs.labels)
    found = differences(ours, theirs, gradients=unique)
    numbers = {
        "value_in_float32": finite(theirs.value),
        "value_difference": finite(found.value),
        "gradient_difference": None if found.gradient is None else finite(found.gradient),
    }
    wrong = found.exceed(inputs.logits.dtype)
    if wrong:
        wrong += f": ours {ours.value:.9g}, theirs {theirs.value:.9g}"
    remark = ""
    if not abs(value - theirs.value) <= NOTABLE * max(abs(theirs.value), 1.0):
        dtype = _name(inputs.logits.dtype)
        remark = (
            f"gives {value:.6g} in {dtype}; the same logits in float32 give it "
            f"{theirs.value:.6g}, and ours {ours.value:.6g} in {dtype}"
        )
    return Verdict(wrong, remark, numbers)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
