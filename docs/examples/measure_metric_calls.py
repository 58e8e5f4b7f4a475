"""What a call of a metric in MONAI's form costs on small inputs, beside MONAI's own.

python docs/examples/measure_metric_calls.py [threads]
"""

from __future__ import annotations

import math
import sys
import warnings
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from monai import metrics as theirs
from torch import Tensor

from medloss import metrics as ours
from medloss.workbench.bench.devices import CPU
from medloss.workbench.bench.measure import Entrant, rounds
from medloss.workbench.bench.results import paired, spread

ROUNDS, CALLS = 15, 5
TOLERANCE = 1.0
NAMES = ("medloss", "MONAI")


def one_hot(shape: tuple[int, ...], shift: float, generator: torch.Generator) -> Tensor:
    """(2, 3, *shape): two rough balls in each of two images."""
    axes = torch.meshgrid(*(torch.arange(n).float() for n in shape), indexing="ij")
    labels = torch.zeros(2, *shape, dtype=torch.long)
    for image, item in enumerate(labels, start=1):
        for label, place in ((1, 0.3), (2, 0.65)):
            centre = [n * place + shift * image / 2 for n in shape]
            away = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True))
            item[away + 10 * torch.rand(shape, generator=generator) < (shape[0] * 0.2) ** 2] = label
    return F.one_hot(labels, 3).movedim(-1, 1).float()


def step(metric: Any, pair: list[Tensor], more: dict[str, Any]) -> float:
    """Reset, one call, aggregate."""
    metric.reset()
    metric(*pair, **more)
    return float(torch.as_tensor(metric.aggregate()))


PAIRS = {
    "dice": (ours.DiceMetric, theirs.DiceMetric),
    "jaccard": (ours.JaccardMetric, theirs.MeanIoU),
    "hausdorff95": (
        ours.Hausdorff95Metric,
        partial(theirs.HausdorffDistanceMetric, percentile=95),
    ),
    "surface dice": (
        partial(ours.NormalizedSurfaceDiceMetric, tolerance_mm=TOLERANCE),
        partial(theirs.SurfaceDiceMetric, class_thresholds=[TOLERANCE] * 2),
    ),
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    print("| metric | shape | medloss, ms | range | MONAI, ms | range | x ours | range |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for shape in ((32, 32), (64, 64), (16, 16, 16), (32, 32, 32)):
        generator = torch.Generator().manual_seed(0)
        pair = [one_hot(shape, shift, generator) for shift in (1.0, 0.0)]
        for name, (own, other) in PAIRS.items():
            more = {} if name in ("dice", "jaccard") else {"spacing": (1.0,) * len(shape)}
            metrics = own(preset="monai"), other()
            steps = [partial(step, metric, pair, more) for metric in metrics]
            one, two = (each() for each in steps)
            if not math.isclose(one, two, rel_tol=1e-5):
                raise ValueError(f"{name}: ours is {one}, MONAI's {two}")
            entrants = [Entrant(n, s, calls=CALLS) for n, s in zip(NAMES, steps, strict=True)]
            found = rounds(entrants, ROUNDS, CPU())
            mine, others = ([1000 * s for s in found[n].wall_s] for n in NAMES)
            cells = [name, "2,3," + ",".join(map(str, shape))]
            for each in (spread(mine), spread(others), paired(others, mine)):
                if each is not None:
                    cells += [f"{each.median:.3g}", f"{each.least:.3g}..{each.most:.3g}"]
            print(f"| {' | '.join(cells)} |", flush=True)
