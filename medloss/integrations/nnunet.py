"""A loss of medloss inside a trainer of nnU-Net v2, for its external-trainer mechanism.

``medloss nnunet-trainer`` writes the file that nnU-Net looks for. The class in it derives from
:class:`LossTrainer` and from one of nnU-Net's trainers:

    class nnUNetTrainerMedlossDiceFocal(LossTrainer, nnUNetTrainer):
        loss_config = {"name": "dice_focal"}

The dataset decides what the config leaves open; :func:`loss_of_dataset` says how.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

import medloss
from medloss.base import SegmentationLoss
from medloss.integrations.loss_callback import step_schedules


def build_loss(config: Mapping[str, Any], **options: Any) -> SegmentationLoss:
    """The loss that a config describes.

    Args:
        config: ``{"name": "dice_focal", "gamma": 1.5}``, or ``{"_target_":
            "medloss.losses.DiceFocalLoss", ...}``; terms of a ``compound`` may be of other
            libraries.
        options: added to those of the config, which come first.

    Raises:
        ValueError: the config names no loss, or cannot be meant.
        TypeError: what it names is no loss of medloss.

    Example:
        >>> build_loss({"name": "focal_tversky", "exponent": 0.5}, softmax=True).exponent
        0.5
    """
    if ("name" in config) == ("_target_" in config):
        raise ValueError(
            f"loss: expected a mapping with either 'name' or '_target_', got {sorted(config)}"
        )
    options = {**options, **config}
    if '"_target_"' not in json.dumps(options):
        loss = medloss.loss(**options)
    else:
        from monai.bundle import ConfigParser

        target = options.pop("_target_", "medloss.loss")
        parser = ConfigParser({"loss": {"_target_": target, **options}})
        loss = parser.get_parsed_content("loss")
    if not isinstance(loss, SegmentationLoss):
        raise TypeError(
            f"loss: expected a loss of medloss, got {type(loss).__name__}; losses of other "
            "libraries can be terms of 'compound'"
        )
    if loss.reduction == "none":
        raise ValueError("reduction: expected 'mean' or 'sum' for training, got 'none'")
    return loss


def loss_of_dataset(
    config: Mapping[str, Any],
    *,
    regions: bool,
    ignore_label: int | None,
    batch_dice: bool,
    ranks: bool = False,
) -> SegmentationLoss:
    """The loss that a config describes, on the labels of a dataset of nnU-Net.

    Labels are exclusive: softmax. Regions overlap: sigmoid, and as there is no channel of the
    background, ``include_background`` leaves nothing out. The ignore label is the dataset's. Unless
    the config says ``batch``, nnU-Net's configuration does (its batch Dice), over all ranks.

    Args:
        config: of the loss, see :func:`build_loss`.
        regions: whether the dataset defines regions.
        ignore_label: of the dataset.
        batch_dice: of nnU-Net's configuration.
        ranks: whether several ranks train.

    Raises:
        ValueError: the config contradicts the dataset.
    """
    activation, other = ("sigmoid", "softmax") if regions else ("softmax", "sigmoid")
    what = "regions, which overlap" if regions else "labels that exclude each other"
    for name in (other, "other_act"):
        if config.get(name):
            raise ValueError(
                f"{name}: expected {activation}, as the dataset has {what}, got {config[name]!r}"
            )
    if config.get("ignore_index") not in (None, ignore_label):
        raise ValueError(
            f"ignore_index: expected the ignore label of the dataset, {ignore_label}, "
            f"got {config['ignore_index']!r}"
        )
    decided = ("softmax", "sigmoid", "other_act", "ignore_index", "to_onehot_y")
    kept = {key: value for key, value in config.items() if key not in decided}
    if regions:
        kept.pop("include_background", None)
    elif ignore_label is not None:  # of regions it is a channel of the target, not a label
        kept["ignore_index"] = ignore_label
    batch = "world" if batch_dice and ranks else batch_dice
    return build_loss(kept, batch=kept.pop("batch", batch), **{activation: True})


class TargetsOfNnunet(nn.Module):
    r"""Calls a loss as nnU-Net does: at every resolution, with its kind of target.

    Args:
        loss: called with the logits and labels (B, 1, \*spatial), or regions (B, R, \*spatial).
        ignore_channel: whether the last channel of the target marks voxels to leave out.
        spacing_mm: size of a voxel in a patch of full size, for losses on distances.
        patch_size: of full size; at lower resolutions voxels are larger.
    """

    def __init__(
        self,
        loss: nn.Module,
        *,
        ignore_channel: bool = False,
        spacing_mm: Sequence[float] | None = None,
        patch_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.ignore_channel = ignore_channel
        self.spacing_mm, self.patch_size = spacing_mm, patch_size

    def forward(self, net_output: Tensor, target: Tensor) -> Tensor:
        """Value of the loss."""
        mask = None
        if self.ignore_channel:
            target, mask = target[:, :-1], ~target[:, -1:].bool()
        value: Tensor = self.loss(
            net_output, target, mask=mask, spacing_mm=self.spacing_at(net_output.shape[2:])
        )
        return value

    def spacing_at(self, shape: Sequence[int]) -> tuple[float, ...] | None:
        """Size of a voxel where a patch has this shape."""
        if self.spacing_mm is None or self.patch_size is None:
            return None
        sizes = zip(self.spacing_mm, self.patch_size, shape, strict=True)
        return tuple(mm * full / here for mm, full, here in sizes)


class LossTrainer:
    """What a trainer needs beside one of nnU-Net's, to train with ``loss_config``.

    Weights of resolutions stay nnU-Net's. Schedules of a compound loss step with each epoch and are
    in the checkpoints.
    """

    loss_config: ClassVar[Mapping[str, Any]] = {}

    def _build_loss(self) -> nn.Module:
        trainer: Any = self
        labels, configuration = trainer.label_manager, trainer.configuration_manager
        ignored = labels.ignore_label
        self.medloss: Any = loss_of_dataset(
            self.loss_config,
            regions=labels.has_regions,
            ignore_label=ignored,
            batch_dice=configuration.batch_dice,
            ranks=trainer.is_ddp,
        )
        config_says_it = '"spacing_mm"' in json.dumps(self.loss_config)
        ours = TargetsOfNnunet(
            self.medloss,
            ignore_channel=labels.has_regions and ignored is not None,
            spacing_mm=None if config_says_it else configuration.spacing,
            patch_size=configuration.patch_size,
        )
        theirs: nn.Module = super()._build_loss()  # type: ignore[misc]
        if not trainer.enable_deep_supervision:
            return ours
        theirs.loss = ours  # inside nnU-Net's DeepSupervisionWrapper
        return theirs

    def on_train_epoch_start(self) -> None:
        """Step the schedules, then what nnU-Net does."""
        trainer: Any = self
        step_schedules(self.medloss, trainer.current_epoch)
        super().on_train_epoch_start()  # type: ignore[misc]

    def save_checkpoint(self, filename: str) -> None:
        """Write nnU-Net's checkpoint, with the state of the schedules where there is any."""
        super().save_checkpoint(filename)  # type: ignore[misc]
        trainer: Any = self
        state = self.medloss.state_dict()
        if state and trainer.local_rank == 0 and not trainer.disable_checkpointing:
            torch.save({**load_plain(filename), "medloss": state}, filename)

    def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
        """Read nnU-Net's checkpoint and the state of the schedules.

        nnU-Net unpickles whatever the file holds; here it is read first, without executing
        anything, and nnU-Net gets only what that is possible for.

        Raises:
            ValueError: the file holds more than tensors and plain values.
        """
        checkpoint = filename_or_checkpoint
        if not isinstance(checkpoint, Mapping):
            checkpoint = load_plain(checkpoint)
        super().load_checkpoint(filename_or_checkpoint)  # type: ignore[misc]
        self.medloss.load_state_dict(checkpoint.get("medloss", {}))


def load_plain(path: Any) -> Mapping[str, Any]:
    """A checkpoint of nnU-Net with ``weights_only=True``: nothing in the file is executed.

    Beside tensors and plain values it may hold numbers of numpy, which nnU-Net logs.

    Raises:
        ValueError: it holds something else; says what, and how to allow it.
    """
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = re.search(r"GLOBAL (\S+)", str(error))
        raise ValueError(
            f"{path} holds {what[1] if what else 'more'} beside tensors and plain values, and to "
            f"read that could execute anything; if you trust the file, allow it with "
            f"torch.serialization.add_safe_globals([...]) in the file of your trainer"
        ) from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} is no checkpoint of nnU-Net: it holds {type(found).__name__}")
    return found


_SCALAR: Any = np.float64(0).__reduce__()[0]
_NUMBERS: list[Any] = [
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
]
"""What numbers of numpy are made of, under the names of numpy 1 and 2."""
