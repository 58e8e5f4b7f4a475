"""Time of a decision on (1, 2, 128, 128, 128) probabilities, in alternating rounds of one process.

    python docs/examples/measure_decisions.py [SIZE] [ROUNDS]

``rankseg`` is timed beside it where it is installed.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
from monai.transforms import AsDiscrete
from torch import Tensor

from medloss.integrations.decision import AsDiscreteByThresholds, DiceOptimal


def probabilities(size: int) -> Tensor:
    """A ball with a soft edge in noise, (1, 2, size, size, size)."""
    draw = torch.Generator().manual_seed(0)
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, size)] * 3, indexing="ij"))
    logit = 12 * (0.5 - grid.norm(dim=0)) + torch.randn(size, size, size, generator=draw)
    return torch.stack([-logit / 2, logit / 2])[None].softmax(1)


def ways() -> dict[str, Callable[[Tensor], object]]:
    """Decisions by name."""
    dice, thresholds, argmax = (
        DiceOptimal(),
        AsDiscreteByThresholds([0, 0.4]),
        AsDiscrete(argmax=True),
    )
    found: dict[str, Callable[[Tensor], object]] = {
        "argmax (MONAI's AsDiscrete)": lambda p: argmax(p[0]),
        "thresholds": lambda p: thresholds(p[0]),
        "expected Dice": lambda p: dice(p[0]),
    }
    if find_spec("rankseg"):
        from rankseg import RankSEG

        plain = RankSEG(metric="dice", output_mode="multiclass", solver="RMA")
        screened = RankSEG(
            metric="dice", output_mode="multiclass", solver="RMA", safe_screening=True
        )
        found |= {"rankseg RMA": plain.predict, "rankseg RMA, screened": screened.predict}
    return found


def main() -> None:
    """Print the median of each, in ms, and as a share of argmax."""
    given = [int(text) for text in sys.argv[1:]]
    size, rounds = given + [128, 15][len(given) :]
    p, times = probabilities(size), dict[str, list[float]]()
    for _ in range(rounds + 1):
        for name, decide in ways().items():
            begin = time.perf_counter()
            decide(p)
            times.setdefault(name, []).append(time.perf_counter() - begin)
    medians = {name: statistics.median(each[1:]) for name, each in times.items()}
    first = next(iter(medians.values()))
    for name, each in medians.items():
        print(f"{name:30} {1000 * each:8.1f} ms {each / first:6.2f} x")


if __name__ == "__main__":
    main()
