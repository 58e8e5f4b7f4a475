"""Per-class sums over voxels, the one computation behind nearly every region and voxel loss."""

from medloss.runtime.backends import Choice
from medloss.sums.choice import backends, chosen_backend
from medloss.sums.engine import class_sums, class_sums_slopes
from medloss.sums.reference import voxel_terms
from medloss.sums.results import ClassSums, any_over_batch
from medloss.sums.terms import Term
from medloss.sums.true_class import log_p_true
from medloss.sums.voxels import Activation, work_dtype

__all__ = [
    "Activation",
    "Choice",
    "ClassSums",
    "Term",
    "any_over_batch",
    "backends",
    "chosen_backend",
    "class_sums",
    "class_sums_slopes",
    "log_p_true",
    "voxel_terms",
    "work_dtype",
]
