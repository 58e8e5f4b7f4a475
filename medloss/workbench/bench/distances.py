"""The suite of distance transforms: many masks at once, ours and others'."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medloss.distance import chosen_distance_backend, edt
from medloss.objects.spacing import parse_spacing
from medloss.workbench.bench import measure
from medloss.workbench.bench.copy_speed import LARGE, Copy
from medloss.workbench.bench.devices import Device
from medloss.workbench.bench.entries import failed, measured
from medloss.workbench.bench.environment import DISTANCE_PACKAGES, PACKAGES, environment
from medloss.workbench.bench.results import Contest, Entry, Report, Table
from medloss.workbench.bench.suite import Tell, shape_text

OURS, COPY = "medloss", "copy"
CLOSE = 1e-5
"""Relative difference that float32 explains."""
_ERRORS = (RuntimeError, TypeError, ValueError, ImportError, AttributeError)

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

    def settings(self) -> dict[str, str | int | float | bool]:
        """The plan in words and numbers."""
        return {
            "shapes": " ".join(map(shape_text, self.shapes)),
            "spacing_mm": " ".join(map(str, self.spacing_mm)),
            "rivals": self.rivals,
            "rounds": self.rounds,
            "memory": self.memory,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Peer:
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


def run(plan: DistancePlan, device: Device, tell: Tell = lambda text: None) -> Report:
    """Measure everything; ``tell`` hears what is being done."""
    found = {**environment((*PACKAGES, *DISTANCE_PACKAGES)), **device.describe()}
    copy = Copy(device.name, plan.copy_bytes)
    tables = tuple(_table(shape, plan, device, copy, tell) for shape in plan.shapes)
    return Report("distances", {**plan.settings(), "device": device.name}, found, tables)


def label_masks(shape: tuple[int, ...], seed: int) -> Tensor:
    """One mask for each class of a label map made from smooth noise, bool."""
    batch, classes, *space = shape
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, max(classes, 2), *[9] * len(space), generator=generator)
    mode = "trilinear" if len(space) == 3 else "bilinear"
    labels = functional.interpolate(noise, tuple(space), mode=mode).argmax(1, keepdim=True)
    return torch.cat([labels == label for label in range(classes)], 1)


def peers(device: str, spacing_mm: Sequence[float]) -> list[Peer]:
    """Whoever measures Euclidean distances, those of this device first."""
    one = f"; one mask after another{', by way of the host' * (device == 'cuda')}"
    found = [
        Peer(
            "plain torch",
            "medloss's own separable transform in plain torch",
            functools.partial(_plain, spacing_mm=spacing_mm),
        ),
        Peer(
            "scipy",
            f"scipy.ndimage.distance_transform_edt{one}",
            _each(_scipy, spacing_mm),
        ),
        Peer(
            "edt",
            f"the package edt, all cores{one}",
            _each(_edt_package, spacing_mm),
            "" if find_spec("edt") else "edt is not installed (pip install edt)",
        ),
    ]
    if device != "cuda":
        return found
    cucim = "" if find_spec("cucim") else "cucim is not installed (pip install cucim-cu12)"
    return [
        Peer("cucim", "cuCIM's transform; one mask after another", _cucim(spacing_mm), cucim),
        Peer(
            "medloss, CPU",
            "medloss's transform on the processor, by way of the host",
            lambda masks: edt(masks.cpu(), tuple(spacing_mm)).to(masks.device),
        ),
        *found,
    ]


def _table(
    shape: tuple[int, ...], plan: DistancePlan, device: Device, copy: Copy, tell: Tell
) -> Table:
    masks = label_masks(shape, plan.seed).to(device.name)
    spacing = plan.spacing_mm[: len(shape) - 2]
    backend = chosen_distance_backend(masks).name
    title = f"{shape_text(shape)} masks, {' x '.join(map(str, spacing))} mm, {device.name}"
    entry = Entry(OURS, f"medloss.distance.edt, backend {backend}")
    own = _Subject(entry, lambda given: edt(given, spacing), masks)
    expected = own.first(device)
    subjects = [own]
    for peer in peers(device.name, spacing) if plan.rivals else ():
        tell(f"{title}: {peer.name}, first call")
        subjects.append(_rival(peer, masks, expected, device))
    running = [each.entrant() for each in subjects if each.entry.status in ("ok", "disagrees")]
    rounds = [*running, measure.Entrant(COPY, copy)]
    times = measure.rounds(rounds, plan.rounds, device, lambda text: tell(f"{title}: {text}"))
    measures_memory = plan.memory and not device.no_memory
    extra = measure.memory(running, device) if measures_memory else {}
    entries = [measured(each.entry, times, extra) for each in subjects]
    contest = Contest(
        "edt",
        entries[0],
        tuple(entries[1:]),
        unit_bytes=4 * masks.numel(),
        floor_bytes=5 * masks.numel(),  # a mask is read, a map written
        copy_bytes=copy.moved_bytes,
        copy_s=tuple(times[COPY].wall_s),
        notes=("kernels compiled, or from a cache",),
    )
    settings: dict[str, str | int] = {
        "shape": shape_text(shape),
        "device": device.name,
        "backend": backend,
        "unit": "map",
    }
    notes = (f"backend of medloss: {backend}", "value: mean distance in mm")
    return Table(settings, title, (contest,), notes)


class _Subject:
    """A transform that takes part."""

    def __init__(self, entry: Entry, transform: Transform, masks: Tensor) -> None:
        self.entry, self._transform, self._masks = entry, transform, masks

    def first(self, device: Device) -> Tensor | None:
        """Run and note the first call; its map, or None and why it failed."""
        found: list[Tensor] = []
        try:
            first_s = device.time(lambda: found.append(self._transform(self._masks))).wall_s
        except _ERRORS as error:
            self.entry = failed(self.entry, error)
            return None
        value = float(found[0].double().mean())
        number = value if np.isfinite(value) else None
        self.entry = replace(self.entry, first_s=first_s, numbers={"value": number})
        return found[0]

    def entrant(self) -> measure.Entrant:
        """For the rounds."""
        return measure.Entrant(self.entry.name, lambda: self._transform(self._masks))


def _rival(peer: Peer, masks: Tensor, expected: Tensor | None, device: Device) -> _Subject:
    entry = Entry(peer.name, peer.computes)
    subject = _Subject(entry, peer.transform, masks)
    if peer.why_not:
        subject.entry = replace(entry, status="missing", reason=peer.why_not)
        return subject
    found = subject.first(device)
    if found is None or expected is None:
        return subject
    both = torch.isfinite(found) & torch.isfinite(expected)
    far = (found - expected)[both].abs() > CLOSE * expected[both].clamp_min(1)
    if bool(far.any()):
        reason = f"{int(far.sum())} of {masks.numel()} distances differ"
        subject.entry = replace(subject.entry, status="disagrees", reason=reason)
    else:
        subject.entry = replace(subject.entry, check="equal")
    return subject


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
