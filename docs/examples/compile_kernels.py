"""What the triton kernels become on a GPU, without one: registers, spills, instructions.

Compiles the kernels for compute capability 9.0 (H100, H200) with the tiles that would be chosen,
and takes the machine code apart with the tools that triton brings along.

python docs/examples/compile_kernels.py            # the table of docs/engine.md
python docs/examples/compile_kernels.py dice_ce    # one set of terms
python docs/examples/compile_kernels.py others     # fused head, log p, histograms
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from medloss.histograms import gpu as histograms
from medloss.sums.gpu import backend, fused_head
from medloss.sums.gpu.plan import Plan
from medloss.sums.request import Request
from medloss.sums.terms import WITH_MAP, Activation, Term, as_terms

TARGET = GPUTarget("cuda", 90, 32)
TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"
VOXELS = 4096
FEW = ((2, torch.float32), (14, torch.float32), (14, torch.bfloat16))
MANY = ((105, torch.float32), (105, torch.bfloat16), (200, torch.float32))
DOUBLE = ((14, torch.float64), (105, torch.float64))
Shapes = tuple[tuple[int, torch.dtype], ...]


class Variant(NamedTuple):
    """What is compiled."""

    terms: tuple[str | Term, ...]
    activation: Activation = "softmax"
    index: bool = True
    masked: bool = False
    shapes: Shapes = (FEW[1], MANY[0], MANY[2])


FOCAL, FOCAL_NEG = Term("focal", 2.0), Term("focal_neg", 2.0)
ALL = (
    *("v", "p", "t", "tp", "pp", "tt", "l1", "sqt", "ce", "ce_neg", "nlog", FOCAL, FOCAL_NEG),
    *(Term("power", 1.5), Term("focal", 0.7), Term("map", "m"), Term("map2", "m")),
)
VARIANTS = {
    "dice_ce": Variant(("tp", "p", "t", "ce"), shapes=FEW + MANY + DOUBLE),
    "dice_ce, mask": Variant(("tp", "p", "t", "ce"), masked=True),
    "dice_focal": Variant(("tp", "p", "t", FOCAL)),
    "focal 1.5": Variant((Term("focal", 1.5), "t")),
    "dice, soft": Variant(("tp", "pp", "tt", "l1"), index=False),
    "boundary": Variant(("tp", "p", "t", "ce", Term("map", "m"))),
    "hausdorff": Variant((Term("map2", "m"),)),
    "ce_neg": Variant(("ce", "ce_neg", "tp", "p", "t")),
    "bce_dice": Variant(("tp", "p", "t", "ce", "ce_neg"), "sigmoid", index=False),
    "sigmoid focal": Variant((FOCAL, FOCAL_NEG), "sigmoid"),
    "given dice": Variant(("tp", "p", "t"), "probabilities"),
    "all terms": Variant(ALL, index=False, masked=True, shapes=FEW + MANY + DOUBLE),
    "all, sigmoid": Variant(ALL, "sigmoid", index=False, masked=True),
}


class Compiled(NamedTuple):
    """What became of a kernel."""

    tile: tuple[int, ...]
    registers: int
    stack: int
    """Bytes that did not fit the registers."""
    shared: int
    """Bytes."""
    instructions: float
    """In the loop over tiles, for each element of the input."""


class NoDevice:
    """Stands for a driver: triton compiles for the target, and nothing is run."""

    def get_current_target(self) -> GPUTarget:
        """What to compile for."""
        return TARGET

    def get_current_device(self) -> int:
        """The first."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """The default one."""
        return 0


class Kept:
    """Stands for a kernel: compiles it for the arguments of a launch, and keeps the result."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.compiled: Any = None

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*arguments: Any, **options: Any) -> None:
            self.compiled = self.kernel.warmup(*arguments, grid=grid, **options)

        return launch


def request(variant: Variant, classes: int, dtype: torch.dtype) -> Request:
    """Small tensors of the shapes that matter to the compiler."""
    x, one = torch.zeros(1, classes, VOXELS, dtype=dtype), torch.zeros(1, 1, VOXELS)
    terms = as_terms(variant.terms)
    has_map = any(term.name in WITH_MAP for term in terms)
    return Request(
        x,
        one.long() if variant.index else x.float(),
        one if variant.masked else None,
        (x,) if has_map else (),
        tuple(Term(t.name, "0") if t.name in WITH_MAP else t for t in terms),
        variant.activation,
    )


