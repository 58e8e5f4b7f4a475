"""What only a GPU can show, in one run of at most seven minutes: every kernel checked, then timed.

    python docs/examples/on_a_gpu.py --json found.json               # needs a CUDA device
    python docs/examples/on_a_gpu.py --device cpu --json found.json  # small, in the interpreter

From a checkout: of packages it needs torch, triton, numpy and pluggy, of the system what triton
needs (a C compiler, the headers of Python). What else is there is used: numba for facts of masks,
pytest for more checks of the kernels, MONAI and exacta to be measured beside. Each part is a
process with a limit of its own: checks at the same time, then times, one after another.

Exit code: 0 all right, 1 something is wrong, 2 there is no such device, 3 nothing is wrong as far
as it went, but a package was missing or the time was up.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT), str(ROOT / "plugins"), str(ROOT / "tests")]
SECONDS = 420
CHECKS_SHARE = 0.55
"""Of the time, for all checks together, which run at once."""
TESTS = (
    "tests/sums/test_triton.py",
    "tests/sums/test_head_kernels.py",
    "tests/histograms/test_gpu.py",
    "tests/distance/test_gpu.py",
    "tests/scoring/test_tensors.py",
    "tests/plugins/test_cuda.py",
)
SCRIPTS = ("measure_fused_head.py --device cuda", "measure_distance_cuda.py")
CLASSES = {"cuda": (1, 2, 3, 5, 8, 14, 16, 33, 64, 105, 133, 200), "cpu": (1, 3)}
SHAPES = {
    "cuda": ("2,14,96,96,96", "1,105,128,128,128", "2,2,96,96,96"),
    "cpu": ("1,3,8,8,8",),
}
ROUNDS = {"cuda": 15, "cpu": 2}
RIVALS = {"cuda": ("monai", "torch", "exacta", "compiled"), "cpu": ("monai", "torch", "exacta")}
DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16", "float64")}
TAIL = 20000
"""Characters of a part's output that are kept."""
OPTIONAL = ("pytest", "numba", "llvmlite", "hypothesis", "scipy", "monai", "exacta", "click")

Check = tuple[str, Callable[[], object]]


@dataclass
class Part:
    """Something that is run by itself.

    Args:
        name: to read.
        command: what runs it; empty is a function of this file.
        needs: a package without which it is not run.
        state: ``right``, ``wrong``, ``missing`` (a package) or ``late`` (its time was up).
        seconds: that it took.
        found: a row for each check, or one report of times.
        output: the end of what it printed, where it is not right or is all there is.
    """

    name: str
    command: list[str] = field(default_factory=list)
    needs: str = ""
    state: str = ""
    seconds: float = 0.0
    found: list[dict[str, Any]] = field(default_factory=list)
    output: str = ""


def checks_of(device: str) -> list[Part]:
    """Parts that may run at the same time."""
    names = [f"class sums {name}" for name in DTYPES]
    parts = [Part(name) for name in (*names, *CHECKS)]
    if device == "cuda":
        for path in TESTS:
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path]
            if path.endswith("test_triton.py") and find_spec("xdist"):
                command += ["-n", "4"]  # it compiles the most
            parts.append(Part(path, command, needs="pytest"))
    return parts


def times_of(device: str) -> list[Part]:
    """Parts that run alone."""
    dtypes = ("float32", "bfloat16") if device == "cuda" else ("float32",)
    parts = [Part(f"times {shape} {dtype}") for shape in SHAPES[device] for dtype in dtypes]
    if device == "cuda":
        for words in SCRIPTS:
            name, *options = words.split()
            script = str(Path(__file__).with_name(name))
            parts.append(Part(name, [sys.executable, script, *options]))
        parts += [Part(f"times {shape} float32 tuned") for shape in SHAPES[device][:2]]
    return parts


