"""The files of a bundle: configurations, and weights loaded without executing anything."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from medloss.runtime.config_text import parse_file, read_text

SUFFIXES = (".json", ".yaml", ".yml")

_NAMES = ("model", "state_dict", "network")
"""What weights are called in a checkpoint that holds more."""


def config_file(folder: Path, name: str) -> Path | None:
    """The file of a configuration, by its name with or without suffix; None where there is none."""
    candidates = [folder / "configs" / f"{name}{suffix}" for suffix in ("", *SUFFIXES)]
    return next((file for file in candidates if file.is_file()), None)


def check_keys(file: Path) -> None:
    """Refuse a configuration in which a key stands twice; MONAI would take the last.

    Raises:
        ValueError: names the key, or says why the file cannot be read.
    """
    parse_file(read_text(file), file)


def config_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """Files of several configurations.

    Raises:
        ValueError: the folder is none, or holds no configuration of a name.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder of a bundle")
    found = []
    for name in names:
        file = config_file(folder, name)
        if file is None:
            raise ValueError(f"{folder / 'configs'} holds no configuration called {name!r}")
        check_keys(file)
        found.append(file)
    return found


def digest(folder: Path, files: Iterable[Path]) -> str:
    """Of the configuration and the bundle's own code."""
    found = hashlib.sha256()
    for file in (*files, *sorted(folder.glob("scripts/**/*.py"))):
        found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]


class FileReader(Protocol):
    """Entries of a bundle's configuration."""

    def required(self, name: str) -> Any:
        """Build an entry."""

    def raw(self, name: str) -> Any:
        """An entry as it is written, or None."""


def checkpoint_of(reader: FileReader, folder: Path) -> Path:
    """The file that the configuration's ``CheckpointLoader`` loads, else ``models/model.pt``."""
    for entry in ("handlers", "evaluator#val_handlers"):
        handlers = reader.raw(entry)
        for number, handler in enumerate(handlers if isinstance(handlers, list) else ()):
            if isinstance(handler, dict) and str(handler.get("_target_", "")).endswith(
                "CheckpointLoader"
            ):
                return Path(reader.required(f"{entry}#{number}#load_path"))
    return folder / "models" / "model.pt"


def load_weights(network: nn.Module, path: Path) -> None:
    """Load weights into a network; ``weights_only=True``, so that a file cannot execute anything.

    Args:
        network: to be loaded.
        path: a ``state_dict``, or a checkpoint with one under ``model``, ``state_dict`` or
            ``network``.

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
    for name in _NAMES:
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
