"""The triton that each release of torch pins, and how to get the one that fits the torch here.

torch's wheels for CUDA on Linux bring their triton along. Other builds bring none; the same one is
then installed for the tests, which run the GPU kernels in its interpreter. `make resolve` holds the
table against the registry.

python tests/tritons.py    # installs it, if the torch of this Python came without
"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec

MISSING = (
    "triton is not installed: torch brings it for CUDA on Linux, `make test` for its CPU build"
)
TRITONS = {
    "2.8.0": "3.4.0",
    "2.9.0": "3.5.0",
    "2.9.1": "3.5.1",
    "2.10.0": "3.6.0",
    "2.11.0": "3.6.0",
    "2.12.0": "3.7.0",
    "2.12.1": "3.7.1",
    "2.13.0": "3.7.1",
    "2.14.0": "3.8.0",
    "2.14.1": "3.8.0",
    "2.15.0": "3.9.0",
}


def triton_of(torch: str) -> str:
    """The triton that a release of torch pins, whichever its build.

    >>> triton_of("2.13.0+cpu")
    '3.7.1'
    >>> triton_of("2.7.1")
    Traceback (most recent call last):
        ...
    ValueError: torch 2.7.1: the table of tests/tritons.py has 2.8.0 to 2.15.0
    """
    release = torch.partition("+")[0]
    if release not in TRITONS:
        first, *_, last = TRITONS
        raise ValueError(f"torch {torch}: the table of tests/tritons.py has {first} to {last}")
    return TRITONS[release]


def main() -> None:
    """Install the triton of the torch that is installed, where there is one for this system."""
    if sys.platform != "linux":
        print(f"triton has no wheels for {sys.platform}: the tests of its kernels will be skipped")
        return
    wanted = triton_of(metadata.version("torch"))
    if find_spec("triton") and metadata.version("triton") == wanted:
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"triton=={wanted}"], check=True)


if __name__ == "__main__":
    main()
