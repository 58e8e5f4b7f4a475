"""What every loss shares: options, activation, class weights, masks and reduction, once."""

from medloss.base.buffers import weights
from medloss.base.distance_maps import (
    known_voxels,
    map_of_target,
    masks_of_classes,
    masks_of_prediction,
    voxel_size,
)
from medloss.base.on_sums import RegionLoss, SumsLoss, VoxelLoss, annotated_share
from medloss.base.options import options
from medloss.base.segmentation import SegmentationLoss, mean_of
from medloss.base.whole_volume_loss import LossInParts, NotAdditiveError

__all__ = [
    "LossInParts",
    "NotAdditiveError",
    "RegionLoss",
    "SegmentationLoss",
    "SumsLoss",
    "VoxelLoss",
    "annotated_share",
    "known_voxels",
    "map_of_target",
    "masks_of_classes",
    "masks_of_prediction",
    "mean_of",
    "options",
    "voxel_size",
    "weights",
]
