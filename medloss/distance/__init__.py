"""Exact Euclidean distances on voxel grids, in millimetres."""

from medloss.distance.separable import squared_distance
from medloss.distance.signed import CONVENTIONS, EMPTY, signed_distance

__all__ = ["CONVENTIONS", "EMPTY", "signed_distance", "squared_distance"]
