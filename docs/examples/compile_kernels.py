"""What the triton kernels become on a GPU, without one: registers, spills, instructions.

Compiles the kernels of class sums for compute capability 9.0 (H100, H200) with the tiles that the
backend would choose, and takes the machine code apart with the tools that triton brings along.

python docs/examples/compile_kernels.py            # the table of docs/engine.md
python docs/examples/compile_kernels.py dice_ce    # one set of terms
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from medloss.sums.gpu import backend
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


def compile_both(asked: Request) -> Iterator[Compiled]:
    """The kernel of the sums, and that of the gradient."""
    sums, slopes = Kept(backend.class_sums_kernel), Kept(backend.class_sums_slopes_kernel)
    backend.class_sums_kernel, backend.class_sums_slopes_kernel = sums, slopes
    try:
        backend.sums(asked)
        backend.slopes(asked, torch.zeros(1, len(asked.terms), asked.input.shape[1]))
    finally:
        backend.class_sums_kernel, backend.class_sums_slopes_kernel = sums.kernel, slopes.kernel
    for gradient, kept in enumerate((sums, slopes)):
        tile = Plan(asked, gradient=bool(gradient)).load.tile_by_rule()
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(kept.compiled.asm["cubin"])
            file.flush()
            usage, code = _tool("cuobjdump", "-res-usage", file), _tool("nvdisasm", "-c", file)
        found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
        if found is None:
            raise RuntimeError(f"cuobjdump: no usage of registers in {usage!r}")
        each = _loop(code) * 32 * tile.warps / (asked.input.shape[1] * tile.voxels)
        yield Compiled(tile[:3], int(found[1]), int(found[2]), kept.compiled.metadata.shared, each)


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
