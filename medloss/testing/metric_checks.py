"""What the value of a metric must mean: best, worse, undefined, and in which unit."""

from __future__ import annotations

import math

import numpy as np

from medloss.testing.metric_subject import (
    MetricSubject,
    blob,
    emptied,
    imperfect,
    moved,
    same,
)
from medloss.testing.registry import SPACING_MM, contract, demand

POWER = {"": 0, "mm": 1, "mm3": 3}


@contract("metric")
def perfect_is_best(subject: MetricSubject) -> None:
    """Equal maps have the best value, 0 where lower is better and else 1; no others beat it."""
    mask = blob()
    best = subject.value(mask, mask)
    demand(same(best, subject.perfect), f"it is {best:.8g}, expected {subject.perfect:g}")
    for name, prediction in imperfect(mask).items():
        other = subject.value(mask, prediction)
        demand(subject.not_better(other, best), f"{name} has {other:.8g}, equal maps {best:.8g}")


@contract("metric")
def worse_when_moved(subject: MetricSubject) -> None:
    """A prediction that is moved away has a worse value, and farther away none that is better."""
    mask = blob()
    best, near, far = (subject.value(mask, moved(mask, voxels)) for voxels in (0, 3, 6))
    worse = subject.not_better(near, best) and not same(near, best)
    demand(worse, f"moved by 3 voxels it is {near:.8g}, unmoved {best:.8g}")
    demand(
        subject.not_better(far, near),
        f"moved by 6 voxels it is {far:.8g}, better than {near:.8g} for 3 voxels",
    )


@contract("metric")
def symmetries_change_nothing(subject: MetricSubject) -> None:
    """Flipped maps, and maps with their axes and spacing in another order, have the same value."""
    mask = blob()
    x, y, z = SPACING_MM
    for name, prediction in imperfect(mask).items():
        expected = subject.value(mask, prediction)
        flipped = subject.value(mask[::-1, :, ::-1], prediction[::-1, :, ::-1])
        demand(same(flipped, expected), f"flipped, {name} has {flipped:.8g}, not {expected:.8g}")
        axes = [np.ascontiguousarray(each.transpose(2, 0, 1)) for each in (mask, prediction)]
        turned = subject.value(axes[0], axes[1], (z, x, y))
        demand(
            same(turned, expected),
            f"with the last axis first, {name} has {turned:.8g}, not {expected:.8g}",
        )


@contract("metric")
def in_neither_map_is_undefined(subject: MetricSubject) -> None:
    """A class in neither map gives NaN: what an empty class counts is the caller's policy.

    0/0 told as 1 makes a mean over rare classes look perfect.
    """
    nothing = np.zeros_like(blob())
    result = subject.value(nothing, nothing)
    demand(math.isnan(result), f"it is {result:.8g}")


@contract("metric")
def missed_and_spurious_are_not_perfect(subject: MetricSubject) -> None:
    """A class that is missed or spurious never has the best value, and no finite distance.

    It may be NaN or, in mm, infinite; the caller's policy decides what that counts.
    """
    for status, (reference, prediction) in emptied(blob()).items():
        result = subject.value(reference, prediction)
        demand(
            math.isnan(result) or not same(result, subject.perfect),
            f"a {status} class has {result:.8g}",
        )
        if subject.record.unit == "mm":
            demand(not math.isfinite(result), f"a {status} class has {result:.8g} mm")


@contract("metric")
def spacing_scales_as_the_unit_says(subject: MetricSubject) -> None:
    """Voxels of twice the size double a value in mm, and leave one without a unit.

    Options that are lengths, named ``*_mm``, are doubled too.
    """
    mask = blob()
    lengths = {k: 2 * v for k, v in subject.options.items() if k.endswith("_mm")}
    factor = 2.0 ** POWER[subject.record.unit]
    for name, prediction in imperfect(mask).items():
        once = subject.value(mask, prediction)
        twice = subject.value(mask, prediction, tuple(2 * mm for mm in SPACING_MM), **lengths)
        demand(
            same(twice, factor * once),
            f"{name} has {once:.8g}, and with doubled voxels {twice:.8g}, not {factor * once:.8g}",
        )


@contract("metric", excusable=False)
def full_images_are_no_error(subject: MetricSubject) -> None:
    """A class that fills the image gives a number or NaN, never an error nor better than best.

    Then nothing is left outside, and ratios of true negatives are 0/0.
    """
    full = np.ones((4, 4, 4), dtype=np.uint8)
    nothing = np.zeros_like(full)
    pairs = {"found": (full, full), "missed": (full, nothing), "spurious": (nothing, full)}
    for name, pair in pairs.items():
        result = subject.value(*pair)
        fine = math.isnan(result) or subject.not_better(result, subject.perfect)
        demand(fine, f"full and {name} it has {result:.8g}")
