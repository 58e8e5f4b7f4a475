"""Centreline boundary Dice loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medloss.base import (
    known_voxels,
    masks_of_classes,
    masks_of_prediction,
    options,
    voxel_size,
)
from medloss.base.targets import Prepared
from medloss.distance import signed_distance
from medloss.distance.steps import steps_of
from medloss.objects.spacing import SpacingLike
from medloss.sums import work_dtype
from medloss_topology.cl_dice import ClDiceLoss
from medloss_topology.soft_skeleton import skeletons_of_masks


@options
class CbDiceLoss(ClDiceLoss):
    """Centreline boundary Dice: clDice of masks, weighted by the radius of the tube in mm.

    Formula:
        L = 1 − 2 T_p T_s / (T_p + T_s) for each sample and class. D_g and D_p are the distances in
        mm to the outside within the masks g and p > 0.5, S_g and S_p the skeletons of these masks,
        r = max(h, max D on S), h the smallest spacing, D is cut at r; d = D / r, and on S
        w = ((r − D + h) / r)^(axes − 1): thin branches weigh more. With these of each mask
        T_p = (Σ p w_p d_g + smooth_nr) / (Σ p w_p n_p + smooth_dr),
        T_s = (Σ w_g p d_p + smooth_nr) / (Σ w_g n_g + smooth_dr); n_p is d_g on S_g, elsewhere
        p d_p; n_g is p d_p on S_p, elsewhere d_g.

    Range: [0, 1] for smooth_nr = smooth_dr, up to rounding.

    Empty target:
        false positives have a gradient on their skeleton alone; p > 0.5 everywhere with a skeleton
        in no voxel costs nothing.

    Skeletons and distances are constants, found in each step where p passes 0.5. So a branch that
    is missed (p < 0.5) has gradient 0, a prediction below 0.5 everywhere has none at all, and of
    the rest only voxels on one of both skeletons have one: it refines what a region loss found.
    Trains alone: no; put ``dice_ce`` beside it.

    Spacing is taken as in ``boundary``. Ready maps of the target are taken: ``skeleton`` of
    ``SkeletonMapd`` with ``tube_radius=0``, ``distance_map`` of ``DistanceMapd`` with
    ``convention="symmetric"``. A class that fills the image is as deep as the border is far.
    Ignored voxels are as if beyond the image.

    The authors' code merges all foreground classes into one by their largest logit, pools the
    batch, counts distances in voxels, and has 1 less.

    Cost:
        with 10 iterations about 15 times the CPU time of ``dice_ce``, half of ``cl_dice``.
        (docs/examples/measure_topology_losses.py)

    Args:
        iterations: of erosion for the skeletons, at least the radius in voxels of the thickest
            tube.
        spacing_mm: size of a voxel where the call does not say it; it outranks a MetaTensor's.
        smooth_nr: added to numerators; here 1, as in the authors' code.
        smooth_dr: added to denominators; here 1, as in the authors' code.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 7, 9, dtype=torch.float64)
        >>> g[..., 2:5, :] = 1
        >>> p = 0.1 + 0.8 * g
        >>> p[..., 2:5, 4] = 0.2  # a gap
        >>> round(CbDiceLoss(spacing_mm=1.0)(p, g).item(), 12)
        0.112299465241

    Source:
        Shi 2024, arXiv:2407.01517.
    """

    iterations: int = 10
    spacing_mm: SpacingLike | None = None

    def skeletons(self, prepared: Prepared) -> Tensor:
        """Numerator and denominator of T_p, then of T_s, (B, 4, C); 0 for classes left out."""
        skip = 0 if self.include_background else 1
        true, predicted = self._tubes(prepared, skip)
        p = prepared.probabilities()[:, skip:]
        on_predicted, on_true = p * predicted.weight, true.weight
        deep = p * predicted.depth
        summands = (
            on_predicted * true.depth,
            on_predicted * torch.where(true.skeleton, true.depth, deep),
            on_true * deep,
            on_true * torch.where(predicted.skeleton, deep, true.depth),
        )
        counts = 1 if prepared.mask is None else prepared.mask
        sums = torch.stack([(each * counts).flatten(2).sum(2) for each in summands], 1)
        return torch.nn.functional.pad(sums, (skip, 0))

    @torch.no_grad()
    def _tubes(self, prepared: Prepared, skip: int) -> tuple[_Tubes, _Tubes]:
        """Of the target and of the prediction."""
        true, ready = masks_of_classes(prepared, skip), prepared.extras
        predicted = masks_of_prediction(prepared, skip)
        known, spacing = known_voxels(prepared), voxel_size(prepared, self.spacing_mm)
        if known is not None:
            true, predicted = true & known, predicted & known

        def depth_of(mask: Tensor) -> Tensor:
            dtype = work_dtype(prepared.values)
            found = signed_distance(mask, spacing, convention="symmetric", known=known, dtype=dtype)
            return found.neg_().clamp_min_(0)

        if ready.distance_map is None:
            true_depth = depth_of(true)
        else:
            given = ready.distance_map[:, skip:].to(work_dtype(prepared.values))
            true_depth = (-given).clamp_min(0) * true
        if ready.skeleton is None:
            skeleton = skeletons_of_masks(true, known, self.iterations)
        else:
            skeleton = (ready.skeleton[:, skip:] > 0) & true
        # An axis of one voxel is none: a flat volume has the value of its image.
        axes = [k for k, n in enumerate(true.shape[2:]) if n > 1] or [*range(true.ndim - 2)]
        steps = steps_of(spacing).to(true_depth).view(len(true), true.ndim - 2)
        least = steps[:, axes].amin(1).view(-1, *[1] * (true.ndim - 1))
        power = max(1, len(axes) - 1)
        of_prediction = skeletons_of_masks(predicted, known, self.iterations)
        return (
            _tubes(skeleton, true_depth, least, power),
            _tubes(of_prediction, depth_of(predicted), least, power),
        )


class _Tubes(NamedTuple):
    r"""What the loss takes of one side's masks, each (B, C, \*spatial).

    Args:
        skeleton: bool.
        depth: distance to the outside as a share of the largest radius.
        weight: on the skeleton, more where the tube is thin; 0 elsewhere.
    """

    skeleton: Tensor
    depth: Tensor
    weight: Tensor


def _tubes(skeleton: Tensor, depth: Tensor, least: Tensor, power: int) -> _Tubes:
    radius = depth.where(skeleton, 0).flatten(2)
    radius = radius.amax(2) if radius.shape[2] else radius.sum(2)
    radius = torch.maximum(radius.view(*radius.shape, *[1] * (depth.ndim - 2)), least)
    depth = torch.minimum(depth, radius)
    weight = ((radius - depth + least) / radius) ** power
    return _Tubes(skeleton, depth / radius, weight.where(skeleton, 0))
