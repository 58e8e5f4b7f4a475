"""The suite of losses: forward plus backward of ours beside others'."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from medloss.sums import chosen_backend
from medloss.workbench.bench.contest import Conditions, contest
from medloss.workbench.bench.copy_speed import LARGE, Copy
from medloss.workbench.bench.devices import Device
from medloss.workbench.bench.environment import environment
from medloss.workbench.bench.inputs import random_inputs
from medloss.workbench.bench.peers import DEFAULT, rivals
from medloss.workbench.bench.results import Contest, Report, Table

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to measure; the options of ``medloss bench``.

    Args:
        losses: names in the registry.
        shapes: (B, C, *spatial) of the logits.
        dtypes: of the logits, by name.
        labels_dtype: by name.
        threads: numbers of threads.
        sources: of rivals.
        rounds: of time measurements.
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
    sources: tuple[str, ...] = ()
    rounds: int = 5
    spread: float = 4.0
    seed: int = 0
    memory: bool = True
    copy_bytes: int = LARGE

    def settings(self) -> dict[str, str | int | float | bool]:
        """The plan in words and numbers."""
        return {
            "losses": " ".join(self.losses),
            "shapes": " ".join(map(shape_text, self.shapes)),
            "dtypes": " ".join(self.dtypes),
            "labels_dtype": self.labels_dtype,
            "threads": " ".join(map(str, self.threads)),
            "rivals": " ".join(self.sources) or "none",
            "rounds": self.rounds,
            "spread": self.spread,
            "seed": self.seed,
            "memory": self.memory,
        }


def shape_text(shape: tuple[int, ...]) -> str:
    """As ``--shape`` reads it.

    Example:
        >>> shape_text((2, 14, 96, 96, 96))
        '2,14,96,96,96'
    """
    return ",".join(map(str, shape))


def run(plan: Plan, device: Device, tell: Tell = lambda text: None) -> Report:
    """Measure everything; ``tell`` hears what is being done."""
    found = {**environment(), **device.describe()}
    _wake(device)
    copy = Copy(device.name, plan.copy_bytes)
    before = torch.get_num_threads()
    try:
        tables = tuple(_tables(plan, device, copy, tell))
    finally:
        torch.set_num_threads(before)
    return Report("losses", {**plan.settings(), "device": device.name}, found, tables)


def _wake(device: Device) -> None:
    """Start what torch starts once, so that it is in nobody's first call."""
    x = torch.zeros(64, requires_grad=True, device=device.name)
    (x * x).sum().backward()  # type: ignore[no-untyped-call]


def _tables(plan: Plan, device: Device, copy: Copy, tell: Tell) -> Iterator[Table]:
    for shape in plan.shapes:
        for dtype in plan.dtypes:
            inputs = random_inputs(
                shape,
                dtype,
                plan.labels_dtype,
                spread=plan.spread,
                seed=plan.seed,
                device=device.name,
            )
            conditions = Conditions(inputs, device, copy, plan.rounds, plan.memory)
            for threads in plan.threads:
                torch.set_num_threads(threads)
                yield _table(plan, shape, dtype, threads, conditions, tell)


def _table(
    plan: Plan,
    shape: tuple[int, ...],
    dtype: str,
    threads: int,
    conditions: Conditions,
    tell: Tell,
) -> Table:
    device, logits = conditions.device, conditions.inputs.logits
    backend = chosen_backend(logits.detach()).name
    title = f"{shape_text(shape)} {dtype}, {plan.labels_dtype} labels"
    title += f", {threads} thread{'s' * (threads > 1)}" if device.name == "cpu" else ", CUDA"
    notes = [f"backend of medloss: {backend}"]
    if plan.memory and device.no_memory:
        notes.append(f"memory was not measured: {device.no_memory}")

    def contests() -> Iterator[Contest]:
        for name in plan.losses:
            every = [rival for rival in rivals().get(name, ()) if rival.source in plan.sources]
            variants = {r.variant.name: r.variant for r in every} or {"": DEFAULT}
            for variant in variants.values():  # ours once for each definition
                own = [rival for rival in every if rival.variant.name == variant.name]
                yield contest(name, variant, own, conditions, lambda x: tell(f"{title}: {x}"))

    settings: dict[str, str | int] = {
        "shape": shape_text(shape),
        "dtype": dtype,
        "labels_dtype": plan.labels_dtype,
        "threads": threads,
        "device": device.name,
        "backend": backend,
        "unit": "logits",
    }
    return Table(settings, title, tuple(contests()), tuple(notes))
