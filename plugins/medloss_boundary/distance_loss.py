"""What losses on distance maps share: their options, and the map of the target."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from medloss.base import RegionLoss, options
from medloss.base.distance_maps import known_voxels, map_of_target, voxel_size
from medloss.base.distance_maps import masks_of_prediction as predicted
from medloss.base.targets import Prepared
from medloss.distance import Convention, Empty, check_map_options, signed_distance
from medloss.objects.spacing import SpacingLike
from medloss.sums import work_dtype


@options
class DistanceLoss(RegionLoss):
    """A region loss on distances to the boundary of the target, or of the prediction too.

    Spacing is taken from ``spacing_mm`` of the call or target mapping, else of the constructor,
    else from a MetaTensor; without any it is refused, ``spacing_mm="voxel"`` asks for voxels.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    two_channels_equal_one: ClassVar[bool] = True

    spacing_mm: SpacingLike | None = None
    convention: Convention = "surface"
    empty: Empty = "distance_to_border"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_map_options(self.convention, self.empty)

    @property
    def skip(self) -> int:
        """How many classes need no map."""
        return 0 if self.include_background else 1

    def to_target(self, prepared: Prepared) -> Tensor:
        """Signed distances to the boundary of the target, ready or computed, (B, C, *spatial)."""
        return map_of_target(
            prepared,
            self.spacing_mm,
            convention=self.convention,
            empty=self.empty,
            skip=self.skip,
        )

    def to_prediction(self, prepared: Prepared) -> Tensor:
        """Signed distances to where the prediction passes 0.5, a constant for the gradient."""
        return signed_distance(
            predicted(prepared, self.skip),
            voxel_size(prepared, self.spacing_mm),
            convention=self.convention,
            empty=self.empty,
            known=known_voxels(prepared),
            skip=self.skip,
            dtype=work_dtype(prepared.values),
        )
