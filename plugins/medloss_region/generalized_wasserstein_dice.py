"""Generalized Wasserstein Dice loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from medloss.base import RegionLoss, annotated_share, options
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term, work_dtype


@options
class GeneralizedWassersteinDiceLoss(RegionLoss):
    """Dice loss in which confusing two classes costs the distance between them.

    Formula:
        W(v) = Σ_c M[y(v), c] p_c(v), M the distances between classes, class 0 the background;
        T = Σ_v (M[y(v), 0] − W(v)) over the voxels of the other classes;
        L = 1 − (2 T + smooth_nr) / (2 T + Σ_v W(v) + smooth_dr) for each sample.
        For two classes at distance 1 it is the Dice loss of class 1.
        ``"GDL"``: L = 1 − (2 A + smooth_nr) / (A + Σ_v α m + smooth_dr), A = Σ_v α (m − W(v)) over
        all voxels, m the largest distance, α = 1 / (1 + number of voxels of the class y(v)).

    Range: [0, 1] where no class is farther from another than from the background, as in the paper;
        otherwise, or with ``sigmoid``, it may exceed 1.

    Empty target:
        value 1 and almost no gradient with the default smoothing, as Dice.

    Both sums are linear in p, so two maps of the size of the logits (rows of M gathered by label)
    stand for all C x C pairs. Other implementations take M[y, 0] = 1 for granted.

    Args:
        distances: M, one row for each true class; zeros on the diagonal. By default every
            confusion costs 1.
        dist_matrix: MONAI's name of ``distances``, which brings MONAI's softmax where no other
            activation is asked for; scaled to a largest distance of 1 as there.
        weighting_mode: ``"default"``, or ``"GDL"`` for all classes alike, whatever their volumes.
        include_background: no difference; the background is the reference and never an object.
        weight: none; M weights the classes.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> M = [[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]
        >>> loss = GeneralizedWassersteinDiceLoss(
        ...     distances=M, softmax=True, smooth_nr=0, smooth_dr=0
        ... )
        >>> round(loss(z, y).item(), 12)
        0.296323492062

    Source:
        Fidon 2017, arXiv:1707.00478; Tilborghs 2020, arXiv:2007.15546 (``"GDL"``).
    """

    positional: ClassVar[tuple[str, ...]] = (
        "dist_matrix",
        "weighting_mode",
        "reduction",
        "smooth_nr",
        "smooth_dr",
    )

    distances: Sequence[Sequence[float]] | None = None
    dist_matrix: Sequence[Sequence[float]] | None = None
    weighting_mode: Literal["default", "GDL"] = "default"

    def __post_init__(self) -> None:
        if self.dist_matrix is not None:
            if self.distances is not None:
                raise ValueError(
                    "dist_matrix: it is MONAI's name of distances; expected one of them"
                )
            self.distances, self.dist_matrix = _scaled(_checked(self.dist_matrix)), None
            self.softmax = not (self.sigmoid or self.other_act is not None)
        super().__post_init__()
        self.include_background = True
        if self.weight is not None:
            raise ValueError("weight: expected None, the distances weight the classes")
        if self.distances is not None:
            self.distances = _checked(self.distances)

    def check(self, prepared: Prepared) -> None:
        """Refuse a matrix for another number of classes."""
        super().check(prepared)
        classes = prepared.values.shape[1]
        if classes == 1:
            raise ValueError("input: expected 2 or more classes, background first, got 1")
        if self.distances is not None and len(self.distances) != classes:
            raise ValueError(
                f"distances: expected a row and a column for each of {classes} classes, "
                f"got {len(self.distances)}"
            )

    def matrix(self, classes: int, like: Tensor) -> Tensor:
        """M, (C, C), on the device and in the dtype of ``like``."""
        if self.distances is None:
            return 1 - torch.eye(classes, dtype=like.dtype, device=like.device)
        return torch.tensor(self.distances, dtype=like.dtype, device=like.device)

    @property
    def of_labels(self) -> Term:
        """The sum Σ p_c M[y, c], over the voxels of all classes but the background, or weighted."""
        return Term("map", map=f"class_distance:{self.weighting_mode}:{self.distances}")

    def terms(self) -> tuple[str | Term, ...]:
        """Distances on the objects, probabilities on the background, and volumes."""
        if self.weighting_mode == "GDL":
            return (self.of_labels, "t")
        return (self.of_labels, Term("map", map="background"), "t")

    def maps(self, prepared: Prepared) -> Mapping[str, Tensor]:
        """The row of M of each voxel's class, 0 on the background or weighted; the background."""
        name = str(self.of_labels.map)
        rows = self.matrix(prepared.values.shape[1], prepared.input)[None]
        if self.weighting_mode == "GDL":
            volumes, _ = self.counted(_volumes(prepared), prepared)
            return {name: _rows_of_labels(rows * _alpha(volumes.t)[..., None], prepared)}
        rows[:, 0] = 0
        if prepared.is_index:
            background, share = prepared.target == 0, annotated_share(prepared)
            background = background if share is None else background * share
        else:
            background = _annotated(prepared)[:, :1]
        return {
            name: _rows_of_labels(rows, prepared),
            "background": background.to(prepared.input).expand_as(prepared.input),
        }

    def is_additive(self, prepared: Prepared) -> bool:
        """Its maps look at no neighbours; weights of volumes do."""
        return self.weighting_mode == "default"

    def per_class(self, s: ClassSums) -> Tensor:
        """One value for each sample, (B, 1)."""
        matrix = self.matrix(s.t.shape[1], s.t)
        of_labels = s[self.of_labels.name, str(self.of_labels.map)].sum(1, keepdim=True)
        if self.weighting_mode == "GDL":
            everything = (matrix.max() * _alpha(s.t) * s.t).sum(1, keepdim=True)
            overlap = everything - of_labels
            return 1 - (2 * overlap + self.smooth_nr) / (overlap + everything + self.smooth_dr)
        on_background = (s["map", "background"] * matrix[0]).sum(1, keepdim=True)
        overlap = 2 * ((s.t * matrix[:, 0]).sum(1, keepdim=True) - of_labels)
        return 1 - (overlap + self.smooth_nr) / (
            overlap + of_labels + on_background + self.smooth_dr
        )


generalized_wasserstein_dice = GeneralizedWassersteinDiceLoss
"""MONAI's short name."""


def _alpha(volumes: Tensor) -> Tensor:
    return 1 / (1 + volumes)


def _volumes(prepared: Prepared) -> ClassSums:
    """Σ g of each sample and class, with a derivative by g and none by the input."""
    if prepared.is_index:
        with torch.no_grad():
            return prepared.sums(("t",))
    g = prepared.one_hot() if prepared.mask is None else prepared.one_hot() * prepared.mask
    return ClassSums(g.flatten(2).sum(2, dtype=work_dtype(g))[:, None], (Term("t"),))


def _annotated(prepared: Prepared) -> Tensor:
    """Labels of the classes that were annotated, (B, C, *spatial)."""
    g = prepared.one_hot()
    if prepared.present is None:
        return g
    return g * prepared.present.reshape(*g.shape[:2], *[1] * (g.ndim - 2))


def _rows_of_labels(rows: Tensor, prepared: Prepared) -> Tensor:
    """The row of each voxel's class, (B, C, *spatial); 0 where that was not annotated.

    Args:
        rows: (B, C, C), or (1, C, C) for all samples.
        prepared: checked inputs.
    """
    batch, classes = prepared.values.shape[:2]
    rows = rows.expand(batch, -1, -1)
    if not prepared.is_index:
        return torch.einsum("bl...,blc->bc...", _annotated(prepared), rows)
    label = prepared.class_numbers()[:, 0]
    first = torch.arange(batch, device=label.device) * (classes + 1)
    table = F.pad(rows, (0, 0, 0, 1)).flatten(0, 1)  # the last row of a sample is of no class
    found = F.embedding(label + first.view(-1, *[1] * (label.ndim - 1)), table).movedim(-1, 1)
    share = annotated_share(prepared)
    return found if share is None else found * share


def _scaled(distances: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    largest = max(map(max, distances))
    return tuple(tuple(each / largest for each in row) for row in distances)


def _checked(distances: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """As tuples of numbers.

    Raises:
        ValueError: no square matrix of distances, or one under which the loss has no bound.
    """
    matrix = torch.as_tensor(distances, dtype=torch.float64, device="cpu")
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] >= 2
    if not (square and bool(matrix.isfinite().all()) and bool((matrix >= 0).all())):
        raise ValueError(
            f"distances: expected a square matrix of numbers of at least 0, got {distances!r}"
        )
    if bool((matrix.diagonal() != 0).any()):
        raise ValueError(f"distances: expected zeros on the diagonal, got {distances!r}")
    if not bool((matrix.amax(1) < 2 * matrix[:, 0])[1:].all()):
        raise ValueError(
            f"distances: expected every class less than twice as far from any other as from the "
            f"background (column 0), got {distances!r}"
        )
    return tuple(tuple(row) for row in matrix.tolist())
