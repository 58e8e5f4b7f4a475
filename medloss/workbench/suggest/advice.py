"""A baseline and at most two changes, as configs of a MONAI bundle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from medloss.workbench.suggest import notes as all_notes
from medloss.workbench.suggest import rules
from medloss.workbench.suggest.facts import Facts
from medloss.workbench.suggest.reasons import pooled as reason_to_pool
from medloss.workbench.suggest.rules import RULES, Evidence, Rule

CHANGES = 2
"""The most that is proposed: each is a training of its own."""


@dataclass(frozen=True)
class Proposal:
    """A loss to train with.

    Args:
        name: of the loss that makes the difference.
        change: beside the baseline.
        reason: the numbers that led to it.
        evidence: with sources.
        caution: what to see to.
        cost: beside the baseline.
        command: that measures the cost.
        judge_by: the metric that would show an effect.
        config: entries of a bundle's ``train.json``.
    """

    name: str
    change: str
    reason: str
    evidence: tuple[Evidence, ...]
    caution: str
    cost: str
    command: str
    judge_by: str
    config: dict[str, Any]


@dataclass(frozen=True)
class Advice:
    """What follows from the labels."""

    baseline: Proposal
    changes: tuple[Proposal, ...]
    notes: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """All of it as JSON would hold it."""
        return asdict(self)


def advise(facts: Facts) -> Advice:
    """Apply the rules, in their order."""
    changes: list[Proposal] = []
    excluded: set[str] = set()
    for rule in RULES:
        reason = rule.reason(facts)
        if reason and rule.name not in excluded and len(changes) < CHANGES:
            changes.append(_proposal(rule, reason, facts))
            excluded.update(rule.excludes)
    notes = tuple(note for note in (each(facts) for each in all_notes.NOTES) if note)
    return Advice(_baseline(facts), tuple(changes), notes)


def _baseline(facts: Facts) -> Proposal:
    pooled = reason_to_pool(facts)
    loss = {"_target_": "medloss.losses.DiceCELoss", **_shared(facts), **_dice(facts)}
    if not facts.exclusive:
        why = [f"{len(facts.classes)} classes that may overlap: sigmoid"]
    elif len(facts.classes) == 1:
        why = ["one class and the background: softmax over two channels"]
    else:
        why = [f"{len(facts.classes)} classes that exclude one another: softmax"]
    if pooled:
        why.append(f"batch Dice, because {pooled}")
    return Proposal(
        name="dice_ce",
        change="train this first, and measure what the rest adds to it",
        reason="; ".join(why),
        evidence=(*rules.BASELINE_EVIDENCE, *(rules.POOLED_EVIDENCE if pooled else ())),
        caution="with batch Dice a sample's gradient depends on the others" if pooled else "",
        cost="what the others are compared with: docs/benchmarks.md",
        command="medloss bench dice_ce",
        judge_by="dice",
        config={"loss": loss},
    )


def _proposal(rule: Rule, reason: str, facts: Facts) -> Proposal:
    if rule.whole:
        loss = {"_target_": rule.whole, **_shared(facts), **_dice(facts)}
    else:
        terms: list[Any] = [{"name": "dice", **_dice(facts)} if _dice(facts) else "dice"]
        if not rule.replaces:
            terms.append("cross_entropy")
        terms.append({**rule.term, **(_dice(facts) if rule.maps else {})})
        loss = {"_target_": "medloss.losses.CompoundLoss", **_shared(facts), "terms": terms}
    config: dict[str, Any] = {"loss": loss}
    if rule.maps:
        config |= _map_entries(rule.maps, facts)
    return Proposal(
        name=rule.name,
        change=rule.change,
        reason=reason,
        evidence=rule.evidence,
        caution=rule.caution,
        cost=rule.cost,
        command=rule.command,
        judge_by=rule.judge_by,
        config=config,
    )


def _shared(facts: Facts) -> dict[str, Any]:
    activation = {"softmax" if facts.exclusive else "sigmoid": True}
    return {**activation, "batch": True} if reason_to_pool(facts) else activation


def _dice(facts: Facts) -> dict[str, Any]:
    return {"include_background": False} if facts.exclusive else {}


def _map_entries(maps: str, facts: Facts) -> dict[str, Any]:
    """The transform that makes the maps, and what hands them to the loss."""
    made: dict[str, Any]
    if maps == "skeleton":
        made = {"_target_": "medloss.integrations.skeletons.SkeletonMapd", "keys": "label"}
        if facts.exclusive:
            made["classes"] = len(facts.classes) + len(facts.absent) + 1
    elif facts.exclusive:
        made = {"_target_": "medloss.integrations.transforms.ComponentMapd", "keys": "label"}
    else:  # one map cannot number objects that overlap: the loss looks for them itself
        return {}
    prepare = {"_target_": "medloss.integrations.transforms.PrepareTargets"}
    return {"transform_before_cropping": made, "prepare_batch": prepare}
