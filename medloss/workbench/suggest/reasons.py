"""Why a rule applies, in the numbers that were measured; empty where it does not."""

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
