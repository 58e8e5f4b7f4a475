"""Per-class sums over voxels, the one computation behind nearly every region and voxel loss."""

from medloss.sums.reference import class_sums, voxel_terms
from medloss.sums.terms import Activation, ClassSums, Term, any_over_batch

__all__ = ["Activation", "ClassSums", "Term", "any_over_batch", "class_sums", "voxel_terms"]
