"""A loss from a configuration, and a batch from files."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from numpy.typing import NDArray
from torch import Tensor, nn

from medloss.base.targets import Extras
from medloss.evaluation.reading.images import Image, read_stored
from medloss.evaluation.reading.stored import CaseError
from medloss.integrations.bundle.settings import reason
from medloss.objects.spacing import snapped

INPUT_NAMES = ("input", "logits", "pred", "probabilities")
"""What the network's output is called in a batch file."""

LABEL_NAMES = ("label", "target")
"""What the label is called there."""

EXTRA_NAMES = tuple(field.name for field in fields(Extras))
"""What else it may hold, for losses that take a mapping as target."""


def read_loss(path: Path) -> nn.Module:
    """Build the loss of a configuration file, JSON or YAML.

    MONAI executes the Python in it (values that begin with ``$``, classes under ``_target_``): it
    must be one that you trust.

    Args:
        path: it holds the loss itself (``_target_`` on top), or has an entry ``loss``.

    Raises:
        ValueError: there is no such file, or no loss can be built from it.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    parser = ConfigParser()
    try:
        content = ConfigParser.load_config_file(str(path))
        parser.set(content if "loss" in content else {"loss": content})
        loss = parser.get_parsed_content("loss")
    # Code in a configuration may raise anything.
    except Exception as error:
        raise ValueError(f"{path}: no loss can be built: {reason(error)}") from error
    if not isinstance(loss, nn.Module):
        raise ValueError(
            f"{path}: expected a mapping with _target_, or one under 'loss', that builds a torch "
            f"module, got {type(loss).__name__}"
        )
    return loss


def read_batch(path: Path) -> tuple[Any, Any]:
    """Input and target that ``torch.save`` wrote; loading it executes nothing.

    Args:
        path: a mapping with ``input`` (or ``logits``, ``pred``, ``probabilities``), ``label`` (or
            ``target``) and perhaps ``mask``, ``present``, ``spacing_mm``, ``distance_map``,
            ``skeleton``, ``components``; or a pair of tensors.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise ValueError(
            f"{path} cannot be loaded as tensors alone: {reason(error)[:200]}; save plain tensors "
            f"(of a MetaTensor as_tensor())"
        ) from error
    if isinstance(content, list | tuple) and len(content) == 2:
        content = {"input": content[0], "label": content[1]}
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path}: expected a mapping with input and label, got {type(content).__name__}"
        )
    known = (*INPUT_NAMES, *LABEL_NAMES, *EXTRA_NAMES)
    unknown = [str(key) for key in content if key not in known]
    if unknown:
        raise ValueError(f"{path}: expected keys out of {', '.join(known)}, got {unknown}")
    input, label = (_one(path, content, names) for names in (INPUT_NAMES, LABEL_NAMES))
    extras = {name: content[name] for name in EXTRA_NAMES if name in content}
    return input, {"label": label, **extras} if extras else label


def read_volumes(prediction: Path, label: Path) -> tuple[Tensor, Tensor]:
    """One case of image files as a batch of 1.

    Args:
        prediction: logits or probabilities, the classes as last axis; or nnU-Net's ``.npz``.
        label: a label map, or channels as last axis.

    Returns:
        Input (1, C, *spatial), and the label with the voxel size of its file.

    Raises:
        ValueError: a file cannot be used.
    """
    for path in (prediction, label):
        if not path.is_file():
            raise ValueError(f"{path} does not exist")
    try:
        target, affine, dimensions, *_ = read_stored(label)
        image = Image(label, target, _spacing(affine, dimensions), affine)
        values = read_stored(prediction, image).array
    except (CaseError, OSError) as error:
        raise ValueError(str(error)) from error
    meta = MetaTensor(_batch(target, dimensions), affine=torch.from_numpy(affine))
    return _batch(values, dimensions).float(), meta


def _one(path: Path, content: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    found = [name for name in names if name in content]
    if len(found) != 1:
        raise ValueError(f"{path}: expected one of {', '.join(names)}, got {found or 'none'}")
    return content[found[0]]


def _spacing(affine: NDArray[np.float64], dimensions: int) -> tuple[float, ...]:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return tuple(map(snapped, lengths[:dimensions]))


def _batch(array: NDArray[Any], dimensions: int) -> Tensor:
    if array.ndim == dimensions:
        array = array[..., None]
    moved = np.ascontiguousarray(np.moveaxis(array, -1, 0))[None]
    if moved.dtype.byteorder == ">" or (moved.dtype.kind == "u" and moved.dtype.itemsize > 1):
        moved = moved.astype(np.int64 if moved.dtype.kind in "iu" else np.float32)
    return torch.from_numpy(moved)
