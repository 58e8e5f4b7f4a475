"""Compile every kernel on the triton of each torch that is supported, without a GPU.

Each version is installed by pip, alone and once, into a folder of its own.

python docs/examples/compile_on_every_triton.py .venv/triton        # all of them: make kernels
python docs/examples/compile_on_every_triton.py .venv/triton 3.7.1  # some
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from tritons import TRITONS

CHECK = Path(__file__).with_name("compile_kernels.py")


def torches() -> dict[str, str]:
    """Versions of triton, oldest first, and the releases of torch that come with each."""
    found: dict[str, list[str]] = {}
    for torch, triton in TRITONS.items():
        found.setdefault(triton, []).append(torch)
    return {triton: ", ".join(found[triton]) for triton in found}


def folder_of(version: str, cache: Path) -> Path:
    """Where a version of triton is, after it was installed there."""
    folder = cache / version
    if not (folder / "triton").is_dir():
        install = ["pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([sys.executable, "-m", *install, f"triton=={version}"], check=True)
    return folder.resolve()


def compiles(folder: Path) -> bool:
    """Whether all kernels do; what does not is printed."""
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    given.pop("TRITON_INTERPRET", None)
    command = [sys.executable, str(CHECK), "--check"]
    return subprocess.run(command, env=given, check=False).returncode == 0


def main(words: list[str]) -> None:
    """All versions, or those that are named."""
    cache, of_torch = Path(words[0]), torches()
    found = {}
    for version in words[1:] or of_torch:
        print(f"triton {version}, of torch {of_torch[version]}", flush=True)
        found[version] = compiles(folder_of(version, cache))
    print("\n| triton | of torch | every kernel compiles |\n| --- | --- | --- |")
    for version, good in found.items():
        print(f"| {version} | {of_torch[version]} | {'yes' if good else 'no'} |")
    if not all(found.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
