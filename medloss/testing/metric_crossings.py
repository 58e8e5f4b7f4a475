"""One case in all its forms: dtypes, layouts, axes and affines give a metric one value."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.testing.metric_subject import MetricSubject, blob, imperfect, same
from medloss.testing.registry import SPACING_MM, contract, demand, load_monai

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "?", ">i2", ">u4", ">i8")
CROSSINGS = 24
ROUNDING = 1e-6
"""Of a distance in mm whose voxels are known in float32."""


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

    if "probabilities" in subject.record.facts:
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
