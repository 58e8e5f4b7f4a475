"""What a metric is, what its value means, and that it has one value for all forms of a case."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.testing.metric_subject import (
    MetricSubject,
    blob,
    emptied,
    imperfect,
    moved,
    same,
)
from medloss.testing.offer_checks import imports
from medloss.testing.registry import SPACING_MM, contract, demand, load_monai

POWER = {"": 0, "mm": 1, "mm3": 3}
DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "?", ">i2", ">u4", ">i8")
CROSSINGS = 24
ROUNDING = 1e-6
"""Of a distance in mm whose voxels are known in float32."""


@contract("metric", excusable=False)
def pure_function_of_facts(subject: MetricSubject) -> None:
    """The same facts give the same number, whatever was asked before, and stay as they are.

    Facts are computed once for a case and shared by all metrics.
    """
    mask = blob()
    case = subject.case(mask, moved(mask, 2), (1,))
    facts = subject.facts(case)
    before = [_copied(fact) for fact in facts]
    first = subject.of_facts(facts)
    subject.value(mask, moved(mask, 5))
    again = subject.of_facts(facts)
    demand(same(first, again), f"it gave {first:.8g}, and {again:.8g} when asked again")
    demand([_copied(fact) for fact in facts] == before, "it changed its facts")


@contract("metric", excusable=False)
def scoring_imports_no_torch(subject: MetricSubject) -> None:
    """Importing the metric's module imports no torch and no MONAI.

    ``medloss eval`` starts in a second on machines without either.
    """
    module = subject.record.target.partition(":")[0]
    heavy = imports(module, ("torch", "monai"))
    demand(not heavy, f"importing {module} imports {' and '.join(heavy)}")


@contract("metric", excusable=False)
def monai_form_agrees(subject: MetricSubject) -> None:
    """The MONAI metric made of the function gives its value for each case and class.

    As label maps and as one-hot channels, with anisotropic spacing; probabilities are channels.
    """
    load_monai()
    import torch

    from medloss.metrics import monai_class

    mask = blob()
    references = np.stack([mask + 2 * moved(mask, 7), 2 * mask + moved(mask, 7)]) % 3
    others = list(imperfect(mask).values())
    predictions = np.stack([others[0], 2 * others[1]])
    predictions = np.where(predictions == 0, np.roll(references, 1, axis=1), predictions)
    expected = [
        [subject.of_facts(subject.facts(case, label)) for label in case.labels]
        for case in (
            subject.case(y, p, (0, 1, 2)) for y, p in zip(references, predictions, strict=True)
        )
    ]
    metric = monai_class(subject.offer)(
        include_background=True, num_classes=3, spacing_mm=SPACING_MM, **subject.options
    )
    y, p = (torch.from_numpy(each.astype(np.int64))[:, None] for each in (references, predictions))
    channels = [torch.cat([t == c for c in range(3)], 1).float() for t in (p, y)]
    found = {"channels": metric(*channels)}
    if subject.record.of_probabilities:
        found["channels for label maps"] = metric(channels[0], y)
    else:
        found["label maps"] = metric(p, y)
    for how, result in found.items():
        for case, row in enumerate(result.tolist()):
            for label, value in enumerate(row):
                wanted = expected[case][label]
                demand(
                    same(value, wanted),
                    f"with {how} class {label} has {value:.8g}, the function says {wanted:.8g}",
                )


def _copied(fact: Any) -> Any:
    """The fact as plain values that can be compared."""
    if not is_dataclass(fact):
        return fact
    values = [getattr(fact, field.name) for field in fields(fact)]
    return [v.tolist() if isinstance(v, np.ndarray) else v for v in values]


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


def _strided(array: NDArray[Any]) -> NDArray[Any]:
    wide = np.empty((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "C order": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "strided": _strided,
    "negative strides": lambda array: array[::-1, :, ::-1].copy()[::-1, :, ::-1],
    "read-only": _read_only,
}


@contract("metric", excusable=False)
def crossed_forms_are_one_case(subject: MetricSubject) -> str:
    """Maps of any dtype, byte order, layout and order of axes are one case.

    Readers of files hand over all of them: a form that takes another path must not take another
    number.
    """
    draw = random.Random(0)
    turns = "symmetries_change_nothing" not in subject.record.exempt
    mask = blob()
    predictions = imperfect(mask)
    expected = {name: subject.value(mask, each) for name, each in predictions.items()}
    for _ in range(CROSSINGS):
        name = draw.choice(list(predictions))
        axes = draw.sample(range(3), 3) if turns else [0, 1, 2]
        told, maps = [f"axes {axes}"], []
        for each in (mask, predictions[name]):
            dtype, layout = draw.choice(DTYPES), draw.choice(list(LAYOUTS))
            told.append(f"{np.dtype(dtype)} in {layout}")
            maps.append(LAYOUTS[layout](each.astype(dtype).transpose(axes)))
        spacing_mm = [SPACING_MM[axis] for axis in axes]
        result = subject.value(maps[0], maps[1], spacing_mm)
        demand(
            same(result, expected[name]),
            f"{name} ({', '.join(told)}) has {result:.8g}, expected {expected[name]:.8g}",
        )
    return f"{CROSSINGS} crossings"


@contract("metric", excusable=False)
def any_affine_is_one_spacing(subject: MetricSubject) -> None:
    """A turned affine of float32 has the value of the straight one, with the same voxels.

    Its columns are as long as the voxels up to rounding, which must not decide what is within a
    tolerance.
    """
    load_monai()
    import torch
    from monai.data.meta_tensor import MetaTensor

    from medloss.metrics import monai_class

    if subject.record.of_probabilities:
        return  # no spacing
    mask = blob()
    expected = {name: subject.value(mask, each) for name, each in imperfect(mask).items()}
    for degrees in (1.0, 33.0, 89.0):
        affine = np.diag([*SPACING_MM, 1.0])
        affine[:3, :3] = _turn(degrees, (1, 2, 3)) @ affine[:3, :3]
        for dtype in (np.float32, np.float64):
            rounded = torch.from_numpy(affine.astype(dtype))
            for name, prediction in imperfect(mask).items():
                metric = monai_class(subject.offer)(include_background=False, **subject.options)
                p, y = (
                    MetaTensor(torch.from_numpy(np.stack([1 - each, each]))[None], affine=rounded)
                    for each in (prediction, mask)
                )
                result = float(metric(p, y))
                demand(
                    math.isclose(result, expected[name], rel_tol=ROUNDING),
                    f"{name} turned by {degrees:g} degrees in {np.dtype(dtype)} has {result:.8g}, "
                    f"straight {expected[name]:.8g}",
                )


def _turn(degrees: float, axis: Sequence[float]) -> NDArray[np.float64]:
    """The rotation about an axis, by Rodrigues' formula."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    turn: NDArray[np.float64] = (
        np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    )
    return turn
