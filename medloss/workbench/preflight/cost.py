"""What one step of the loss takes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from medloss.workbench.bench.devices import Device, find_device
from medloss.workbench.bench.measure import Entrant, memory, rounds
from medloss.workbench.preflight.batch import mapped, tensors
from medloss.workbench.preflight.findings import Finding
from medloss.workbench.preflight.trial import Trial

_ROUNDS = 3
_DEAR = 0.5
"""Share of a training step from which on the loss is worth a word."""


@dataclass(frozen=True)
class Cost:
    """Forward and backward of a loss as far as the input.

    Args:
        seconds: median.
        extra_bytes: the most memory it held, None where it cannot be measured.
        input_bytes: size of the input, to compare.
        network_seconds: the same of the network, None where there is none.
    """

    seconds: float
    extra_bytes: int | None
    input_bytes: int
    network_seconds: float | None = None


def measure(trial: Trial) -> Cost | None:
    """Time and memory of a step, None on a device that cannot be measured."""
    device: Device
    try:
        device = find_device(trial.batch.logits.device.type)
    except ValueError:
        return None

    def step() -> None:
        leaves = mapped(trial.batch.input, lambda one: one.detach().requires_grad_())
        value = trial.loss(leaves, trial.batch.target)
        (value.mean() if value.ndim else value).backward()

    entrants = [Entrant("loss", step)]
    if trial.around.network_step is not None:
        entrants.append(Entrant("network", trial.around.network_step))
    timed = {
        name: statistics.median(m.wall_s) for name, m in rounds(entrants, _ROUNDS, device).items()
    }
    extra = None if device.no_memory else memory(entrants[:1], device)["loss"]
    size = sum(one.numel() * one.element_size() for one in tensors(trial.batch.input))
    return Cost(timed["loss"], extra, size, timed.get("network"))


def check_cost(cost: Cost | None) -> Iterator[Finding]:
    """A loss that takes most of a training step."""
    if cost is None or cost.network_seconds is None:
        return
    share = cost.seconds / (cost.seconds + cost.network_seconds)
    if share > _DEAR:
        yield Finding(
            "note",
            "cost",
            f"the loss takes {share:.0%} of a training step: {1e3 * cost.seconds:.0f} ms beside "
            f"{1e3 * cost.network_seconds:.0f} ms of the network",
            "make distance maps and skeletons once, with the data (DistanceMapd, SkeletonMapd), or "
            "use a cheaper loss",
            evidence={"share": share},
        )