def class_sums(name: str, device: str, seed: int) -> Iterator[Check]:
    """All terms, activations, targets; any number of classes; odd sides and strides."""
    from sums.engine_cases import ALL_TERMS, STEADY, assert_equal_to_reference, case

    from medloss.sums import Term

    dtype, few = DTYPES[name], device == "cpu"
    common = ("tp", "p", "t", "ce", "v", Term("focal", 2.0))
    exact = dtype == torch.float64
    terms = ALL_TERMS if exact else STEADY
    rtol = 1e-12 if exact else 1e-5
    bent = 1e-10 if exact else max(1e-5, torch.finfo(dtype).eps)
    numbers = torch.Generator().manual_seed(seed)

    def check(
        terms: Any, layout: str, shape: tuple[int, ...], activation: str, kind: str, masked: bool
    ) -> object:
        given = case(activation, kind, dtype, shape=shape, masked=masked, seed=seed)
        arguments = moved(given, device)
        z = arguments["input"]
        if layout == "channels last":
            arguments["input"] = z.to(memory_format=torch.channels_last_3d)
        elif layout == "cut":
            arguments["input"] = torch.cat([z, z], -1)[..., : z.shape[-1]]
        poison(device)
        return assert_equal_to_reference(arguments, terms, rtol=rtol, gradient_tol=bent)

    for n, classes in enumerate(CLASSES[device]):
        sides = torch.randint(1, 4 if few else 40, (3,), generator=numbers).tolist()
        shape = (2, classes, *sides)
        layout = ("whole", "channels last", "cut")[n % 3]
        activation = "sigmoid" if classes == 1 else "softmax"
        words = f"{activation}, index, {classes} classes, {sides}, {layout}"
        yield words, partial(check, common, layout, shape, activation, "index", n % 2 > 0)
    for n, activation in enumerate(("softmax", "sigmoid", "probabilities")):
        for kind in ("index", "soft") if not few else (("index", "soft", "one-hot")[n],):
            shape = (2, 3, 2, 3, 5) if few else (2, 5, 7, 15, 59)
            words = f"{'all' if exact else 'steady'} terms, {activation}, {kind}"
            yield words, partial(check, terms, "whole", shape, activation, kind, True)


def fused_head(device: str, seed: int) -> Iterator[Check]:
    """Few and many features and classes, with and without a bias."""
    from sums.head_cases import errors_of_head

    sizes = [(3, 5), (17, 20), (128, 2), (32, 105), (64, 105), (128, 64), (256, 14), (1, 1)]
    for features, classes in sizes if device == "cuda" else sizes[:1]:
        for name in ("dice_ce", "bce_dice"):
            options = {"sigmoid" if name == "bce_dice" else "softmax": True}
            for dtype in (torch.float32, torch.bfloat16):
                words = f"{name}, {features} features, {classes} classes, {dtype}"
                given = (name, options, features, classes, dtype)
                bias = dtype == torch.float32
                if name == "bce_dice" or classes > 1:
                    where = {"bias": bias, "device": device, "seed": seed}
                    yield words, partial(errors_of_head, *given, **where)


def ratios(device: str, seed: int) -> Iterator[Check]:
    """Losses in closed form, whose algebra is one kernel: all kinds, any number of classes."""
    from sums.ratio_cases import cases, errors_of_ratios

    for name, options, masked in list(cases())[: None if device == "cuda" else 2]:
        where: dict[str, Any] = {"masked": masked, "device": device, "seed": seed}
        check = partial(errors_of_ratios, name, options, (2, 3, 7, 9), torch.float64, **where)
        yield f"{name}, {options}", check
    space = (17, 33, 9) if device == "cuda" else (3, 5)
    for n, classes in enumerate(CLASSES[device][1:]):
        for batch in (1, 2, 8):
            dtype = (torch.float32, torch.float64)[(n + batch) % 2]
            given = "dice_ce", {"softmax": True}, (batch, classes, *space), dtype
            check = partial(errors_of_ratios, *given, device=device, seed=seed)
            yield f"dice_ce, {batch} samples, {classes} classes, {dtype}", check


def whole_losses(device: str, _: int) -> Iterator[Check]:
    """Graphs, streams, torch.compile, autocast, host waits, bits; views, NaN, large offsets."""
    from device_checks import checks

    return checks(device)


def log_p(device: str, seed: int) -> Iterator[Check]:
    """Of the true class, any number of classes."""
    from sums.engine_cases import errors_of_log_p

    for n, classes in enumerate(CLASSES[device][1:]):
        for name, dtype in DTYPES.items():
            where = {"masked": n % 2 > 0, "device": device, "seed": seed}
            yield f"{classes} classes, {name}", partial(errors_of_log_p, classes, dtype, **where)


