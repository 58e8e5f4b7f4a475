"""Which device computes counts and distances: the CPU by compiled loops, or one of torch's."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator


def chosen_device(name: str) -> str | None:
    """What the word of a user means; ``None`` is the compiled loops on the CPU.

    Args:
        name: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ValueError: another word, or a device that is not there.

    Example:
        >>> chosen_device("cpu") is None
        True
    """
    if name == "cpu":
        return None
    if not re.fullmatch(r"cuda(:\d+)?", name):
        raise ValueError(f"--device: expected cpu, cuda or cuda:N, got {name!r}")
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not there:
        raise ValueError(
            f"--device {name}: torch {torch.__version__} finds no CUDA device here; "
            f"--device cpu scores on the processors"
        )
    if ":" in name and int(name.partition(":")[2]) >= there:
        raise ValueError(f"--device {name}: there is no such device; torch finds {there}")
    return name


def device_name(device: str | None) -> str:
    """What is written into the results: the device, of a GPU with its name."""
    if device is None or not device.startswith("cuda"):
        return device or "cpu"
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"


def devices_in_turn(device: str | None) -> Iterator[str | None]:
    """The device of each worker process: ``cuda`` is every CUDA device in turn."""
    if device != "cuda":
        return itertools.repeat(device)
    import torch

    return itertools.cycle(f"cuda:{n}" for n in range(max(1, torch.cuda.device_count())))
