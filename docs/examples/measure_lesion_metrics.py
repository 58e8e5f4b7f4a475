"""Time of the lesion metrics on one made-up case, and of other packages where they are installed.

python docs/examples/measure_lesion_metrics.py [LESIONS] [DEPTH HEIGHT WIDTH]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from medloss.scoring import Case
from medloss_topology.metrics_detection import lesion_f1
from medloss_topology.metrics_lesions import lesion_dice
from medloss_topology.metrics_overlap import panoptic_quality

lesions, *shape = [int(word) for word in sys.argv[1:]] or [200]
shape = tuple(shape) or (240, 240, 155)


def balls(seed: int, moved: int) -> np.ndarray:
    """Balls of 2 to 6 voxels of radius; the same ones for the same seed, moved."""
    rng = np.random.default_rng(seed)
    around = (np.indices((15, 15, 15)) - 7) ** 2
    mask = np.zeros(shape, np.uint8)
    for _ in range(lesions):
        centre = [int(rng.integers(10, n - 10)) for n in shape]
        box = tuple(slice(c - 7 + moved, c + 8 + moved) for c in centre)
        mask[box] |= (around.sum(0) <= rng.uniform(2, 6) ** 2).astype(np.uint8)
    return mask


def measure(name: str, work: Callable[[], object]) -> None:
    """Median of 7 runs after a first one."""
    work()
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    print(f"{name:44} {1e3 * statistics.median(seconds):8.1f} ms")


reference, prediction = balls(0, 0), balls(0, 1)


def case() -> Case:
    """Nothing is known of it yet."""
    return Case(reference, prediction, labels=[1], spacing_mm=(1.0, 1.0, 1.0))


def three_metrics() -> list[float]:
    """They share one map of components on each side."""
    found = case().components(1)
    return [lesion_f1(found), lesion_dice(found), panoptic_quality(found)]


counted = case().components(1).lesions()
print(f"{len(counted.reference_voxels)} lesions in {' x '.join(map(str, shape))} voxels")
measure("counts (Dice)", lambda: case().counts(1))
measure("lesion_f1, lesion_dice, panoptic_quality", three_metrics)
measure(
    "lesion_dice:dilation_voxels=3",
    lambda: lesion_dice(case().components(1), dilation_voxels=3),
)
if find_spec("exacta"):
    import exacta.lesions

    measure(
        f"exacta {exacta.__version__}: F1, PQ",
        lambda: exacta.lesions.evaluate(
            prediction[None],
            reference[None],
            matching="hungarian",
            connectivity=3,
            num_classes=2,
            include_background=False,
        ),
    )
if find_spec("panoptica"):
    import panoptica as p

    p.disable_citation_reminder()
    evaluator = p.Panoptica_Evaluator(
        expected_input=p.InputType.SEMANTIC,
        instance_approximator=p.ConnectedComponentsInstanceApproximator(),
        instance_matcher=p.NaiveThresholdMatching(),
        instance_metrics=[p.Metric.IOU],
        global_metrics=[],
        decision_metric=p.Metric.IOU,
        decision_threshold=0.5,
    )
    measure(
        "panoptica 2.1.7: PQ",
        lambda: evaluator.evaluate(prediction, reference, verbose=False)["ungrouped"].pq,
    )
