"""Whether a class was found at all: of structures that some patients have and others have not."""

from __future__ import annotations

from medloss.objects.spacing import at_least
from medloss.scoring import Counts, Status


def found_class(counts: Counts, *, iou: float = 0.25) -> float:
    """Found class: 1 where the class is in the reference and overlaps enough, else 0.

    Formula:
        1 if |G ∩ P| / |G ∪ P| ≥ t, with reference G, which is not empty, and prediction P. As the
        means of ``found_class``, ``missed_class`` and ``false_class`` over all cases are the shares
        TP, FN and FP, the F1 score of all cases is 2 TP / (2 TP + FN + FP).

    Range:
        0 (not found, or not there) or 1.

    Empty:
        0 if the class is missing from one map or both.

    Args:
        counts: voxels of the class.
        iou: t, above 0 and up to 1.

    Example:
        >>> found_class(Counts(tp=1, fp=2, fn=1, tn=9)), found_class(Counts(1, 3, 1, 9))
        (1.0, 0.0)

    Source:
        Yang et al. 2023, arXiv:2312.17670 (TopCoW).
    """
    return float(_found(counts, iou))


def missed_class(counts: Counts, *, iou: float = 0.25) -> float:
    """Missed class: 1 where the class is in the reference and does not overlap enough, else 0.

    Formula:
        1 if the reference G is not empty and |G ∩ P| / |G ∪ P| < t, with prediction P. The mean
        over cases is a share of them.

    Range:
        0 (found, or not there) or 1.

    Empty:
        1 if the class is missed, 0 if the reference is empty.

    Args:
        counts: voxels of the class.
        iou: t, as of ``found_class``.

    Example:
        >>> missed_class(Counts(tp=1, fp=2, fn=1, tn=9)), missed_class(Counts(1, 3, 1, 9))
        (0.0, 1.0)

    Source:
        Yang et al. 2023, arXiv:2312.17670 (TopCoW).
    """
    return float(counts.reference > 0 and not _found(counts, iou))


def false_class(counts: Counts) -> float:
    """False class: 1 where the class is predicted and not in the reference, else 0.

    Formula:
        1 if the reference is empty and the prediction is not. The mean over cases is a share of
        them. Where both have the class, but without enough overlap, it is missed and not false.

    Range:
        0 or 1.

    Empty:
        1 if the class is spurious, 0 if the prediction is empty.

    Args:
        counts: voxels of the class.

    Example:
        >>> false_class(Counts(tp=0, fp=2, fn=0, tn=9))
        1.0

    Source:
        Yang et al. 2023, arXiv:2312.17670 (TopCoW).
    """
    return float(counts.status is Status.SPURIOUS)


def _found(counts: Counts, iou: float) -> bool:
    if not 0 < iou <= 1:
        raise ValueError(f"iou: expected above 0 and up to 1, got {iou!r}")
    union = counts.tp + counts.fp + counts.fn
    return counts.tp > 0 and bool(at_least(counts.tp / union, iou))
