"""Which triton the kernels meet: each CUDA build of torch requires one."""

from __future__ import annotations

TRITON_OF_TORCH = {
    "2.8": ("3.4.0",),
    "2.9": ("3.5.0", "3.5.1"),
    "2.10": ("3.6.0",),
    "2.11": ("3.6.0",),
    "2.12": ("3.7.0", "3.7.1"),
    "2.13": ("3.7.1",),
    "2.14": ("3.8.0",),
    "2.15": ("3.9.0",),
}
"""What the wheels of torch require on Linux, of all their patch releases."""


def tritons() -> dict[str, str]:
    """Versions of triton, oldest first, and the releases of torch that come with each.

    Example:
        >>> tritons()["3.7.1"]
        '2.12, 2.13'
    """
    found: dict[str, list[str]] = {}
    for torch, versions in TRITON_OF_TORCH.items():
        for version in versions:
            found.setdefault(version, []).append(torch)
    return {version: ", ".join(found[version]) for version in found}
