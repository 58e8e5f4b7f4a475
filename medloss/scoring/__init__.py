"""What is known of one case, each fact once; needs numpy and numba, neither torch nor MONAI."""

from medloss.scoring.candidates import FoundLesions, FrocCurve, LesionCandidates, froc_curve
from medloss.scoring.case import Case
from medloss.scoring.cells import Cells
from medloss.scoring.contours import Contours
from medloss.scoring.facts import Counts, Skeletons, count_classes
from medloss.scoring.lesions import Components, Lesions
from medloss.scoring.matching import Detections, Matches, detections, match, match_lesions
from medloss.scoring.presets import PRESETS, EmptyPolicy, Preset, Score, Status
from medloss.scoring.probabilities import Bins, Probabilities, ProbabilityRanks
from medloss.scoring.scores import score
from medloss.scoring.surface.distances import SurfaceDistances
from medloss.scoring.surfaces import surface_distances
from medloss.scoring.topology import Topology

__all__ = [
    "PRESETS",
    "Bins",
    "Case",
    "Cells",
    "Components",
    "Contours",
    "Counts",
    "Detections",
    "EmptyPolicy",
    "FoundLesions",
    "FrocCurve",
    "LesionCandidates",
    "Lesions",
    "Matches",
    "Preset",
    "Probabilities",
    "ProbabilityRanks",
    "Score",
    "Skeletons",
    "Status",
    "SurfaceDistances",
    "Topology",
    "count_classes",
    "detections",
    "froc_curve",
    "match",
    "match_lesions",
    "score",
    "surface_distances",
]
