"""Blob loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import nn

from medloss.base import SegmentationLoss, options
from medloss.compound.inner_loss import build_loss
from medloss.compound.schedules import Weight
from medloss.compound.weighted_sum import WeightedSum
from medloss.objects.spacing import SpacingLike
from medloss_topology.instances import InstancesLoss, of_single_class
from medloss_topology.regions import Regions


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

    Example:
        >>> import torch
        >>> g, p = torch.zeros(1, 1, 6, 8), torch.full((1, 1, 6, 8), 0.05, dtype=torch.float64)
        >>> g[..., 1, 1], p[..., 1, 1] = 1, 0.1  # a small lesion, missed
        >>> g[..., 2:5, 4:7], p[..., 2:5, 4:7], p[..., 5, 0] = 1, 0.9, 0.6
        >>> dice = {"name": "dice", "smooth_nr": 0, "smooth_dr": 0}
        >>> round(BlobLoss(loss=dice)(p, g).item(), 12)
        0.969131011305

    Source:
        Kofler 2022, arXiv:2205.08209.
    """

    loss: str | Mapping[str, Any] | nn.Module = "dice_ce"
    regions: Regions = "blob"
    lambda_global: Weight = 2.0
    lambda_instances: Weight = 1.0
    connectivity: int | None = None
    spacing_mm: SpacingLike | None = None
    max_components: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        own = {f.name: f.default for f in fields(SegmentationLoss)}
        given = {k: getattr(self, k) for k in own if getattr(self, k) is not own[k]}
        inside = build_loss(self.loss, given)
        if not isinstance(inside, SegmentationLoss):
            raise TypeError(
                f"loss: expected a loss of medloss, which knows regions, got "
                f"{type(inside).__name__}"
            )
        for name in own:
            setattr(self, name, getattr(inside, name))
        self._buffers["class_weight"] = inside._buffers["class_weight"]
        instances = InstancesLoss(
            loss=of_single_class(inside),
            regions=self.regions,
            connectivity=self.connectivity,
            spacing_mm=self.spacing_mm,
            max_components=self.max_components,
            **self.pass_on("include_background", "weight"),
        )
        self.set_terms(
            {
                "global": (self.lambda_global, inside),
                "instances": (self.lambda_instances, instances),
            }
        )