def launched(module: Any, names: tuple[str, ...], launch: Callable[[], object]) -> list[Any]:
    """What kernels of a module compile to, for the arguments that a call gives them."""
    kernels = [getattr(module, name) for name in names]
    kept = [Kept(kernel) for kernel in kernels]
    try:
        for name, each in zip(names, kept, strict=True):
            setattr(module, name, each)
        launch()
    finally:
        for name, kernel in zip(names, kernels, strict=True):
            setattr(module, name, kernel)
    return [each.compiled for each in kept]


def compile_both(asked: Request) -> Iterator[Compiled]:
    """The kernel of the sums, and that of the gradient."""

    def launch() -> None:
        backend.sums(asked)
        backend.slopes(asked, torch.zeros(1, len(asked.terms), asked.input.shape[1]))

    found = launched(backend, ("class_sums_kernel", "class_sums_slopes_kernel"), launch)
    for gradient, compiled in enumerate(found):
        tile = Plan(asked, gradient=bool(gradient)).load.tile_by_rule()
        registers, stack, code = resources(compiled)
        each = _loop(code) * 32 * tile.warps / (asked.input.shape[1] * tile.voxels)
        yield Compiled(tile[:3], registers, stack, compiled.metadata.shared, each)


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


def others(classes: int) -> Iterator[tuple[str, list[Any]]]:
    """Names of the other kernels, and what they compile to, forward and backward."""
    asked = request(VARIANTS["dice_ce"], classes, torch.float32)
    one, bins = torch.zeros(1, 1, VOXELS), 1024
    weight, bias = torch.zeros(classes, 32), torch.zeros(classes)
    head = fused_head.Head(torch.zeros(1, 32, VOXELS), weight, bias)

    def launch_head() -> None:
        fused_head.sums(asked, head)
        fused_head.slopes(asked, torch.zeros(1, len(asked.terms), classes), head)

    def launch_log_p() -> None:
        backend.log_p_true(asked)
        backend.log_p_true_slopes(asked, one)

    def launch_histograms() -> None:
        given = asked.input, asked.target, None, "softmax"
        histograms.histograms(*given, bins)
        histograms.slopes(*given, torch.zeros(1, classes, 2, bins), torch.zeros_like(asked.input))

    sums = "class_sums_kernel", "class_sums_slopes_kernel"
    yield "fused head, 32 features", launched(fused_head, sums, launch_head)
    of_true = "log_p_true_kernel", "log_p_true_slopes_kernel"
    yield "log p of the true class", launched(backend, of_true, launch_log_p)
    both = "count_kernel", "slopes_kernel"
    yield "error histograms", launched(histograms, both, launch_histograms)


def _tool(name: str, option: str, file: Any) -> str:
    command = [str(TOOLS / name), option, file.name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _loop(code: str) -> int:
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


def main(names: list[str]) -> None:
    """Print the table."""
    driver.set_active(NoDevice())
    print(f"triton {triton.__version__}, torch {torch.__version__}, {TARGET}\n")
    if names == ["others"]:
        print(
            "| kernels | classes | forward: registers | spilled | backward: registers | spilled |"
        )
        print("| --- " * 6 + "|")
        for classes in (14, 105):
            for name, both in others(classes):
                numbers = [f"{n}" for compiled in both for n in resources(compiled)[:2]]
                print("| " + " | ".join([name, str(classes), *numbers]) + " |", flush=True)
        return
    print("| terms | classes, dtype | sums: tile | registers | spilled | instructions "
          "| gradient: tile | registers | spilled | instructions |")  # fmt: skip
    print("| --- " * 10 + "|")
    for name in names or VARIANTS:
        for classes, dtype in VARIANTS[name].shapes:
            row = [name, f"{classes}, {str(dtype).removeprefix('torch.')}"]
            for each in compile_both(request(VARIANTS[name], classes, dtype)):
                tile = "{}x{}, {} warp".format(*each.tile) + "s" * (each.tile[2] > 1)
                row += [tile, f"{each.registers}", f"{each.stack}", f"{each.instructions:.0f}"]
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
