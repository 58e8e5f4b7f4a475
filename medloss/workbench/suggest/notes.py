"""What the numbers mean beyond a change of the loss."""

from __future__ import annotations

import math

from medloss.workbench.suggest.facts import Facts
from medloss.workbench.suggest.reasons import (
    ABSENT,
    ANISOTROPIC,
    HEADS,
    STRAY_VOXELS,
    Reason,
    millimetres,
)


def _fused_head(facts: Facts) -> str:
    if not facts.exclusive or len(facts.classes) < HEADS:
        return ""
    return (
        f"{len(facts.classes)} classes: `FusedHead` computes the same loss from the features, so "
        f"that logits never exist in full (docs/fused-head.md; 105 classes: 0.55 times the time "
        f"and 0.16 times the memory)"
    )


def _anisotropy(facts: Facts) -> str:
    if facts.anisotropy < ANISOTROPIC:
        return ""
    return (
        f"voxels are {facts.anisotropy:.1f} times as long as wide "
        f"({millimetres(facts.spacing_mm)} mm): if you add a boundary loss, take one that measures "
        f"in mm and gets the spacing (`boundary`, `hausdorff_dt`, `generalized_surface`, "
        f"`surface_dice`); `cl_dice`, `hausdorff_erosion` and `boundary_dou` count voxels"
    )


def _not_annotated(facts: Facts) -> str:
    rare = [c for c in facts.classes if c.presence <= 1 - 2 * ABSENT]
    if not rare:
        return ""
    listed = ", ".join(f"{c.title} in {c.cases} of {facts.cases}" for c in rare[:5])
    more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
    return (
        f"not in every case: {listed}{more}. If it was not annotated there, rather than absent, "
        f"say so to the loss: `present`, `marginal` (docs/partial-labels.md)"
    )


def _empty(facts: Facts) -> str:
    if not facts.empty:
        return ""
    return (
        f"{facts.empty:.0%} of the cases have no foreground: never take a loss without cross "
        f"entropy there, and count false positives apart (docs/metrics.md, statuses)"
    )


def _stray(facts: Facts) -> str:
    voxel = math.prod(facts.spacing_mm)
    stray = [c for c in facts.classes if c.parts > 1 and c.smallest_part_mm3 < STRAY_VOXELS * voxel]
    if not stray:
        return ""
    return (
        f"a tenth of the parts have one or two voxels: {', '.join(c.title for c in stray[:5])}"
        f"{f' and {len(stray) - 5} more' if len(stray) > 5 else ''}. Are they meant?"
    )


def _gaps(facts: Facts) -> str:
    numbers = [c.label for c in facts.classes if isinstance(c.label, int)]
    if not facts.exclusive or numbers == [*range(1, len(numbers) + 1)]:
        return ""
    return (
        f"labels are not 1 to {len(numbers)}: map them to the network's channels first "
        f"(MapLabelValued)"
    )


def _absent(facts: Facts) -> str:
    if not facts.absent:
        return ""
    return f"in none of the {facts.cases} cases: {', '.join(facts.absent)}"


NOTES: tuple[Reason, ...] = (
    _absent,
    _gaps,
    _stray,
    _empty,
    _not_annotated,
    _anisotropy,
    _fused_head,
)
