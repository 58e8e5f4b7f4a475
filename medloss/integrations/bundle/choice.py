"""Which files and entries of a bundle a command uses; whatever is missing is noticed here first.

Needs no MONAI and no torch, so that a wrong command ends before they are imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloss.integrations.bundle.config import config_file, read_bundle_config
from medloss.integrations.bundle.roles import (
    Roles,
    check_entries,
    check_roles,
    check_weights,
    prediction_roles,
    training_roles,
)

_PREDICTS = (("inference",), ("train", "evaluate"))
_TRAINS = ("loss_function", "network", "train_data_loader")


def bundle_to_predict(
    folder: Path,
    *,
    configs: Sequence[str] = (),
    checkpoint: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Roles:
    """The roles in a bundle's inference.

    Args:
        folder: of the bundle, with ``configs`` in it.
        configs: names of files there, later ones over earlier ones; by default ``inference``, or
            ``train`` and ``evaluate`` where there is none.
        checkpoint: weights; by default those that the configuration names, or ``models/model.pt``.
        overrides: values by id, such as ``{"dataset_dir": "/data"}``.

    Raises:
        ValueError: a file or an entry is missing, or the bundle is of another kind; says which.
    """
    roles = prediction_roles(read_bundle_config(folder, _files(folder, configs), overrides))
    check_roles(roles, ("network",))
    check_weights(roles, checkpoint)
    for name in ("data", "transform"):
        check_entries(roles, (roles.of_dataset(name),))
    return roles


def bundle_to_train(
    folder: Path,
    *,
    configs: Sequence[str] = (),
    checkpoint: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Roles:
    """The roles in a bundle's training.

    Args:
        folder: of the bundle, with ``configs`` in it.
        configs: names of files there, later ones over earlier ones; ``train`` by default.
        checkpoint: weights that the network begins with.
        overrides: values by id, such as ``{"dataset_dir": "/data"}``.

    Raises:
        ValueError: a file or an entry is missing, or the bundle is of another kind; says which.
    """
    roles = training_roles(read_bundle_config(folder, configs or ("train",), overrides))
    check_roles(roles, _TRAINS)
    if checkpoint is not None:
        check_weights(roles, checkpoint)
    return roles


def _files(folder: Path, configs: Sequence[str]) -> Sequence[str]:
    if configs or not folder.is_dir():
        return configs or ("inference",)
    for names in _PREDICTS:
        if all(config_file(folder, name) for name in names):
            return names
    raise ValueError(
        f"{folder / 'configs'} holds neither inference.json (.yaml, .yml) nor train.json with "
        f"evaluate.json"
    )
