"""What the triton kernels are compiled for where there is no GPU: by arguments of real launches."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from medloss.distance import gpu as distances
from medloss.distance.separable import Measurement
from medloss.histograms import confidence_gpu as confidence
from medloss.histograms import gpu as histograms
from medloss.sums import Activation, Term
from medloss.sums.gpu import backend, ratios, true_class
from medloss.sums.gpu.head import Head
from medloss.sums.gpu.residence import first_that_fits
from medloss.sums.ratios import Ratio
from medloss.sums.request import SumsRequest
from medloss.sums.terms import as_terms

TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"
VOXELS = 4096
SHARED_BYTES = {75: 64 << 10, 80: 99 << 10, 86: 99 << 10, 90: 99 << 10, 120: 99 << 10}
"""What a program may have of the memory that its threads share, by compute capability; data centre
GPUs have more, but a kernel is to run on all of its generation."""
SUMS = "class_sums_kernel", "class_sums_slopes_kernel"
FEW = ((2, torch.float32), (14, torch.float32), (14, torch.bfloat16))
MANY = ((105, torch.float32), (105, torch.bfloat16), (200, torch.float32))
DOUBLE = ((14, torch.float64), (105, torch.float64))
Shapes = tuple[tuple[int, torch.dtype], ...]


class Variant(NamedTuple):
    """A set of terms, and what else the kernels of class sums are compiled for."""

    terms: tuple[str | Term, ...]
    activation: Activation = "softmax"
    index: bool = True
    masked: bool = False
    shapes: Shapes = (FEW[1], MANY[0])


FOCAL, FOCAL_NEG = Term("focal", 2.0), Term("focal_neg", 2.0)
ALL = (
    *("v", "p", "t", "tp", "pp", "tt", "l1", "sqt", "ce", "ce_neg", "nlog", FOCAL, FOCAL_NEG),
    *(Term("power", 1.5), Term("focal", 0.7), Term("map", map="m"), Term("map2", map="m")),
    *(Term("tp_map", map="m"), Term("t_map", map="m")),
)
VARIANTS = {
    "dice_ce": Variant(("tp", "p", "t", "ce"), shapes=FEW + MANY + DOUBLE),
    "dice_ce, mask": Variant(("tp", "p", "t", "ce"), masked=True),
    "dice_focal": Variant(("tp", "p", "t", FOCAL)),
    "focal 1.5": Variant((Term("focal", 1.5), "t")),
    "dice, soft": Variant(("tp", "pp", "tt", "l1"), index=False),
    "boundary": Variant(("tp", "p", "t", "ce", Term("map", map="m"))),
    "hausdorff": Variant((Term("map2", map="m"),)),
    "ce_neg": Variant(("ce", "ce_neg", "tp", "p", "t")),
    "bce_dice": Variant(("tp", "p", "t", "ce", "ce_neg"), "sigmoid", index=False),
    "sigmoid focal": Variant((FOCAL, FOCAL_NEG), "sigmoid"),
    "given dice": Variant(("tp", "p", "t"), "probabilities"),
    "all terms": Variant(ALL, index=False, masked=True),
    "all, index": Variant(ALL, masked=True),
    "all, sigmoid": Variant(ALL, "sigmoid", index=False, masked=True),
}


class NoDevice:
    """Stands for a driver: triton compiles for the target, and nothing is run.

    Args:
        capability: that of the device, times ten; also its number, by which triton keeps kernels.
    """

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        """What to compile for."""
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        """One for each target."""
        return self.capability

    def get_current_stream(self, device: int) -> int:
        """The default one."""
        return 0


class Kept:
    """Stands for a kernel: compiles it for the arguments of each launch, and keeps the results."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.compiled: list[Any] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*arguments: Any, **options: Any) -> None:
            self.compiled.append(self.kernel.warmup(*arguments, grid=grid, **options))

        return launch


