"""What follows from which numbers: a baseline and at most two changes, as configs of a bundle.

A rule looks at what was measured and says why it applies, in numbers, or nothing. Its evidence is
what others found, with the source and with what speaks against it; its cost is what was measured
here, with the command. Nobody's gain is promised: a rule says what is worth a try.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from medloss.workbench.suggest import reasons
from medloss.workbench.suggest.facts import Facts
from medloss.workbench.suggest.reasons import Reason


@dataclass(frozen=True)
class Evidence:
    """What was found, and where that is written."""

    finding: str
    source: str


@dataclass(frozen=True)
class Rule:
    """A change of the baseline.

    Args:
        name: of the loss that it brings.
        change: what it does to the baseline.
        reason: why it applies.
        evidence: for it and against it.
        caution: what to see to.
        cost: beside the baseline.
        command: that measures the cost.
        judge_by: the metric that would show an effect.
        term: that it adds to Dice and cross entropy.
        replaces: whether the term takes the place of the cross entropy.
        whole: class of a loss that brings Dice and cross entropy itself, in place of a term.
        maps: ``skeleton`` or ``components``, which a transform makes of each label map.
        excludes: rules that are not proposed beside it.
    """

    name: str
    change: str
    reason: Reason
    evidence: tuple[Evidence, ...]
    caution: str
    cost: str
    command: str
    judge_by: str
    term: Mapping[str, Any] = field(default_factory=dict)
    replaces: bool = False
    whole: str = ""
    maps: str = ""
    excludes: tuple[str, ...] = field(default=())


BASELINE_EVIDENCE = (
    Evidence("default of nnU-Net (1:1, Dice without background)", "doi:10.1038/s41592-020-01008-z"),
    Evidence(
        "20 losses on 4 tasks: none wins everywhere, sums of Dice and another loss are the most "
        "robust, most of all on uneven classes",
        "doi:10.1016/j.media.2021.102035",
    ),
    Evidence("the cross entropy is what helps on images without the structure", "arXiv:2209.06078"),
)
POOLED_EVIDENCE = (
    Evidence(
        "over which axes Dice is formed, and its smoothing, decide what images without a class "
        "teach",
        "arXiv:2207.09521",
    ),
    Evidence(
        "nnU-Net pools where a patch is much smaller than the image",
        "doi:10.1038/s41592-020-01008-z",
    ),
)


RULES = (
    Rule(
        name="skeleton_recall",
        change="add the recall of centre lines",
        reason=reasons.tubes,
        evidence=(
            Evidence(
                "better than clDice on 5 sets of thin structures, with less than a tenth of its "
                "overhead (its authors)",
                "arXiv:2404.03010",
            ),
            Evidence("centre lines keep vessels connected (clDice)", "arXiv:2003.07311"),
        ),
        caution="it counts misses alone: Dice and cross entropy have to stay; skeletons are made "
        "of the whole volume, before cropping",
        cost="0.15 times dice_ce, in the same pass: nothing beside a network's own step; thinning "
        "once a volume",
        command="python docs/examples/measure_topology_losses.py",
        judge_by="cl_dice",
        term={"name": "skeleton_recall"},
        maps="skeleton",
    ),
    Rule(
        name="cc_dice_ce",
        change="add Dice and cross entropy of each object's own region",
        reason=reasons.many_parts,
        evidence=(
            Evidence(
                "more lesions found at about the same Dice, somewhat more false positives, better "
                "than blob loss, on 5 brain MRI sets (its authors)",
                "arXiv:2511.17146",
            ),
            Evidence(
                "blob loss, the same idea: F1 2 to 5 % higher than with Dice (its authors)",
                "arXiv:2205.08209",
            ),
            Evidence(
                "against: in a short study of synthetic lesions more sensitive than Dice-CE, and "
                "with the lowest lesion F1 of 10 losses",
                "docs/study-results.md",
            ),
        ),
        caution="a stray voxel of the labels counts as much as a lesion: remove such parts first",
        cost="about 20 times dice_ce on a CPU, a distance transform of each class; components are "
        "numbered once a volume",
        command="python docs/examples/measure_topology_losses.py",
        judge_by="lesion_f1",
        whole="medloss.losses.CCDiceCELoss",
        maps="components",
        excludes=("dice_topk", "dice_focal"),
    ),
    Rule(
        name="dice_topk",
        change="cross entropy of the hardest tenth of the voxels in place of all",
        reason=reasons.small_and_uneven,
        evidence=(
            Evidence(
                "best mean rank of 20 losses on 4 tasks",
                "doi:10.1016/j.media.2021.102035",
            ),
            Evidence(
                "the same author with nnU-Net v2: liver tumours 0.669 beside 0.628 Dice of Dice "
                "plus cross entropy, organs within 0.003",
                "https://github.com/JunMa11/SegLossOdyssey",
            ),
            Evidence(
                "against: nnU-Net's author could not confirm it",
                "https://github.com/MIC-DKFZ/nnUNet/issues/1395",
            ),
        ),
        caution="where labels are wrong, the hardest voxels are the wrong ones",
        cost="on a CPU about 4 times the time of dice_ce and 4 to 8 times the logits in memory (14 "
        "and 2 classes, 96³); small beside a network's own step",
        command="medloss bench dice_ce dice_topk --rivals none",
        judge_by="sensitivity",
        term={"name": "topk_cross_entropy", "k": 0.1},
        replaces=True,
        excludes=("dice_focal",),
    ),
    Rule(
        name="dice_focal",
        change="focal loss in place of cross entropy",
        reason=reasons.unequal,
        evidence=(
            Evidence(
                "multi-organ CT: Dice 0.855 beside 0.851 of Dice plus cross entropy",
                "doi:10.1016/j.media.2021.102035",
            ),
            Evidence(
                "against: 0.863 and 0.863 in the same author's runs with nnU-Net v2",
                "https://github.com/JunMa11/SegLossOdyssey",
            ),
        ),
        caution="probabilities are less certain than with cross entropy",
        cost="none that can be measured: the same pass over the voxels",
        command="medloss bench dice_ce dice_focal --rivals none",
        judge_by="dice",
        term={"name": "focal", "gamma": 2.0},
        replaces=True,
    ),
)
"""In the order in which they are proposed, two at most."""

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
    notes = tuple(note for note in (each(facts) for each in reasons.NOTES) if note)
    return Advice(_baseline(facts), tuple(changes), notes)


def _baseline(facts: Facts) -> Proposal:
    pooled = reasons.pooled(facts)
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
        evidence=(*BASELINE_EVIDENCE, *(POOLED_EVIDENCE if pooled else ())),
        caution="with batch Dice a sample's gradient depends on the others" if pooled else "",
        cost="what the others are compared with: docs/benchmarks-losses.md",
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
    return {**activation, "batch": True} if reasons.pooled(facts) else activation


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
