"""Exact Euclidean distances on voxel grids, in millimetres."""

from medloss.distance.signed import (
    CONVENTIONS,
    EMPTY,
    Convention,
    Empty,
    check_map_options,
    distance_to_border,
    fill_borderless,
    signed_distance,
)
from medloss.distance.transform import chosen_distance_backend, distance_backends, distances, edt
from medloss.objects.components import connected_components

__all__ = [
    "CONVENTIONS",
    "EMPTY",
    "Convention",
    "Empty",
    "check_map_options",
    "chosen_distance_backend",
    "connected_components",
    "distance_backends",
    "distance_to_border",
    "distances",
    "edt",
    "fill_borderless",
    "signed_distance",
]
