"""What every loss shares: options, activation, class weights, masks and reduction, once."""

from medloss.base.on_sums import RegionLoss, SumsLoss, VoxelLoss
from medloss.base.options import options
from medloss.base.segmentation import SegmentationLoss

__all__ = ["RegionLoss", "SegmentationLoss", "SumsLoss", "VoxelLoss", "options"]
