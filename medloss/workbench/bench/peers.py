"""The losses of others that ours are measured beside, one adapter each.

This is the one place that names losses of ours: which are measured by default, and who else has
them. Every adapter turns another library's loss into a function of logits (B, C, *spatial) and
labels (B, 1, *spatial) that, where the definitions allow, gives our value.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from medloss.workbench.bench import plain

DEFAULT_LOSSES = (
    "dice",
    "dice_ce",
    "dice_focal",
    "tversky",
    "focal",
    "generalized_dice",
    "cross_entropy",
)

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Variant:
    """Options of ours, beside ``softmax=True``, that make the definitions equal.

    Args:
        name: in words, empty for none.
        options: passed to our loss.
    """

    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


DEFAULT = Variant()
# Ours adds the smoothing after scaling the weights to a sum of 1, MONAI before.
NO_SMOOTHING = Variant("no smoothing", {"smooth_nr": 0.0, "smooth_dr": 0.0})
NNUNET = Variant("batch, no background", {"batch": True, "include_background": False})
POOLED = Variant("batch", {"batch": True})
HISTOGRAM = Variant("histogram", {"method": "histogram"})


@dataclass(frozen=True)
class Rival:
    """A loss of another library.

    Args:
        source: what to name in ``--rivals``.
        name: in tables.
        computes: what it computes, in words.
        build: from the number of classes to the loss.
        variant: of ours that it is compared with.
        differs: how its definition differs from ours; its value is then not checked.
        unique: whether the gradient is; where it is not, values alone are compared.
    """

    source: str
    name: str
    computes: str
    build: Callable[[int], Loss]
    variant: Variant = DEFAULT
    differs: str = ""
    unique: bool = True


@dataclass(frozen=True)
class Source:
    """Where rivals come from.

    Args:
        needs: the package to import, empty for none beside our own dependencies.
        install: how to get it.
    """

    needs: str = ""
    install: str = ""

    @property
    def why_missing(self) -> str:
        """Why its losses cannot be built, or nothing."""
        if not self.needs or find_spec(self.needs) is not None:
            return ""
        return f"{self.needs} is not installed ({self.install})"


COMPILED = "compiled"
SOURCES = {
    "monai": Source("monai", "pip install monai"),
    "nnunet": Source(),
    "torch": Source(),
    "exacta": Source("exacta", "pip install exacta==0.0.1a5"),
    COMPILED: Source(),
}
"""By the name in ``--rivals``; ``compiled`` is asked for by its own option."""


def _monai(name: str, **options: Any) -> Callable[[int], Loss]:
    def build(classes: int) -> Loss:
        loss: Loss = getattr(import_module("monai.losses"), name)(to_onehot_y=True, **options)
        return loss

    return build


def _monai_dice_softmax_focal(classes: int) -> Loss:
    dice = _monai("DiceLoss", softmax=True)(classes)
    focal = _monai("FocalLoss", use_softmax=True)(classes)
    return lambda logits, labels: dice(logits, labels) + focal(logits, labels)


def _exacta(name: str, *, divide: bool = False, **options: Any) -> Callable[[int], Loss]:
    def build(classes: int) -> Loss:
        loss = getattr(import_module("exacta.losses"), name)(**options)
        if divide:
            return lambda logits, labels: loss(logits, labels[:, 0]) / classes
        return lambda logits, labels: loss(logits, labels[:, 0])

    return build


def _exacta_dice_focal(classes: int) -> Loss:
    return _exacta("DiceFocalLoss", lambda_focal=1 / classes)(classes)


def _nnunet(classes: int) -> Loss:
    if find_spec("nnunetv2") is None:
        loss: Any = plain.batch_dice_ce
    else:
        compound = import_module("nnunetv2.training.loss.compound_losses")
        dice = import_module("nnunetv2.training.loss.dice")
        loss = compound.DC_and_CE_loss(
            {"batch_dice": True, "smooth": plain.SMOOTH, "do_bg": False, "ddp": False},
            {},
            dice_class=dice.MemoryEfficientSoftDiceLoss,
        )
    return lambda logits, labels: 1 + loss(logits, labels)


def _cross_entropy(classes: int) -> Loss:
    return lambda logits, labels: F.cross_entropy(logits, labels[:, 0].long())


def _compiled(loss: Callable[[int], Loss]) -> Callable[[int], Loss]:
    def build(classes: int) -> Loss:
        compile_: Any = import_module("torch").compile
        compiled: Loss = compile_(loss(classes))
        return compiled

    return build


@functools.cache
def rivals() -> dict[str, tuple[Rival, ...]]:
    """Rivals of each loss of ours, by its name."""
    has_nnunet = find_spec("nnunetv2") is not None
    whose = "nnunetv2's own class" if has_nnunet else "its formula in plain torch"
    own = "MONAI's loss of this name, softmax=True, to_onehot_y=True"
    same = "exacta's loss of this name"
    return {
        "dice": (
            Rival("monai", "monai", own, _monai("DiceLoss", softmax=True)),
            Rival("exacta", "exacta", same, _exacta("DiceLoss")),
        ),
        "dice_ce": (
            Rival("monai", "monai", own, _monai("DiceCELoss", softmax=True)),
            Rival("exacta", "exacta", same, _exacta("DiceCELoss")),
            Rival(
                COMPILED,
                "plain, torch.compile",
                "the formula in plain torch, compiled by torch.compile",
                _compiled(lambda classes: plain.dice_ce),
            ),
            Rival(
                "nnunet",
                "nnunet" if has_nnunet else "nnunet's formula",
                f"nnU-Net's default, {whose}: memory-efficient soft Dice over the batch without "
                "background, plus torch's cross entropy (it takes minus Dice; 1 is added here)",
                _nnunet,
                NNUNET,
            ),
        ),
        "dice_focal": (
            Rival(
                "monai",
                "monai, softmax focal",
                "MONAI's DiceLoss(softmax=True) + FocalLoss(use_softmax=True), as ours",
                _monai_dice_softmax_focal,
            ),
            Rival(
                "monai",
                "monai, sigmoid focal",
                own,
                _monai("DiceFocalLoss", softmax=True),
                differs="its focal term is on the sigmoid of the logits even with softmax=True",
            ),
            Rival(
                "exacta",
                "exacta",
                f"{same}; its focal term is C times ours, so weighted 1 / C",
                _exacta_dice_focal,
            ),
        ),
        "tversky": (
            Rival("monai", "monai", own, _monai("TverskyLoss", softmax=True)),
            Rival("exacta", "exacta", same, _exacta("TverskyLoss")),
        ),
        "focal": (
            Rival(
                "monai",
                "monai",
                "MONAI's loss of this name, use_softmax=True, to_onehot_y=True",
                _monai("FocalLoss", use_softmax=True),
            ),
            Rival(
                "exacta",
                "exacta",
                f"{same}; the sum over classes where ours is the mean, so divided by C",
                _exacta("FocalLoss", divide=True),
            ),
        ),
        "generalized_dice": (
            Rival(
                "monai",
                "monai",
                f"{own}, smoothing 0: it smooths at another scale",
                _monai("GeneralizedDiceLoss", softmax=True, smooth_nr=0.0, smooth_dr=0.0),
                NO_SMOOTHING,
            ),
            Rival(
                "exacta",
                "exacta",
                f"{same}, smoothing 0: it smooths at another scale",
                _exacta("GeneralizedDiceLoss", smooth=0.0),
                NO_SMOOTHING,
            ),
        ),
        "cross_entropy": (
            Rival("torch", "torch", "torch.nn.functional.cross_entropy", _cross_entropy),
            Rival(
                COMPILED,
                "torch, torch.compile",
                "torch.nn.functional.cross_entropy, compiled by torch.compile",
                _compiled(_cross_entropy),
            ),
        ),
        "focal_tversky": (Rival("exacta", "exacta", same, _exacta("FocalTverskyLoss")),),
        "lovasz_softmax": (
            Rival(
                "exacta",
                "exacta",
                f"{same}, per_image=True",
                _exacta("LovaszSoftmaxLoss", per_image=True),
                unique=False,  # errors that tie may be sorted in any order
            ),
            Rival(
                "exacta",
                "exacta, sorted",
                f"{same}, per_image=True",
                _exacta("LovaszSoftmaxLoss", per_image=True),
                HISTOGRAM,
                differs="it sorts; a histogram is off by at most its widest cell",
            ),
        ),
        "topk_cross_entropy": (
            Rival(
                "exacta",
                "exacta",
                "exacta's TopKCELoss: the hardest tenth of the voxels of the batch",
                _exacta("TopKCELoss"),
                POOLED,
            ),
        ),
    }
