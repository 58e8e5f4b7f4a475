"""The losses of others that ours are measured beside, one adapter each.

This is the one place that names losses of ours: which are measured by default, and who else has
them. Every adapter turns another library's loss into a function of logits (B, C, *spatial) and
labels (B, 1, *spatial) that, where the definitions allow, gives our value. What no library has is
written from its formula in plain torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.workbench.bench.contest import not_installed

SMOOTH = 1e-5
"""Of the formulas in plain torch below."""

DEFAULT_LOSSES = (
    "dice",
    "dice_ce",
    "dice_focal",
    "tversky",
    "focal",
    "generalized_dice",
    "cross_entropy",
)
SMALL_LOSSES = ("dice", "dice_ce", "tversky", "focal", "generalized_dice")
"""Of small inputs."""

LossFunction = Callable[[Tensor, Tensor], Tensor]


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
class LossRival:
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
    build: Callable[[int], LossFunction]
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
        return not_installed(self.needs, self.install)


COMPILED = "compiled"
SOURCES = {
    "monai": Source("monai", "pip install monai"),
    "nnunet": Source(),
    "torch": Source(),
    "exacta": Source("exacta", "pip install exacta==0.0.1a5"),
    COMPILED: Source(),
}
"""By the name in ``--rivals``; ``compiled`` is asked for by its own option."""


_MONAI = "MONAI's loss of this name, softmax=True, to_onehot_y=True"
_EXACTA = "exacta's loss of this name"


def _monai_loss(name: str, **options: Any) -> LossFunction:
    loss: LossFunction = getattr(import_module("monai.losses"), name)(to_onehot_y=True, **options)
    return loss


def _monai(
    name: str, computes: str = _MONAI, variant: Variant = DEFAULT, **options: Any
) -> LossRival:
    build = functools.partial(_monai_loss, name, **options)
    return LossRival("monai", "monai", computes, lambda classes: build(), variant)


def _monai_dice_softmax_focal(classes: int) -> LossFunction:
    dice = _monai_loss("DiceLoss", softmax=True)
    focal = _monai_loss("FocalLoss", use_softmax=True)
    return lambda logits, labels: dice(logits, labels) + focal(logits, labels)


def _exacta_loss(name: str, **options: Any) -> LossFunction:
    loss = getattr(import_module("exacta.losses"), name)(**options)
    return lambda logits, labels: loss(logits, labels[:, 0])


def _exacta(
    name: str, computes: str = _EXACTA, variant: Variant = DEFAULT, **options: Any
) -> LossRival:
    build = functools.partial(_exacta_loss, name, **options)
    return LossRival("exacta", "exacta", computes, lambda classes: build(), variant)


def _exacta_focal(classes: int) -> LossFunction:
    loss = _exacta_loss("FocalLoss")
    return lambda logits, labels: loss(logits, labels) / classes


def _nnunet(classes: int) -> LossFunction:
    if find_spec("nnunetv2") is None:
        loss: Any = batch_dice_ce
    else:
        compound = import_module("nnunetv2.training.loss.compound_losses")
        dice = import_module("nnunetv2.training.loss.dice")
        loss = compound.DC_and_CE_loss(
            {"batch_dice": True, "smooth": SMOOTH, "do_bg": False, "ddp": False},
            {},
            dice_class=dice.MemoryEfficientSoftDiceLoss,
        )
    return lambda logits, labels: 1 + loss(logits, labels)


def _cross_entropy(classes: int) -> LossFunction:
    return lambda logits, labels: F.cross_entropy(logits, labels[:, 0].long())


def dice_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over samples and classes of 1 − Dice, plus cross entropy.

    Args:
        logits: (B, C, *spatial).
        labels: (B, 1, *spatial).
    """
    probabilities = logits.softmax(1)
    hot = torch.zeros_like(probabilities).scatter_(1, labels.long(), 1)
    voxels = tuple(range(2, logits.ndim))
    overlap = (probabilities * hot).sum(voxels)
    sizes = probabilities.sum(voxels) + hot.sum(voxels)
    dice = (2 * overlap + SMOOTH) / (sizes + SMOOTH)
    return (1 - dice).mean() + F.cross_entropy(logits, labels[:, 0].long())


