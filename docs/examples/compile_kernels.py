"""What the triton kernels become on GPUs, without one: whether they compile, and to what.

Compiles the kernels for the arguments of real launches, with the tiles that would be chosen, and
takes the machine code apart with the tools that triton brings along.

python docs/examples/compile_kernels.py            # registers, instructions: docs/triton.md
python docs/examples/compile_kernels.py dice_ce    # those of one set of terms
python docs/examples/compile_kernels.py others     # fused head, log p, histograms
python docs/examples/compile_kernels.py --check    # every variant, for every kind of GPU
python docs/examples/compile_kernels.py --check 80 # some of each kind, for one
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
import triton
from kernel_variants import (
    SHARED_BYTES,
    VARIANTS,
    Launch,
    everything,
    loop,
    of_head,
    of_histograms,
    of_log_p,
    of_sums,
    representatives,
    request,
    resources,
)

from medloss.sums.gpu.backend import LaunchPlan

MAIN = 90
"""The compute capability, times ten, of the tables (H100, H200); all variants compile for it."""


class Compiled(NamedTuple):
    """What became of a kernel."""

    tile: tuple[int, ...]
    registers: int
    stack: int
    """Bytes that did not fit the registers."""
    instructions: float
    """In the loop over tiles, for each element of the input."""


def check(launches: Iterable[Launch], capability: int) -> tuple[int, list[str]]:
    """How many kernels compile, and what is wrong with the others."""
    good, wrong = 0, []
    for launch in launches:
        where = f"sm_{capability}, {launch.name}"
        try:
            kernels = launch.compiled(capability)
        except Exception as error:  # noqa: BLE001 whatever the compiler raises is its answer
            wrong.append(f"{where}: {type(error).__name__}: {' '.join(str(error).split())[-300:]}")
            continue
        for compiled in kernels:
            shared = compiled.metadata.shared
            if shared > SHARED_BYTES[capability]:
                most = SHARED_BYTES[capability]
                wrong.append(f"{where}: {shared} bytes of shared memory, {most} are there")
            else:
                good += 1
        if len(kernels) < len(launch.kernels):
            wrong.append(f"{where}: {len(kernels)} kernels of {launch.kernels} were launched")
    return good, wrong


def both(name: str, classes: int, dtype: torch.dtype) -> Iterator[Compiled]:
    """The kernel of the sums, and that of the gradient."""
    asked = request(VARIANTS[name], classes, dtype)
    for gradient, compiled in enumerate(of_sums(name, classes, dtype).compiled(MAIN)):
        tile = LaunchPlan(asked, gradient=bool(gradient)).load.tile_by_rule()
        registers, stack, code = resources(compiled)
        each = loop(code) * 32 * tile.warps / (classes * tile.voxels)
        yield Compiled(tile[:3], registers, stack, each)


def print_sums(names: Iterable[str]) -> None:
    """The table of class sums."""
    print("| terms | classes, dtype | sums: tile | registers | spilled | instructions "
          "| gradient: tile | registers | spilled | instructions |")  # fmt: skip
    print("| --- " * 10 + "|")
    for name in names:
        for classes, dtype in VARIANTS[name].shapes:
            row = [name, f"{classes}, {str(dtype).removeprefix('torch.')}"]
            for each in both(name, classes, dtype):
                tile = "{}x{}, {} warp".format(*each.tile) + "s" * (each.tile[2] > 1)
                row += [tile, f"{each.registers}", f"{each.stack}", f"{each.instructions:.0f}"]
            print("| " + " | ".join(row) + " |", flush=True)


def print_others() -> None:
    """The table of all the others."""
    print("| kernels, classes | forward: registers | spilled | backward: registers | spilled |")
    print("| --- " * 5 + "|")
    for classes in (14, 105):
        for launch in (of_head(classes, 32), of_log_p(classes), of_histograms(classes)):
            numbers = [f"{n}" for each in launch.compiled(MAIN) for n in resources(each)[:2]]
            print("| " + " | ".join([launch.name, *numbers]) + " |", flush=True)


def main(words: list[str]) -> None:
    """Print a table, or check."""
    if words[:1] != ["--check"]:
        print(f"triton {triton.__version__}, torch {torch.__version__}, sm_{MAIN}\n")
        print_others() if words == ["others"] else print_sums(words or VARIANTS)
        return
    checks: dict[int, Any] = {int(word): representatives for word in words[1:]}
    if not checks:
        checks = {n: everything if n == MAIN else representatives for n in SHARED_BYTES}
    failed = []
    for capability, launches in checks.items():
        good, wrong = check(launches(), capability)
        failed += wrong
        done = f"triton {triton.__version__}, sm_{capability}: {good} kernels compile"
        print("\n  ".join([f"{done}, {len(wrong)} faults", *wrong]), flush=True)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
