"""What is known of one case, each fact once; needs numpy and numba, neither torch nor MONAI."""

from medloss.scoring.case import Case
from medloss.scoring.cells import Cells
from medloss.scoring.facts import Counts, Probabilities, Skeletons, count_classes
from medloss.scoring.lesions import Components, Lesions
from medloss.scoring.matching import Detections, Matches, detections, match, match_lesions
from medloss.scoring.presets import PRESETS, EmptyPolicy, Preset, Score, Status
from medloss.scoring.scores import score
from medloss.scoring.surface.distances import SurfaceDistances
from medloss.scoring.surfaces import surface_distances
from medloss.scoring.topology import Topology

__all__ = [
    "PRESETS",
    "Case",
    "Cells",
    "Components",
    "Counts",
    "Detections",
    "EmptyPolicy",
    "Lesions",
    "Matches",
    "Preset",
    "Probabilities",
    "Score",
    "Skeletons",
    "Status",
    "SurfaceDistances",
    "Topology",
    "count_classes",
    "detections",
    "match",
    "match_lesions",
    "score",
    "surface_distances",
]
