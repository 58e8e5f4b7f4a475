"""What is known of one case, each fact once; needs numpy and scipy, neither torch nor MONAI."""

from medloss.scoring.case import Case
from medloss.scoring.counts import Counts, count_classes
from medloss.scoring.scores import score
from medloss.scoring.status import EmptyPolicy, Score, Status
from medloss.scoring.surfaces import DEFINITIONS, SurfaceDistances, surface_distances

__all__ = [
    "DEFINITIONS",
    "Case",
    "Counts",
    "EmptyPolicy",
    "Score",
    "Status",
    "SurfaceDistances",
    "count_classes",
    "score",
    "surface_distances",
]