def histograms(device: str, seed: int) -> Iterator[Check]:
    """Error histograms: activations, kinds of targets, any number of classes."""
    from histograms.histogram_cases import case, errors_against_plain

    space = (3, 5, 7) if device == "cpu" else (7, 15, 59)

    def check(activation: str, kind: str, dtype: Any, classes: int, masked: bool) -> object:
        arguments = case(activation, kind, dtype, classes=classes, space=space, seed=seed)
        if not masked:
            arguments["mask"] = None
        on_device = moved(arguments, device)
        poison(device)
        return errors_against_plain(on_device, 16)

    kinds = [("softmax", "index"), ("sigmoid", "soft"), ("probabilities", "index")]
    for n, classes in enumerate(CLASSES[device]):
        for name, dtype in DTYPES.items():
            activation, kind = kinds[1 if classes == 1 else n % 3]
            given = (activation, kind, dtype, classes, n % 2 > 0)
            yield f"{activation}, {kind}, {classes} classes, {name}", partial(check, *given)


def distances(device: str, seed: int) -> Iterator[Check]:
    """Against brute force, and against plain torch in float64, objects that are far apart too."""
    from distance.brute_force import brute_force

    from medloss.distance import distances as measured
    from medloss.distance import separable

    rows = ((0.7, 2.5, 1.0), (1.0, 1.0, 3.0))

    def noise(samples: int, shape: tuple[int, ...], share: float) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(samples, 2, *shape, generator=generator) < share

    def small(shape: tuple[int, ...]) -> float:
        mask = noise(2, shape, 0.3)
        found = measured(mask.to(device), rows, dtype=torch.float64).cpu()
        errors = []
        for b in range(2):
            for c in range(2):
                one = mask[b, c].numpy()
                both = brute_force(one, rows[b], 0.0) + brute_force(~one, rows[b], 0.0)
                errors.append(float((found[b, c] - torch.from_numpy(both)).abs().max()))
        return below(1e-12, max(errors))

    def large(shape: tuple[int, ...]) -> float:
        mask = noise(1, shape, 0.01).to(device)
        mask[:, 1] = False
        mask[0, 1, -1, shape[1] // 2, 0] = mask[0, 1, 0, 0, -1] = True  # far from each other
        exact = separable.distances(separable.Measurement(mask, rows[:1], dtype=torch.float64))
        found = measured(mask, rows[:1])
        return below(3e-7, float(((found.double() - exact).abs() / exact.clamp_min(1e-9)).max()))

    for shape in ((5, 3, 4), (1, 9, 2), (7, 1, 3)):
        yield f"brute force, {shape}", partial(small, shape)
    for shape in ((96, 80, 64), (33, 65, 127)) if device == "cuda" else ((9, 6, 7),):
        yield f"plain torch, {shape}", partial(large, shape)


def surfaces(device: str, seed: int) -> Iterator[Check]:
    """Counts and surface distances of masks on the device, beside those of the compiled loops."""

    def check(preset: str) -> float:
        import numpy as np
        from scoring.shapes import sides

        from medloss.scoring import Case

        noise = np.random.default_rng(seed).integers(0, 4, (2, 5, 4, 6))
        maps = [each.repeat(2, 0).repeat(2, 1) for each in noise]
        here, there = (
            Case(*maps, labels=range(1, 4), spacing_mm=(0.8, 1.0, 2.5), preset=preset, device=where)
            for where in (None, device)
        )
        worst = 0.0
        for label in range(1, 4):
            if here.counts(label) != there.counts(label):
                raise ValueError(f"counts of {label}: {there.counts(label)}, {here.counts(label)}")
            both = (sides(case.surfaces(label)) for case in (here, there))
            for mine, theirs in zip(*both, strict=True):
                worst = max(worst, float(np.abs(np.subtract(mine, theirs)).max(initial=0)))
        return below(1e-9, worst)

    for preset in ("deepmind", "metricsreloaded", "exact"):
        yield preset, partial(check, preset)


CHECKS = {
    "whole losses": whole_losses,
    "ratios": ratios,
    "fused head": fused_head,
    "log p": log_p,
    "histograms": histograms,
    "distances": distances,
    "surfaces": surfaces,
}


def moved(arguments: dict[str, Any], device: str) -> dict[str, Any]:
    """Tensors on the device, also in dictionaries."""

    def move(each: Any) -> Any:
        if isinstance(each, dict):
            return moved(each, device)
        return each.to(device) if isinstance(each, torch.Tensor) else each

    return {name: move(each) for name, each in arguments.items()}


def below(limit: float, error: float) -> float:
    """The error, which must be smaller; a NaN is not."""
    if not error < limit:
        raise ValueError(f"off by {error}, expected less than {limit}")
    return error


def poison(device: str) -> None:
    """Fill the memory that the next results get, so that what is not written shows."""
    waste = [torch.full((n,), torch.nan, device=device) for n in (1 << 10, 1 << 16, 1 << 22)]
    del waste


def run_checks(checks: Iterator[Check], device: str) -> Iterator[dict[str, Any]]:
    """A row for each; ends where the device no longer answers."""
    for name, check in checks:
        row: dict[str, Any] = {"check": name, "state": "right"}
        start = time.perf_counter()
        try:
            row["errors"] = check()
            synchronize(device)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in OPTIONAL:
                raise
            row.update(state="missing", error=str(error))
        except MemoryError as error:  # of a check that looks before it allocates
            row.update(state="missing", error=str(error))
        except Exception:  # noqa: BLE001 whatever it is, the other checks are to run
            row.update(state="wrong", error=traceback.format_exc())
        row["seconds"] = time.perf_counter() - start
        yield row
        synchronize(device)  # a kernel that failed may have taken the process's device with it


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def times(words: str, device: str) -> dict[str, Any]:
    """Ours beside others, on one shape and dtype: the report of ``medloss bench``, as data.

    ``tuned`` is ``dice_ce`` by the fastest tiles, which are told.
    """
    from medloss.sums.gpu import tiles
    from medloss.workbench.bench import losses, results
    from medloss.workbench.bench.devices import find_device
    from medloss.workbench.bench.measure import LARGE

    shape, dtype, *tuned = words.split()
    os.environ.update({tiles.VARIABLE: tiles.TUNE} if tuned else {})
    plan = losses.LossPlan(
        losses=("dice_ce",) if tuned or device == "cpu" else ("dice_ce", "cross_entropy", "dice"),
        shapes=(tuple(map(int, shape.split(","))),),
        dtypes=(dtype,),
        rivals=() if tuned else RIVALS[device],
        rounds=ROUNDS[device],
        memory=device == "cuda",
        copy_bytes=LARGE if device == "cuda" else 1 << 20,
    )
    report = losses.run(plan, find_device(device))
    state = "wrong" if report.wrong else "right"
    data = json.loads(results.dumps(report))
    fastest = [f"{key}: {tile}" for key, tile in tiles._FASTEST.items()]
    wrong = "\n".join(report.wrong)
    return {"state": state, "error": wrong, "report": data, "tiles": fastest}


def child(name: str, into: Path, device: str, seed: int) -> None:
    """Run one part and write its rows as they come."""

    def rows() -> Iterator[dict[str, Any]]:
        kind, _, rest = name.rpartition(" ") if name.startswith("class") else name.partition(" ")
        if kind == "times":
            yield times(rest, device)
        elif kind == "class sums":
            yield from run_checks(class_sums(rest, device, seed), device)
        else:
            yield from run_checks(CHECKS[name](device, seed), device)

    with into.open("w") as file:
        for row in rows():
            file.write(json.dumps(row) + "\n")
            file.flush()


def run(part: Part, limit_s: float, device: str, seed: int, folder: Path) -> None:
    """Run a part in a process, for so long at most, and fill in what became of it."""
    start = time.perf_counter()
    into = folder / f"{part.name.replace('/', '_')}.jsonl"
    if part.needs and find_spec(part.needs) is None:
        part.state, part.output = "missing", f"{part.needs} is not installed"
        return
    own = [sys.executable, __file__, "--part", part.name, "--into", str(into)]
    command = part.command or [*own, "--device", device, "--seed", str(seed)]
    path = os.pathsep.join([*PATHS, str(folder), *was_on_path()])
    given = {**os.environ, "PYTHONPATH": path, "MEDLOSS_QUIET": "1"}
    if not part.name.startswith(("times", "measure")):
        if device == "cpu":
            given["TRITON_INTERPRET"] = "1"
        if not part.command:
            given.update(MEDLOSS_BACKEND="triton", MEDLOSS_DISTANCE_BACKEND="triton")
    printed = into.with_suffix(".txt")
    with printed.open("wb") as file:  # no pipe, which what a part has started might hold open
        process = subprocess.Popen(
            command, cwd=ROOT, env=given, stdout=file, stderr=file, start_new_session=True
        )
        try:
            part.state = "wrong" if process.wait(max(limit_s, 0.1)) else "right"
        except subprocess.TimeoutExpired:
            part.state = "late"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    part.output = printed.read_text(errors="replace")[-TAIL:]
    part.seconds = time.perf_counter() - start
    if into.is_file():
        lines = into.read_text().splitlines()
        part.found = [json.loads(line) for line in lines if line.endswith("}")]
    states = {row["state"] for row in part.found} | {part.state}
    part.state = next(each for each in ("wrong", "late", "missing", "right") if each in states)


def was_on_path() -> list[str]:
    """What the caller's PYTHONPATH had."""
    return list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))


