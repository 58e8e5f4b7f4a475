"""What of medloss works here, and what does not: ``medloss doctor``.

A check is a function that yields findings; :data:`CHECKS` lists them by the heading that they stand
under. A check that fails itself is a finding too.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import pkgutil
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import medloss
from medloss.offers.host import Offer, PluginError, host
from medloss.offers.isolation import IsolatedError, isolated
from medloss.offers.records import Profile, Reader
from medloss.runtime import threads
from medloss.runtime.progress import tracked

if TYPE_CHECKING:
    from torch import Tensor

State = Literal["ok", "note", "broken"]

OPTIONAL = {
    "dicom": ("pydicom", "DICOM SEG and RTSTRUCT"),
    "png": ("pillow", "PNG, and folders of slices"),
    "tiff": ("tifffile", "TIFF and OME-TIFF"),
    "zarr": ("zarr", "OME-Zarr"),
    "parquet": ("pyarrow", "eval --table parquet"),
    "skeleton": ("scikit-image", "cl_dice and losses of centre lines"),
    "bundle": ("pytorch-ignite", "MONAI bundles, study"),
    "dask": ("distributed", "eval and study on a cluster"),
    "bench": ("matplotlib", "bench --plot"),
    "keras": ("keras", "losses in Keras"),
    "lightning": ("lightning", "losses in Lightning"),
    "tensorboard": ("tensorboard", "terms of losses in TensorBoard"),
}
"""By extra of medloss: the package that it stands for, and what that is for."""

_SETTINGS = (
    *("MEDLOSS_BACKEND", "MEDLOSS_DISTANCE_BACKEND", "MEDLOSS_TRITON_TILE"),
    *("MEDLOSS_DISABLE", "MEDLOSS_STRICT", "MEDLOSS_QUIET"),
)
_READERS = ("dicom", "png", "tiff", "zarr")
_REQUIREMENT = re.compile(r"\s*([\w.-]+)\s*(?:>=\s*([\d.]+))?")


@dataclass(frozen=True)
class Observation:
    """Something that was looked at.

    Args:
        what: in a word or two.
        value: what there is; of a fault what to do about it.
        state: ``"note"`` is worth a look, ``"broken"`` does not work.
    """

    what: str
    value: str
    state: State = "ok"


Check = Callable[[], Iterator[Observation]]


def examine() -> Iterator[tuple[str, Observation]]:
    """Everything that :data:`CHECKS` finds, with its heading."""
    every = [(heading, check) for heading, checks in CHECKS.items() for check in checks]
    for heading, check in tracked(every, "checks"):
        try:
            for finding in check():
                yield heading, finding
        except Exception as error:  # noqa: BLE001 - what is broken may raise anything
            name = check.__name__.strip("_").replace("_", " ")
            yield heading, Observation(name, f"{type(error).__name__}: {error}", "broken")


def _versions() -> Iterator[Observation]:
    from medloss.workbench.bench.environment import environment

    yield Observation("medloss", f"{medloss.__version__} in {Path(medloss.__file__).parent}")
    shown = ("Python", "system")
    yield from (
        Observation(what, value) for what, value in environment(()).items() if what in shown
    )
    try:
        required = metadata.requires("medloss") or []
    except metadata.PackageNotFoundError:
        yield Observation("installation", "none is recorded: pip install medloss", "broken")
        required = []
    for text in required:
        if "extra ==" not in text and (parts := _REQUIREMENT.match(text)):
            yield _required(parts[1], parts[2] or "0")
    version = _version("triton")
    yield Observation("triton", version or "not installed: only NVIDIA GPUs need it")


def _required(name: str, least: str) -> Observation:
    version = _version(name)
    if not version:
        return Observation(name, f"not installed: pip install '{name}>={least}'", "broken")
    if _numbers(version) < _numbers(least):
        wanted = f"{version}, and at least {least} is needed: pip install '{name}>={least}'"
        return Observation(name, wanted, "broken")
    return Observation(name, version)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processors() -> Iterator[Observation]:
    import torch

    from medloss.workbench.bench.environment import environment

    yield Observation("processor", environment(())["processor"])
    yield Observation("processors", threads.described())
    usable, of_torch = threads.processors(), torch.get_num_threads()
    if of_torch > usable:
        text = f"{of_torch}, on {usable} processors: OMP_NUM_THREADS={usable} makes torch faster"
        yield Observation("threads of torch", text, "note")
    else:
        yield Observation("threads of torch", str(of_torch))
    found = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    yield Observation("GPUs", ", ".join(found) or "none that torch finds")


def _settings() -> Iterator[Observation]:
    for name, value in sorted(os.environ.items()):
        if not name.startswith("MEDLOSS_"):
            continue
        if name in _SETTINGS or name in ("MEDLOSS_CHECKS", "MEDLOSS_TEST_TRITON"):
            yield Observation(name, value)
            continue
        near = difflib.get_close_matches(name, _SETTINGS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(_SETTINGS)}"
        yield Observation(name, f"no such setting; {hint}", "broken")
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        yield Observation("NUMBA_DISABLE_JIT", "nothing is compiled, and all is very slow", "note")


def _class_sums() -> Iterator[Observation]:
    """Which backend serves what, and why others do not; each in use is tried."""
    import torch

    from medloss.sums import backends, chosen_backend
    from medloss.sums.choice import VARIABLE, refusal

    for device in _devices():
        one = torch.zeros(1, 2, 4, 4, device=device)
        for dtype in (torch.float32, torch.bfloat16):
            what = f"class sums, {device}, {str(dtype).removeprefix('torch.')}"
            try:
                name, why = chosen_backend(one.to(dtype))
            except ValueError as error:
                yield Observation(what, str(error), "broken")
                continue
            slow = device != "cpu" and name != "triton" and VARIABLE not in os.environ
            yield Observation(what, f"{name}: {why}", "note" if slow else "ok")
        for name in backends():
            if reason := refusal(name, one):
                yield Observation(f"not {name}, {device}", reason)


def _distances() -> Iterator[Observation]:
    import torch

    from medloss.distance.transform import chosen_distance_backend

    for device in _devices():
        what = f"distance transforms, {device}"
        mask = torch.zeros(1, 1, 4, 4, 4, dtype=torch.bool, device=device)
        try:
            choice = chosen_distance_backend(mask)
        except ValueError as error:
            yield Observation(what, str(error), "broken")
        else:
            yield Observation(what, f"{choice.name}: {choice.why}")


def _histograms() -> Iterator[Observation]:
    import torch

    from medloss.histograms.engine import FUSED
    from medloss.sums import chosen_backend

    for device in _devices():
        with contextlib.suppress(ValueError):  # which has been said of class sums
            name = chosen_backend(torch.zeros(1, 2, 4, 4, device=device)).name
            own = f"{name}: as class sums" if name in FUSED else "plain torch"
            yield Observation(f"error histograms, {device}", own)


def _trials() -> Iterator[Observation]:
    """A loss and a metric on a small case, beside what they are by hand."""
    import numpy as np
    import torch

    from medloss.scoring import Case

    for device in _devices():
        logits = torch.zeros(1, 2, 4, 4, 4, device=device, requires_grad=True)
        labels = torch.zeros(1, 1, 4, 4, 4, device=device)
        labels[..., :2] = 1
        loss: Tensor = medloss.loss("dice_ce", softmax=True)(logits, labels)
        (gradient,) = torch.autograd.grad(loss, logits)
        value, right = loss.item(), 0.5 + float(np.log(2))  # p = 0.5 everywhere, half foreground
        good = abs(value - right) < 1e-4 and bool(gradient.isfinite().all())
        text = f"dice_ce of a small case is {value:.4f}"
        wrong = "" if good else f", and should be {right:.4f}, with a finite gradient"
        yield Observation(f"a loss, {device}", text + wrong, "ok" if good else "broken")
    cube = np.zeros((6, 6, 6), np.uint8)
    cube[1:4, 1:4, 1:4] = 1
    case = Case(np.roll(cube, 1, axis=0), cube, labels=(1,), spacing_mm=(2.0, 1.0, 1.0))
    offer = host().metrics.find("hausdorff95")
    value_mm = float(offer.load()(case.surfaces(1)))
    good = abs(value_mm - 2.0) < 1e-6
    text = f"hausdorff95 of a cube moved by 2 mm is {value_mm:g} mm"
    yield Observation("a metric", text, "ok" if good else "broken")


def _devices() -> list[str]:
    import torch

    return ["cpu"] + ["cuda"] * torch.cuda.is_available()


def _compiled_loops() -> Iterator[Observation]:
    """Machine code on disk: where, how much, for which loops, and whether it is still right."""
    from medloss.runtime.keeping import Kept

    import_loops()
    folders: dict[Path, list[Kept]] = {}
    nowhere = 0
    for kept in Kept.every:
        if kept.cache_path is None:
            nowhere += 1
        else:
            folders.setdefault(Path(kept.cache_path), []).append(kept)
    counts = [kept.counted() for kept in Kept.every]
    ready, outdated = sum(bool(n) for n, _ in counts), sum(old for _, old in counts)
    if nowhere:
        text = f"{nowhere} loops: no folder can be written; NUMBA_CACHE_DIR names one"
        yield Observation("nowhere to keep", text, "broken")
    size = sum(_size(path) for folder in folders for path in folder.glob("*.nb[ic]"))
    hint = "" if ready == len(counts) else "; 'medloss warmup all' compiles the others now"
    yield Observation("compiled", f"{ready} of {len(counts)} loops{hint}")
    if folders:
        yield Observation("kept in", f"{_root(folders)}{os.sep}...: {_megabytes(size)}")
    locked = [str(folder) for folder in folders if not writable(folder)]
    if locked:
        text = f"{', '.join(locked)} cannot be written; NUMBA_CACHE_DIR names another"
        yield Observation("kept", text, "broken")
    if outdated:
        text = f"{outdated} loops: of another version of medloss or numba; compiled anew when used"
        yield Observation("outdated", text)


def import_loops() -> None:
    """Import every module of medloss that has compiled loops, as its source says."""
    for root in medloss.__path__:
        for module in pkgutil.walk_packages([root], "medloss."):
            spec = module.module_finder.find_spec(module.name, None)
            path = Path(spec.origin) if spec and spec.origin else None
            if path and b"from medloss.runtime.compiling import" in path.read_bytes():
                importlib.import_module(module.name)


def _triton_kernels() -> Iterator[Observation]:
    if not _version("triton"):
        return
    given = os.environ.get("TRITON_CACHE_DIR")
    folder = Path(given) if given else Path.home() / ".triton" / "cache"
    size = sum(_size(path) for path in folder.rglob("*")) if folder.is_dir() else 0
    text = f"{folder}: {_megabytes(size)}"
    if writable(folder):
        yield Observation("triton's kernels", text)
    else:
        needed = "cuda" in _devices()
        text = f"{folder} cannot be written; TRITON_CACHE_DIR names another"
        yield Observation("triton's kernels", text, "broken" if needed else "note")


def writable(folder: Path) -> bool:
    """Whether a file can be made in a folder, or in what it would be made in."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _root(folders: Iterable[Path]) -> str:
    """What folders have in common; the first of them where they lie on several drives."""
    try:
        return os.path.commonpath(folders)
    except ValueError:
        return str(min(folders))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size else "empty"