class Launch(NamedTuple):
    """A call that launches kernels.

    Args:
        name: of what it stands for.
        module: that has the kernels.
        kernels: by their names there.
        call: what launches them.
    """

    name: str
    module: Any
    kernels: tuple[str, ...]
    call: Callable[[], object]

    def compiled(self, capability: int) -> list[Any]:
        """What the kernels become, in order of their names, for a compute capability times ten."""
        driver.set_active(NoDevice(capability))
        kernels = [getattr(self.module, name) for name in self.kernels]
        kept = [Kept(kernel) for kernel in kernels]
        try:
            for name, each in zip(self.kernels, kept, strict=True):
                setattr(self.module, name, each)
            with mock.patch.object(backend, "stages_that_fit", partial(_stages, capability)):
                self.call()
        finally:
            for name, kernel in zip(self.kernels, kernels, strict=True):
                setattr(self.module, name, kernel)
        return [compiled for each in kept for compiled in each.compiled]


def _stages(
    capability: int, kernel: Kept, given: tuple[Any, ...], choices: dict[str, Any], *_: Any
) -> int:
    """As on a device of this capability that shares the least."""
    return first_that_fits(kernel.kernel, given, choices, SHARED_BYTES[capability])


def request(variant: Variant, classes: int, dtype: torch.dtype) -> SumsRequest:
    """Small tensors of the shapes that matter to the compiler."""
    x, one = torch.zeros(1, classes, VOXELS, dtype=dtype), torch.zeros(1, 1, VOXELS)
    terms = as_terms(variant.terms)
    has_map = any(term.map is not None for term in terms)
    return SumsRequest(
        x,
        one.long() if variant.index else x.float(),
        one if variant.masked else None,
        (x,) if has_map else (),
        tuple(t if t.map is None else Term(t.name, map="0") for t in terms),
        variant.activation,
    )


def of_sums(name: str, classes: int, dtype: torch.dtype) -> Launch:
    """The two kernels of class sums, for a variant by its name."""
    asked = request(VARIANTS[name], classes, dtype)

    def call() -> None:
        backend.sums(asked)
        backend.slopes(asked, torch.zeros(1, len(asked.terms), classes))

    return Launch(f"{name}, {classes}, {str(dtype).removeprefix('torch.')}", backend, SUMS, call)


def of_ratios(
    batch: int, classes: int, programs: int = 200, dtype: torch.dtype = torch.float32
) -> Launch:
    """Dice and cross entropy of what programs found; with several samples, pooled and cut."""
    several = batch > 1
    dice = Ratio((("tp", 2.0),), (("p", 1.0), ("t", 1.0)), (1e-5, 1e-5), int(several), several)
    mean = Ratio((("ce", 1.0),), (("t", 1.0),), first=int(several))
    terms = as_terms(("tp", "p", "t", "ce"))
    found = torch.zeros(batch, programs, len(terms), classes, dtype=torch.float64)

    def call() -> None:
        ratios.of_partial(found, dtype, terms, ((1.0, dice), (0.5, mean)))

    return Launch(f"ratios, {batch}, {classes}, {dtype}", ratios, ("ratios_kernel",), call)


def of_head(classes: int, features: int, *, bias: bool = True, name: str = "dice_ce") -> Launch:
    """The same with the convolution inside."""
    asked = request(VARIANTS[name], classes, torch.float32)
    weight, of_bias = torch.zeros(classes, features), torch.zeros(classes) if bias else None
    head = Head(torch.zeros(1, features, VOXELS), weight, of_bias)

    def call() -> None:
        backend.sums(asked, head)
        backend.slopes_of_head(asked, torch.zeros(1, len(asked.terms), classes), head)

    words = f"fused head, {features} features" + ("" if bias else ", no bias")
    return Launch(f"{words}, {name}, {classes}", backend, SUMS, call)


def of_log_p(classes: int) -> Launch:
    """Log p of the true class."""
    asked, one = request(VARIANTS["dice_ce"], classes, torch.float32), torch.zeros(1, 1, VOXELS)

    def call() -> None:
        true_class.log_p_true(asked)
        true_class.log_p_true_slopes(asked, one)

    names = "log_p_true_kernel", "log_p_true_slopes_kernel"
    return Launch(f"log p of the true class, {classes}", true_class, names, call)


def of_histograms(classes: int, name: str = "dice_ce") -> Launch:
    """Error histograms, for activation, target and mask of a variant."""
    asked = request(VARIANTS[name], classes, torch.float32)

    def call() -> None:
        given = asked.input, asked.target, asked.mask, asked.activation
        histograms.histograms(*given, 1024)
        histograms.slopes(*given, torch.zeros(1, classes, 2, 1024), torch.empty_like(asked.input))

    names = "count_kernel", "slopes_kernel"
    return Launch(f"error histograms, {name}, {classes}", histograms, names, call)


