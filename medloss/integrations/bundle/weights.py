"""Weights of a bundle's network, loaded without executing anything."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

_NAMES = ("model", "state_dict", "network")
"""What weights are called in a checkpoint that holds more."""


def load_weights(network: nn.Module, path: Path, key: str = "") -> None:
    """Load weights into a network; ``weights_only=True``, so that a file cannot execute anything.

    Args:
        network: to be loaded.
        path: a ``state_dict``, or a checkpoint with one under ``key``, ``model``, ``state_dict``
            or ``network``.
        key: what the weights are called in it, where that is known.

    Raises:
        ValueError: there is no such file, it holds more than tensors, or other ones.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; --checkpoint names the weights of the network")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be loaded as weights alone: {reason[:200]}") from error
    state = content
    for name in (key, *_NAMES):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            state = content[name]
            break
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        raise ValueError(f"{path} holds no state_dict of tensors")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} does not fit network_def: {reason[:400]}") from error
