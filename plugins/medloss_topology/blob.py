"""Blob loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from medloss.base import options
from medloss.compound import Weight, WeightedSum, adopt_inner_loss
from medloss.objects.spacing import SpacingLike
from medloss_compound.dice_compounds import DiceCELoss
from medloss_topology.instances import InstancesLoss, Regions, of_single_class


@options
class BlobLoss(WeightedSum):
    """Any loss on the image plus its mean over objects, so that small ones count like large ones.

    Formula:
        L = lambda_global loss(Ω) + lambda_instances mean over classes of mean_k loss(Ω_k); object k
        of a class is judged in Ω_k: with ``regions="blob"`` the image Ω without the other objects
        of the class, with ``"cells"`` the voxels that are nearer to it, in mm, than to any other.

    The second term sees each class alone, against the rest; of exclusive classes the background has
    no objects. Voxels beyond Ω_k are left out, not set to 0. A false positive counts once for each
    object with ``"blob"``, and once, for the nearest, with ``"cells"``. Objects are those of the
    extra ``components``, (B, 1, *spatial), which ``ComponentMapd`` makes once, or are looked for on
    the CPU in each step.

    With ``size_exponent`` γ the voxels of Ω_k weigh by the inverse size of what they belong to, in
    all of them as much as there are: N C^−γ / (C^(1−γ) + R^(1−γ)) for the C of the object, with R
    for C for the R others. γ = 1 gives the object half of all weight. Dice is then 1 − 2 TP / (2 TP
    + FN + (w_R / w_C) FP): false positives beside a small object become almost free, and fewer
    small objects are found right, which is what was measured where this was proposed; a voxel in
    10⁶ weighs 500 000, so take γ below 1 or ``max_size_weight`` in large regions.

    Range: that of the loss inside, times the weights.

    Empty target:
        a class without objects has 0 in the second term; the first is the loss inside.

    Losses on class sums (``dice``, ``tversky``, ``cross_entropy``, ``focal``, ``dice_ce`` and so
    on) sum each voxel once, however many objects there are. Others are evaluated for each object.

    Cost:
        of ``dice_ce`` with 3 classes about 14 times the CPU time of ``dice_ce``.
        (docs/examples/measure_topology_losses.py)

    Args:
        loss: name (``"dice_ce"``), mapping with ``name`` and options, or a loss, whose options
            then serve here too; nested ``_target_`` in a bundle config.
        regions: ``"blob"`` or ``"cells"``.
        lambda_global: weight of the loss on the image, or a schedule of it.
        lambda_instances: weight of the mean over objects, or a schedule of it.
        connectivity: of objects that are looked for: 1 across faces, 2 across edges too, 3 across
            corners too; by default as many as there are axes.
        spacing_mm: size of a voxel where the call does not say it, for ``"cells"``.
        max_components: more objects of a class in a sample are refused, where the loss inside is
            evaluated for each of them.
        size_exponent: γ of the inverse sizes that voxels of each region weigh by; 0 for not at all.
            Not for ``surface_dice`` and ``hausdorff_erosion``, whose voxels have no weight.
        max_size_weight: largest of these weights; None for any.

    Example:
        >>> import torch
        >>> g, p = torch.zeros(1, 1, 6, 8), torch.full((1, 1, 6, 8), 0.05, dtype=torch.float64)
        >>> g[..., 1, 1], p[..., 1, 1] = 1, 0.1  # a small lesion, missed
        >>> g[..., 2:5, 4:7], p[..., 2:5, 4:7], p[..., 5, 0] = 1, 0.9, 0.6
        >>> dice = {"name": "dice", "smooth_nr": 0, "smooth_dr": 0}
        >>> round(BlobLoss(loss=dice)(p, g).item(), 12)
        0.969131011305

    Source:
        Kofler 2022, arXiv:2205.08209; inverse sizes: Shirokikh 2020, arXiv:2007.10033; in regions:
        Kundu 2026, arXiv:2604.24276.
    """

    loss: str | Mapping[str, Any] | nn.Module = "dice_ce"
    regions: Regions = "blob"
    lambda_global: Weight = 2.0
    lambda_instances: Weight = 1.0
    connectivity: int | None = None
    spacing_mm: SpacingLike | None = None
    max_components: int = 100
    size_exponent: float = 0.0
    max_size_weight: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        inside = adopt_inner_loss(self, self.loss, knows="regions")
        self._buffers["class_weight"] = inside._buffers["class_weight"]
        instances = InstancesLoss(
            loss=of_single_class(inside),
            regions=self.regions,
            connectivity=self.connectivity,
            spacing_mm=self.spacing_mm,
            max_components=self.max_components,
            size_exponent=self.size_exponent,
            max_size_weight=self.max_size_weight,
            **self.pass_on("include_background", "weight"),
        )
        self.set_terms(
            {
                "global": (self.lambda_global, inside),
                "instances": (self.lambda_instances, instances),
            }
        )


@options
class CCDiceCELoss(WeightedSum):
    """Dice plus cross entropy, on the image and in the cell around each object.

    Formula:
        L = lambda_global L_DiceCE(Ω) + lambda_instances mean over classes of mean_k L_DiceCE(Ω_k);
        the cell Ω_k has the voxels that are nearer to object k of the class, in mm, than to any
        other object of it.

    The second term sees each class alone, against the rest; of exclusive classes the background has
    no objects. A false positive counts for the nearest object. Objects are those of the extra
    ``components``, (B, 1, *spatial), which ``ComponentMapd`` makes once, or are looked for on the
    CPU in each step. ``blob`` with ``regions="cells"`` does the same with any other loss, and has
    ``size_exponent`` explained.

    Range: [0, ∞).

    Empty target:
        a class without objects has 0 in the second term; cross entropy of the first keeps value and
        gradient.

    Spacing is taken as in ``boundary``. A voxel equally near to two objects belongs to the first.

    Cost:
        with 3 classes about 22 times the CPU time of ``dice_ce``: one distance transform of each
        class with objects.
        (docs/examples/measure_topology_losses.py)

    Args:
        lambda_global: weight of the loss on the image, or a schedule of it.
        lambda_instances: weight of the mean over cells, or a schedule of it.
        lambda_dice: weight of Dice in both, or a schedule of it.
        lambda_ce: weight of the cross entropy in both, or a schedule of it.
        connectivity: of objects that are looked for: 1 across faces, 2 across edges too, 3 across
            corners too; by default as many as there are axes.
        spacing_mm: size of a voxel where the call does not say it; it outranks a MetaTensor's.
        size_exponent: γ of the inverse sizes that voxels of each region weigh by; 0 for not at all.
        max_size_weight: largest of these weights; None for any.

    Example:
        >>> import torch
        >>> g, p = torch.zeros(1, 1, 6, 8), torch.full((1, 1, 6, 8), 0.05, dtype=torch.float64)
        >>> g[..., 1, 1], p[..., 1, 1] = 1, 0.1  # a small lesion, missed
        >>> g[..., 2:5, 4:7], p[..., 2:5, 4:7], p[..., 5, 0] = 1, 0.9, 0.6
        >>> cells = CCDiceCELoss(
        ...     lambda_global=0, lambda_ce=0, spacing_mm=1.0, smooth_nr=0, smooth_dr=0
        ... )
        >>> round(cells(p, g).item(), 12)
        0.514823857691

    Source:
        Bouteille 2025, arXiv:2511.17146; Jaus 2024, arXiv:2410.18684 (cells).
    """

    two_channels_equal_one: ClassVar[bool] = True

    lambda_global: Weight = 1.0
    lambda_instances: Weight = 1.0
    lambda_dice: Weight = 1.0
    lambda_ce: Weight = 1.0
    connectivity: int | None = None
    spacing_mm: SpacingLike | None = None
    size_exponent: float = 0.0
    max_size_weight: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        inside = DiceCELoss(
            lambda_dice=self.lambda_dice,
            lambda_ce=self.lambda_ce,
            **self.pass_on("include_background", "weight", "smooth_nr", "smooth_dr"),
        )
        cells = InstancesLoss(
            loss=of_single_class(inside),
            regions="cells",
            connectivity=self.connectivity,
            spacing_mm=self.spacing_mm,
            size_exponent=self.size_exponent,
            max_size_weight=self.max_size_weight,
            **self.pass_on("include_background", "weight"),
        )
        self.set_terms(
            {"global": (self.lambda_global, inside), "cells": (self.lambda_instances, cells)}
        )
