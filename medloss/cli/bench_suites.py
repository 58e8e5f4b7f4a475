"""From the options of ``medloss bench`` to a suite that is ready to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medloss.workbench.bench.results import Report

Tell = Callable[[str], None]
Prepared = Callable[[Tell], "Report"]

Shapes = tuple[tuple[int, ...], ...]

_SHAPES: dict[str, Shapes] = {
    "cpu": ((2, 14, 96, 96, 96),),
    "cuda": ((2, 2, 128, 128, 128), (2, 14, 96, 96, 96), (1, 105, 128, 128, 128)),
}
_MASKS: dict[str, Shapes] = {
    "cpu": ((2, 14, 96, 96, 96),),
    "cuda": ((2, 14, 96, 96, 96), (4, 1, 256, 256, 256)),
}
_DTYPES = {"cpu": ("float32",), "cuda": ("float32", "bfloat16")}
_ROUNDS = {"cpu": 5, "cuda": 20}
_QUICK_SHAPE, _QUICK_ROUNDS, _QUICK_COPY = (1, 4, 32, 32, 32), 2, 32 << 20


@dataclass(frozen=True)
class Asked:
    """Options that the suites share.

    Args:
        shapes: as given; none for the suite's own.
        rounds: as given, or None.
        rivals: whose losses; empty for no rivals at all.
        device: ``cpu`` or ``cuda``.
        seed: of random inputs.
        memory: whether to measure it.
        quick: a small shape and two rounds.
    """

    shapes: Shapes
    rounds: int | None
    rivals: tuple[str, ...]
    device: str
    seed: int
    memory: bool
    quick: bool

    def common(self) -> dict[str, Any]:
        """Rounds, memory and the size of the copy."""
        rounds = self.rounds or (_QUICK_ROUNDS if self.quick else _ROUNDS[self.device])
        copy = {"copy_bytes": _QUICK_COPY} if self.quick else {}
        return {"rounds": rounds, "memory": self.memory, **copy}

    def shapes_or(self, usual: dict[str, Shapes]) -> Shapes:
        """Those given, or the usual ones of the device."""
        return self.shapes or ((_QUICK_SHAPE,) if self.quick else usual[self.device])


def losses(
    asked: Asked,
    names: tuple[str, ...],
    dtypes: tuple[str, ...],
    labels_dtype: str,
    threads: tuple[int, ...],
    spread: float,
    *,
    compiled: bool,
) -> Prepared:
    """The suite of losses.

    Raises:
        PluginError: a loss that does not exist.
        ValueError: a device that is not there, or one class.
    """
    import torch

    from medloss.offers.host import host
    from medloss.workbench.bench.devices import find_device
    from medloss.workbench.bench.peers import DEFAULT_LOSSES
    from medloss.workbench.bench.suite import Plan, run

    for name in names:
        host().losses.find(name).load()  # now: not after an hour of measuring the others
    place = find_device(asked.device)
    shapes = asked.shapes_or(_SHAPES)
    for shape in shapes:
        if shape[1] < 2:
            raise ValueError(f"--shape: expected at least 2 classes, got {shape[1]}")
    plan = Plan(
        losses=tuple(dict.fromkeys(names)) or DEFAULT_LOSSES,
        shapes=shapes,
        dtypes=tuple(dict.fromkeys(dtypes)) or _DTYPES[asked.device],
        labels_dtype=labels_dtype,
        threads=tuple(dict.fromkeys(threads)) or (torch.get_num_threads(),),
        sources=(*asked.rivals, *(["compiled"] if compiled else [])),
        spread=spread,
        seed=asked.seed,
        **asked.common(),
    )
    return lambda tell: run(plan, place, tell)


def metrics(asked: Asked, cases: tuple[str, ...]) -> Prepared:
    """The suite of surface metrics."""
    from medloss.workbench.bench.metrics import MetricPlan, run

    plan = MetricPlan(
        cases=tuple(dict.fromkeys(cases)) or (("tiny",) if asked.quick else ("a", "b", "c", "d")),
        rivals=bool(asked.rivals),
        **asked.common(),
    )
    return lambda tell: run(plan, tell)


def distances(asked: Asked) -> Prepared:
    """The suite of distance transforms.

    Raises:
        ValueError: a device that is not there, or masks that are neither 2D nor 3D.
    """
    from medloss.workbench.bench.devices import find_device
    from medloss.workbench.bench.distances import DistancePlan, run

    place = find_device(asked.device)
    shapes = asked.shapes_or(_MASKS)
    for shape in shapes:
        if len(shape) not in (4, 5):
            raise ValueError(f"--shape: expected masks in 2D or 3D, got {shape}")
    plan = DistancePlan(shapes=shapes, rivals=bool(asked.rivals), seed=asked.seed, **asked.common())
    return lambda tell: run(plan, place, tell)