def _plugins() -> Iterator[Observation]:
    found = host()
    states: Mapping[str, State] = {"ok": "ok", "disabled": "note"}
    offered: dict[Any, int] = {}
    for offer in found:
        offered[offer.plugin] = offered.get(offer.plugin, 0) + 1
    for plugin in found.plugins:
        number = offered.get(plugin, 0)
        empty = plugin.state == "ok" and not number
        said = "nothing on offer: its hooks yield nothing" if empty else f"{number} on offer"
        said = plugin.reason or said
        what = f"{plugin.name or plugin.module} ({plugin.distribution} {plugin.version})"
        told = said if plugin.state == "ok" else f"{plugin.state}: {said}"
        yield Observation(what, told, "note" if empty else states.get(plugin.state, "broken"))
    for remark in found.remarks():
        yield Observation("remark", remark, "note")


def _offers() -> Iterator[Observation]:
    """Import all that is on offer: what cannot be imported is told here and not in a training."""
    offers: list[Offer[Any]] = list(host())
    broken = 0
    for offer in offers:
        try:
            with isolated():
                target = offer.load()
        except (PluginError, IsolatedError, ValueError) as error:
            broken += 1
            yield Observation(offer.full_name, str(error), "broken")
            continue
        if not isinstance(offer.record, Profile | Reader) and not callable(target):
            broken += 1
            text = f"{offer.record.target} is no class and no function"
            yield Observation(offer.full_name, text, "broken")
    yield Observation("imported", f"{len(offers) - broken} of {len(offers)} on offer")


def _optional() -> Iterator[Observation]:
    for extra, (package, purpose) in OPTIONAL.items():
        version = _version(package)
        way = f"not installed: pip install 'medloss[{extra}]'"
        kind = "reads " if extra in _READERS else ""
        yield Observation(f"{kind}{purpose}", f"{package} {version}" if version else way)


CHECKS: dict[str, list[Check]] = {
    "Versions": [_versions],
    "Machine": [_processors],
    "Settings": [_settings],
    "Backends": [_class_sums, _distances, _histograms, _trials],
    "Compiled code": [_compiled_loops, _triton_kernels],
    "Plugins": [_plugins, _offers],
    "Optional": [_optional],
}
"""Checks by heading, in the order in which they run."""
