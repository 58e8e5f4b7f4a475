"""The suite of distance transforms: many masks at once, ours and others'."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medloss.distance import chosen_distance_backend, edt
from medloss.objects.spacing import parse_spacing
from medloss.runtime.progress import tracked
from medloss.workbench.bench.contest import (
    OURS,
    Bench,
    Contestant,
    Tell,
    Verdict,
    Work,
    benchmark,
    not_installed,
    shape_text,
)
from medloss.workbench.bench.devices import Device
from medloss.workbench.bench.environment import DISTANCE_PACKAGES, PACKAGES
from medloss.workbench.bench.measure import LARGE
from medloss.workbench.bench.results import BenchReport, Table

CLOSE = 1e-5
"""Relative difference that float32 explains."""

Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class DistancePlan:
    """What to measure.

    Args:
        shapes: (B, C, *spatial) of the masks.
        spacing_mm: size of a voxel along each of three axes.
        rivals: whether to measure other packages at all.
        rounds: of time measurements.
        memory: whether to measure memory.
        seed: of the masks.
        copy_bytes: size of the buffer whose copying stands for the memory's speed.
    """

    shapes: tuple[tuple[int, ...], ...]
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 2.5)
    rivals: bool = True
    rounds: int = 5
    memory: bool = True
    seed: int = 0
    copy_bytes: int = LARGE


@dataclass(frozen=True)
class DistanceRival:
    """Another way to the same distances.

    Args:
        name: in tables.
        computes: what it is, in words.
        transform: from the masks on the device to a map there.
        why_not: why it does not take part, or nothing.
    """

    name: str
    computes: str
    transform: Transform
    why_not: str = ""

    def contestant(self, masks: Tensor) -> Contestant[Tensor, Tensor]:
        """It with these masks."""
        return Contestant(
            self.name,
            self.computes,
            lambda: functools.partial(self.transform, masks),
            _judged,
            missing=self.why_not,
        )


def run(plan: DistancePlan, device: Device, tell: Tell = lambda text: None) -> BenchReport:
    """Measure everything; ``tell`` hears what is being done."""
    return benchmark(
        "distances",
        plan,
        device,
        lambda bench: (_table(shape, plan, bench) for shape in tracked(plan.shapes, "shapes")),
        packages=(*PACKAGES, *DISTANCE_PACKAGES),
        tell=tell,
    )


def label_masks(shape: tuple[int, ...], seed: int) -> Tensor:
    """One mask for each class of a label map made from smooth noise, bool."""
    batch, classes, *space = shape
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, max(classes, 2), *[9] * len(space), generator=generator)
    mode = "trilinear" if len(space) == 3 else "bilinear"
    labels = functional.interpolate(noise, tuple(space), mode=mode).argmax(1, keepdim=True)
    return torch.cat([labels == label for label in range(classes)], 1)


def rivals(device: str, spacing_mm: Sequence[float]) -> list[DistanceRival]:
    """Whoever measures Euclidean distances, those of this device first."""
    one = f"; one mask after another{', by way of the host' * (device == 'cuda')}"
    found = [
        DistanceRival(
            "plain torch",
            "medloss's own separable transform in plain torch",
            functools.partial(_plain, spacing_mm=spacing_mm),
        ),
        DistanceRival(
            "scipy",
            f"scipy.ndimage.distance_transform_edt{one}",
            _each(_scipy, spacing_mm),
        ),
        DistanceRival(
            "edt",
            f"the package edt, all cores{one}",
            _each(_edt_package, spacing_mm),
            not_installed("edt", "pip install edt"),
        ),
    ]
    if device != "cuda":
        return found
    cucim = not_installed("cucim", "pip install cucim-cu12")
    return [
        DistanceRival(
            "cucim", "cuCIM's transform; one mask after another", _cucim(spacing_mm), cucim
        ),
        DistanceRival(
            "medloss, CPU",
            "medloss's transform on the processor, by way of the host",
            lambda masks: edt(masks.cpu(), tuple(spacing_mm)).to(masks.device),
        ),
        *found,
    ]


def _table(shape: tuple[int, ...], plan: DistancePlan, bench: Bench) -> Table:
    device = bench.device.name
    masks = label_masks(shape, plan.seed).to(device)
    spacing = plan.spacing_mm[: len(shape) - 2]
    backend = chosen_distance_backend(masks).name
    title = f"{shape_text(shape)} masks, {' x '.join(map(str, spacing))} mm, {device}"
    work: Work[Tensor, Tensor] = Work(
        "edt",
        4 * masks.numel(),
        5 * masks.numel(),  # a mask is read, a map written
        number=lambda found: float(found.double().mean()),
        answer=lambda found: found,
        note=lambda: "kernels compiled, or from a cache",
    )
    own = DistanceRival(
        OURS, f"medloss.distance.edt, backend {backend}", lambda given: edt(given, spacing)
    )
    others = rivals(device, spacing) if plan.rivals else []
    contest = bench.contest(
        title, work, own.contestant(masks), [each.contestant(masks) for each in others]
    )
    settings: dict[str, str | int] = {
        "shape": shape_text(shape),
        "device": device,
        "backend": backend,
        "unit": "map",
    }
    notes = (f"backend of medloss: {backend}", "value: mean distance in mm")
    return Table(settings, title, (contest,), notes)


def _judged(theirs: Tensor, ours: Tensor) -> Verdict:
    both = torch.isfinite(theirs) & torch.isfinite(ours)
    far = (theirs - ours)[both].abs() > CLOSE * ours[both].clamp_min(1)
    count = int(far.sum())
    return Verdict(f"{count} of {ours.numel()} distances differ" if count else "")


def _plain(masks: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    from medloss.distance import separable

    rows = parse_spacing(tuple(spacing_mm), batch=masks.shape[0], axes=masks.ndim - 2)
    return separable.distances(separable.Measurement(masks, rows, outside=0))


Single = Callable[["np.ndarray", Sequence[float]], "np.ndarray"]


def _each(single: Single, spacing_mm: Sequence[float]) -> Transform:
    """One mask after another on the host."""

    def transform(masks: Tensor) -> Tensor:
        host = masks.flatten(0, 1).cpu().numpy()
        maps = np.stack([single(mask, spacing_mm) for mask in host]).astype(np.float32)
        return torch.from_numpy(maps).view(masks.shape).to(masks.device)

    return transform


def _scipy(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    found: np.ndarray = import_module("scipy.ndimage").distance_transform_edt(mask, spacing_mm)
    return found


def _edt_package(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    package = import_module("edt")
    found: np.ndarray = package.edt(mask, anisotropy=tuple(spacing_mm), parallel=0)
    return found


def _cucim(spacing_mm: Sequence[float]) -> Transform:
    def transform(masks: Tensor) -> Tensor:
        cupy = import_module("cupy")
        morphology = import_module("cucim.core.operations.morphology")
        flat = cupy.asarray(masks.flatten(0, 1).to(torch.uint8).contiguous())
        maps = [morphology.distance_transform_edt(mask, sampling=spacing_mm) for mask in flat]
        found: Tensor = torch.as_tensor(cupy.stack(maps).astype(cupy.float32), device="cuda")
        return found.view(masks.shape)

    return transform