def of_confidence(classes: int, name: str, *, soft: bool) -> Launch:
    """Sums over bins of probability, for activation, target and mask of a variant."""
    asked = request(VARIANTS[name], classes, torch.float32)

    def call() -> None:
        given = asked.input, asked.target, asked.mask, asked.activation
        confidence.sums(*given, 20, soft)
        table = torch.zeros(1, classes, 3, 21 if soft else 20)
        confidence.slopes(*given, table, soft, torch.empty_like(asked.input))

    names = "confidence_kernel", "confidence_slopes_kernel"
    words = f"{'soft' if soft else 'hard'} bins of probability, {name}, {classes}"
    return Launch(words, confidence, names, call)


def of_distances(shape: tuple[int, ...], dtype: torch.dtype, **sides: int) -> Launch:
    """The passes of a distance transform."""
    mask = torch.zeros(1, 2, *shape, dtype=torch.bool)

    def call() -> None:
        spacing_mm = ((1.0, 1.5, 2.0)[: len(shape)],)
        distances.distances(Measurement(mask, spacing_mm, dtype=dtype, **sides))

    words = f"distances, {'x'.join(map(str, shape))}, {str(dtype).removeprefix('torch.')}"
    return Launch(words, distances, ("scan_lines", "least_of_blocks", "carry"), call)


def representatives() -> Iterator[Launch]:
    """One of each kind, with everything that a kind may have."""
    yield of_sums("dice_ce", 14, torch.float32)
    yield of_sums("all, index", 14, torch.float32)
    yield of_ratios(2, 14)
    yield of_head(14, 32)
    yield of_head(5, 3, bias=False)
    yield of_log_p(14)
    yield of_histograms(14)
    yield of_histograms(3, "all, sigmoid")
    yield of_confidence(14, "dice_ce", soft=False)
    yield of_confidence(3, "all, sigmoid", soft=True)
    yield of_distances((16, 12, 128), torch.float32)


def everything() -> Iterator[Launch]:
    """Every variant, each once."""
    yield from representatives()
    for name, variant in VARIANTS.items():
        for classes, dtype in variant.shapes[:1] if name != "dice_ce" else variant.shapes:
            if (name, classes, dtype) != ("dice_ce", 14, torch.float32) and name != "all, index":
                yield of_sums(name, classes, dtype)
    for classes, features in ((2, 128), (14, 256), (64, 128), (105, 64)):  # up to what is served
        yield of_head(classes, features, bias=classes != 14)
    yield of_head(3, 16, name="bce_dice")
    yield of_ratios(1, 2)
    yield of_ratios(2, 105, 1)
    yield of_ratios(16, 200, 1, torch.float64)
    yield of_log_p(105)
    yield of_histograms(105)
    yield of_histograms(14, "all terms")
    yield of_histograms(2, "given dice")
    yield of_distances((9, 5), torch.float32, outside=0)
    yield of_distances((7, 5, 500), torch.float64, inside=-1)


def resources(compiled: Any) -> tuple[int, int, str]:
    """Registers of a thread, bytes spilled, and the machine code."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage, code = _tool("cuobjdump", "-res-usage", file), _tool("nvdisasm", "-c", file)
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if found is None:
        raise RuntimeError(f"cuobjdump: no usage of registers in {usage!r}")
    return int(found[1]), int(found[2]), code


def _tool(name: str, option: str, file: Any) -> str:
    command = [str(TOOLS / name), option, file.name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def loop(code: str) -> int:
    """Instructions of the longest loop."""
    labels: dict[str, int] = {}
    longest = count = 0
    for line in code.splitlines():
        if label := re.match(r"\s*(\.L_\w+):", line):
            labels[label[1]] = count
        elif re.match(r"\s+/\*[0-9a-f]{4,}\*/\s", line):
            count += 1
            if back := re.search(r"BRA.*`\((\.L_\w+)\)", line):
                longest = max(longest, count - labels.get(back[1], count))
    return longest