def batch_dice_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the mean over foreground classes of Dice pooled over the batch, plus cross entropy.

    Written so as to save memory: the one-hot labels are booleans, and nothing is kept for a
    gradient by the labels.

    Args:
        logits: (B, C, *spatial).
        labels: (B, 1, *spatial).
    """
    index = labels.long()
    pooled = (0, *range(2, logits.ndim))
    with torch.no_grad():
        hot = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
        foreground = hot.scatter_(1, index, True)[:, 1:]
        true_size = foreground.sum(pooled)
    probabilities = logits.softmax(1)[:, 1:]
    overlap = (probabilities * foreground).sum(pooled)
    sizes = probabilities.sum(pooled) + true_size
    dice = (2 * overlap + SMOOTH) / (sizes + SMOOTH).clamp_min(1e-8)
    return F.cross_entropy(logits, index[:, 0]) - dice.mean()


def l1_ace(logits: Tensor, labels: Tensor, *, soft: bool, bins: int = 20) -> Tensor:
    """Average calibration error, sample by sample and class by class, as its authors release it.

    Args:
        logits: (B, C, *spatial).
        labels: (B, 1, *spatial), every class in every sample.
        soft: whether a voxel counts for both bins around it.
        bins: equal ones of [0, 1].
    """
    probabilities = logits.softmax(1).flatten(2)
    hot = torch.zeros_like(probabilities).scatter_(1, labels.long().flatten(2), 1)
    edges = torch.linspace(0, 1, bins + 1, device=logits.device)[1:]
    values = []
    for p, y in zip(probabilities.flatten(0, 1), hot.flatten(0, 1), strict=True):
        if soft:
            upper = torch.bucketize(p, edges - 0.5 / bins)
            weight = (p * bins + 0.5 - upper) * (upper > 0) * (upper < bins)
            shares = [(1 - weight, (upper - 1).clamp_min(0)), (weight, upper.clamp_max(bins - 1))]
        else:
            shares = [(torch.ones_like(p), torch.bucketize(p, edges).clamp_max(bins - 1))]
        count, mean, true = (
            sum(p.new_zeros(bins).scatter_add(0, where, w * of) for w, where in shares)
            for of in (torch.ones_like(p), p, y)
        )
        filled = count > (0.01 if soft else 0)
        values.append(((mean - true).abs()[filled] / count[filled]).mean())
    return torch.stack(values).mean()


def _released_ace(binning: str) -> LossRival:
    computes = f"{binning} bins as its authors release them, in plain torch, class by class"
    own = functools.partial(l1_ace, soft=binning == "soft")
    return LossRival(
        "torch", "torch", computes, lambda classes: own, Variant(binning, {"binning": binning})
    )


@functools.cache
def rivals() -> dict[str, tuple[LossRival, ...]]:
    """Rivals of each loss of ours, by its name."""
    has_nnunet = find_spec("nnunetv2") is not None
    whose = "nnunetv2's own class" if has_nnunet else "its formula in plain torch"
    unsmoothed = "smoothing 0: it smooths at another scale"
    lovasz = _exacta("LovaszSoftmaxLoss", f"{_EXACTA}, per_image=True", per_image=True)
    return {
        "dice": (_monai("DiceLoss", softmax=True), _exacta("DiceLoss")),
        "dice_ce": (
            _monai("DiceCELoss", softmax=True),
            _exacta("DiceCELoss"),
            LossRival(
                COMPILED,
                "plain, torch.compile",
                "the formula in plain torch, compiled by torch.compile",
                lambda classes: torch.compile(dice_ce),
            ),
            LossRival(
                "nnunet",
                "nnunet" if has_nnunet else "nnunet's formula",
                f"nnU-Net's default, {whose}: memory-efficient soft Dice over the batch without "
                "background, plus torch's cross entropy (it takes minus Dice; 1 is added here)",
                _nnunet,
                NNUNET,
            ),
        ),
        "dice_focal": (
            LossRival(
                "monai",
                "monai, softmax focal",
                "MONAI's DiceLoss(softmax=True) + FocalLoss(use_softmax=True), as ours",
                _monai_dice_softmax_focal,
            ),
            replace(
                _monai("DiceFocalLoss", softmax=True),
                name="monai, sigmoid focal",
                differs="its focal term is on the sigmoid of the logits even with softmax=True",
            ),
            LossRival(
                "exacta",
                "exacta",
                f"{_EXACTA}; its focal term is C times ours, so weighted 1 / C",
                lambda classes: _exacta_loss("DiceFocalLoss", lambda_focal=1 / classes),
            ),
        ),
        "tversky": (_monai("TverskyLoss", softmax=True), _exacta("TverskyLoss")),
        "focal": (
            _monai("FocalLoss", _MONAI.replace("softmax", "use_softmax"), use_softmax=True),
            LossRival(
                "exacta",
                "exacta",
                f"{_EXACTA}; the sum over classes where ours is the mean, so divided by C",
                _exacta_focal,
            ),
        ),
        "generalized_dice": (
            _monai(
                "GeneralizedDiceLoss",
                f"{_MONAI}, {unsmoothed}",
                NO_SMOOTHING,
                softmax=True,
                smooth_nr=0.0,
                smooth_dr=0.0,
            ),
            _exacta("GeneralizedDiceLoss", f"{_EXACTA}, {unsmoothed}", NO_SMOOTHING, smooth=0.0),
        ),
        "cross_entropy": (
            LossRival("torch", "torch", "torch.nn.functional.cross_entropy", _cross_entropy),
            LossRival(
                COMPILED,
                "torch, torch.compile",
                "torch.nn.functional.cross_entropy, compiled by torch.compile",
                lambda classes: torch.compile(_cross_entropy(classes)),
            ),
        ),
        "focal_tversky": (_exacta("FocalTverskyLoss"),),
        "lovasz_softmax": (
            replace(lovasz, unique=False),  # errors that tie may be sorted in any order
            replace(
                lovasz,
                name="exacta, sorted",
                variant=HISTOGRAM,
                differs="it sorts; a histogram is off by at most its widest cell",
            ),
        ),
        "l1_ace": (_released_ace("hard"), _released_ace("soft")),
        "topk_cross_entropy": (
            _exacta(
                "TopKCELoss",
                "exacta's TopKCELoss: the hardest tenth of the voxels of the batch",
                POOLED,
            ),
        ),
    }
