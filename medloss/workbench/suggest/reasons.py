"""What the numbers speak for, in words; empty where they do not.

Reasons are those of the rules; notes are what the numbers mean beyond a change of the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from medloss.workbench.suggest.facts import ClassFacts, Facts

Reason = Callable[[Facts], str]

THIN_VOXELS = 5.0
"""Up to this thickness one voxel on either side decides whether a structure stays connected."""

MANY_PARTS = 3
"""From so many parts in the median case on, a class is many objects rather than one."""

CONCERNED = 0.2
"""Share of the classes that a change has to be for: it changes the loss of all."""

MAIN_PART = 0.95
"""Beyond this share of the volume in one part, the other parts are crumbs."""

SMALL_SHARE = 0.01
"""A class that would fill less than this share of a patch is small."""

UNEVEN = 10.0
"""The largest object over what 1/10 of the objects stay below, from which on sizes are uneven."""

MANY_CLASSES, UNEQUAL = 5, 100.0
"""From so many classes on, and this ratio of the largest to the smallest."""

HEADS = 30
"""Classes from which on the logits are what fills the memory."""

ABSENT, WHOLE_IMAGE = 0.1, 0.25
"""Share of cases without a class, and of the image in a patch, at which samples are pooled."""

ANISOTROPIC = 3.0
"""Largest over smallest voxel size: nnU-Net's threshold too."""

STRAY_VOXELS = 2.5
"""If a tenth of all parts stay below this, they may be stray."""


def pooled(facts: Facts) -> str:
    """Why Dice is formed over the batch."""
    rarest = min(facts.classes, key=lambda each: each.presence)
    if rarest.presence <= 1 - ABSENT:
        return (
            f"{rarest.title} is in {rarest.cases} of {facts.cases} cases, and in still fewer "
            f"patches: Dice of a sample without the class is 0 or 1 by the smoothing alone"
        )
    if facts.patch_share < WHOLE_IMAGE:
        return (
            f"a patch of {_size(facts.patch)} is {facts.patch_share:.0%} of the median image "
            f"({_size(facts.shape)}), so that many patches lack a class"
        )
    return ""


def tubes(facts: Facts) -> str:
    """Thin tubes."""
    thin = [c for c in facts.classes if c.tube_share >= 0.5 and c.thickness_voxels <= THIN_VOXELS]
    return _listed(
        facts,
        thin,
        lambda c: (
            f"{c.tube_share:.0%} of its volume in tubes, {c.thickness_voxels:.1f} voxels "
            f"({c.thickness_mm:.1f} mm) thick, {c.elongation:.0f} times as long as thick"
        ),
    )


def many_parts(facts: Facts) -> str:
    """Many objects of one class."""
    many = [
        c
        for c in facts.classes
        if c.parts >= MANY_PARTS and c.main_part <= MAIN_PART and c.tube_share < 0.5
    ]
    unit = _unit(facts)
    return _listed(
        facts,
        many,
        lambda c: (
            f"{c.parts:.0f} parts in the median case (at most {c.most_parts}), half of them below "
            f"{amount(c.part_mm3)} {unit}, the largest {amount(c.largest_part_mm3)} {unit}"
        ),
    )


def small_and_uneven(facts: Facts) -> str:
    """Small objects of very different size."""
    size = math.prod(facts.patch)
    small = [
        c
        for c in facts.classes
        if c.voxels / size < SMALL_SHARE
        and c.largest_part_mm3 / c.smallest_part_mm3 >= UNEVEN
        and c.tube_share < 0.5
    ]
    unit = _unit(facts)
    return _listed(
        facts,
        small,
        lambda c: (
            f"{c.voxels / size:.2%} of a patch even where all of it is inside, in objects from "
            f"{amount(c.smallest_part_mm3)} to {amount(c.largest_part_mm3)} {unit}"
        ),
    )


def unequal(facts: Facts) -> str:
    """Classes of very different size."""
    if len(facts.classes) < MANY_CLASSES:
        return ""
    rare, common = (f(facts.classes, key=lambda c: c.volume_mm3) for f in (min, max))
    ratio = common.volume_mm3 / rare.volume_mm3
    if ratio < UNEQUAL:
        return ""
    return (
        f"{len(facts.classes)} classes, {common.title} {ratio:.0f} times as large as "
        f"{rare.title} ({amount(common.volume_mm3)} and {amount(rare.volume_mm3)} {_unit(facts)})"
    )


def amount(number: float) -> str:
    """A volume to read.

    Example:
        >>> amount(1043118.3), amount(4.1234)
        ('1,043,118', '4.12')
    """
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _listed(facts: Facts, concerned: list[ClassFacts], say: Callable[[ClassFacts], str]) -> str:
    if len(concerned) < CONCERNED * len(facts.classes) or not concerned:
        return ""
    shown = "; ".join(f"{each.title}: {say(each)}" for each in concerned[:3])
    more = len(concerned) - 3
    if more <= 0:
        return shown
    return f"{len(concerned)} of {len(facts.classes)} classes. {shown}; and {more} more"


def _unit(facts: Facts) -> str:
    return "mm³" if facts.axes == 3 else "mm²"


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def millimetres(spacing: tuple[float, ...]) -> str:
    """Sizes along the axes."""
    return " x ".join(f"{size:.3g}" for size in spacing)


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
