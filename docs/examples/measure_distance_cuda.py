"""The kernels of the distance transform on a CUDA device: time, memory, other tiles, registers.

    python docs/examples/measure_distance_cuda.py            # needs a CUDA device
    python docs/examples/measure_distance_cuda.py --compile  # registers for sm_90; needs none

Beside cuCIM and the CPU they are measured by ``medloss bench --distances --device cuda``.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import tempfile
from collections.abc import Callable

import torch
import triton
from torch import Tensor

from medloss.distance import edt, gpu, signed_distance
from medloss.workbench.bench.distances import label_masks

SPACING_MM, WARMUPS, ROUNDS = (1.0, 1.0, 2.5), 3, 10
SHAPES = [(4, 1, 256, 256, 256), (2, 14, 96, 96, 96)]
TILES = [(8, 64, 4, 4), (16, 64, 4, 4), (16, 64, 8, 4), (16, 128, 4, 4), (32, 64, 4, 4)]
"""Places and lines of a tile, offsets between two looks at it, warps."""


def on_device_ms(call: Callable[[], object]) -> float:
    """Median time between two events on the device."""
    times = []
    for n in range(WARMUPS + ROUNDS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        if n >= WARMUPS:
            times.append(begin.elapsed_time(end))
    return statistics.median(times)


def check(found: Tensor, expected: Tensor) -> None:
    """What the CPU gives, to the rounding of float32."""
    torch.testing.assert_close(found.cpu().float(), expected, rtol=1e-6, atol=0)


def measure(shape: tuple[int, ...]) -> None:
    """Each tile; all of them must give what the CPU gives."""
    on_cpu = label_masks(shape, seed=0)
    mask = on_cpu.cuda()
    inside, signed = edt(on_cpu, SPACING_MM), signed_distance(on_cpu, SPACING_MM)
    check(edt(mask, SPACING_MM), inside)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    check(edt(mask, SPACING_MM, dtype=torch.float64), inside)
    maps = (torch.cuda.max_memory_allocated() - before) / (8 * mask.numel())
    print(f"{shape}, {mask.float().mean():.0%} inside; {maps:.2f} maps of memory")
    print("  tile, step, warps    inside  float64  both sides, ms")
    for tile in TILES:
        gpu.TALL, gpu.WIDE, gpu.STEP, gpu.WARPS = tile
        check(signed_distance(mask, SPACING_MM), signed)
        times = [
            on_device_ms(lambda: edt(mask, SPACING_MM)),
            on_device_ms(lambda: edt(mask, SPACING_MM, dtype=torch.float64)),
            on_device_ms(lambda: signed_distance(mask, SPACING_MM)),
        ]
        print(f"  {tile!s:18}" + "".join(f"{ms:9.3f}" for ms in times))


def compile_kernels() -> None:
    """Registers, spilled bytes and vector loads of the kernels for sm_90."""
    print(f"triton {triton.__version__}, sm_90: registers, bytes on the stack, vector loads")
    for float_type in ("fp32", "fp64"):
        for width in (128, 512):
            sizes = {"LINES": max(1, gpu.SCANNED // width), "WIDTH": width}
            _compile(gpu.scan_lines, float_type, {**sizes, "LAST": False})
        for group in (4, 1):
            sizes = {"TALL": gpu.TALL, "WIDE": gpu.WIDE, "GROUP": group}
            _compile(gpu.least_of_blocks, float_type, sizes)
            _compile(gpu.carry, float_type, {**sizes, "STEP": gpu.STEP, "LAST": True})


def _compile(kernel: triton.JITFunction, float_type: str, sizes: dict[str, object]) -> None:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.knobs import nvidia

    floats = ("source", "out", "costs", "least")
    names = kernel.arg_names
    known = {
        name: size for name, size in {"INSIDE": -1, "OUTSIDE": 1, **sizes}.items() if name in names
    }
    signature = {
        name: "constexpr"
        if name in known
        else f"*{float_type}"
        if name in floats
        else "*u8"
        if name == "kinds"
        else "i32"
        for name in names
    }
    aligned = [["tt.divisibility", 16]]
    attributes = {(n,): aligned for n, name in enumerate(names) if name in (*floats, "kinds")}
    source = ASTSource(fn=kernel, signature=signature, constexprs=known, attrs=attributes)
    options = {"num_warps": gpu.WARPS}
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = subprocess.run(
            [nvidia.cuobjdump.path, "-res-usage", file.name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if found is None:
        raise RuntimeError(f"cuobjdump says nothing of registers: {usage}")
    vectors = compiled.asm["ptx"].count("ld.global.v")
    print(f"  {kernel.__name__:16}{float_type} {sizes}: {found[1]}, {found[2]}, {vectors}")


def main() -> None:
    """Measure, or compile."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--compile", action="store_true", help="registers for sm_90, on any machine"
    )
    options = parser.parse_args()
    if options.compile:
        compile_kernels()
        return
    if not torch.cuda.is_available():
        raise SystemExit(
            f"no CUDA device: torch {torch.__version__} finds none here, so nothing was measured; "
            "--compile needs none"
        )
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton.__version__}")
    for shape in SHAPES:
        measure(shape)


if __name__ == "__main__":
    main()