def offer_plugins(folder: Path) -> None:
    """Entry points as an installation has them, if there is none."""
    if any(each.value == "medloss_region" for each in metadata.entry_points(group="medloss")):
        return
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    info = folder / "medloss-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: medloss\nVersion: 0\n")
    lines = [f"{name} = {value}" for name, value in points["medloss"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[medloss]", *lines, ""]))


def lines_of(part: Part) -> Iterator[str]:
    """The rows of the table: of times one for each loss."""
    reports = [row["report"] for row in part.found if "report" in row]
    said = ""
    if part.found and not reports:
        right = sum(row["state"] == "right" for row in part.found)
        said = f"{right} of {len(part.found)} checks"
    elif not reports and part.output.strip():
        said = part.output.strip().splitlines()[-1][:100]
    yield f"| {part.name} | {part.state} | {part.seconds:.0f} | {said} |"
    if reports:
        from medloss.workbench.bench import results

        for data in reports:
            (table,) = results.loads(json.dumps(data)).tables
            for contest in table.contests:
                told = []
                for entry in contest.entries:
                    ms = results.spread([1000 * each for each in entry.wall_s])
                    floors, slower = table.floors(contest, entry), contest.slower(entry)
                    if ms is None:
                        told.append(f"{entry.name} {entry.status}")
                        continue
                    told.append(f"{entry.name} {ms.median:.3f} ms, {floors or 0:.2f} x floor")
                    if entry is not contest.ours and slower is not None:
                        told[-1] += f", {slower.median:.2f} x ours"
                yield f"| | | | {contest.name}: {'; '.join(told)} |"


def main(words: Sequence[str] | None = None) -> int:
    """Run everything, or, asked by itself, one part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all; parts have shares")
    parser.add_argument("--json", type=Path, help="where all that was found goes")
    parser.add_argument("--only", default="", help="parts with one of these words, by commas")
    parser.add_argument("--seed", type=int, help="of the inputs; by default another each time")
    for hidden in ("--part", "--into"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    device = asked.device
    if device == "cuda" and not torch.cuda.is_available():
        print(
            f"no CUDA device: torch {torch.__version__} finds none here, so nothing was checked or "
            "measured; --device cpu checks some of it in triton's interpreter",
            file=sys.stderr,
        )
        return 2
    if asked.part:
        child(asked.part, Path(asked.into), device, asked.seed)
        return 0
    start = time.perf_counter()
    seed = int.from_bytes(os.urandom(3)) if asked.seed is None else asked.seed

    def wanted(part: Part) -> bool:
        return any(word in part.name for word in asked.only.split(","))

    checks = [part for part in checks_of(device) if wanted(part)]
    timed = [part for part in times_of(device) if wanted(part)]
    sys.path[:0] = PATHS
    from medloss.workbench.bench.devices import find_device
    from medloss.workbench.bench.environment import environment

    about = {**environment(), **find_device(device).describe(), "seed": str(seed)}
    print("; ".join(f"{name}: {text}" for name, text in about.items()), flush=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        offer_plugins(folder)
        limit = asked.seconds * (CHECKS_SHARE if timed else 1)
        with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2)) as pool:
            ends = partial(timely, end=start + limit, device=device, seed=seed, folder=folder)
            list(pool.map(ends, checks))
        for n, part in enumerate(timed):
            left = start + asked.seconds - time.perf_counter()
            run(part, 2 * left / (len(timed) - n + 1), device, seed, folder)
    if asked.json:
        found = {"environment": about, "parts": [asdict(part) for part in (*checks, *timed)]}
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
    print("| part | state | s | found |\n| --- | --- | --- | --- |")
    for part in (*checks, *timed):
        print("\n".join(lines_of(part)), flush=True)
    states = {part.state for part in (*checks, *timed)}
    return 1 if "wrong" in states else 3 if states - {"right"} or not states else 0


def timely(part: Part, end: float, device: str, seed: int, folder: Path) -> None:
    """Run a part until the clock says so."""
    run(part, end - time.perf_counter(), device, seed, folder)


if __name__ == "__main__":
    sys.exit(main())
