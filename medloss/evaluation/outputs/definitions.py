"""The same cases by several definitions, side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from medloss.evaluation.outputs.tables import Summary, summarise
from medloss.evaluation.score import CaseResult, Study, complete
from medloss.scoring import EmptyPolicy
from medloss.scoring.presets import PRESETS, BothEmpty, Missed

Definition = tuple[Study, tuple[CaseResult, ...], tuple[Summary, ...]]


def every_definition(
    missed: Missed | None, both_empty: BothEmpty | None
) -> tuple[tuple[str, EmptyPolicy], ...]:
    """Every preset with its own policy, as far as the user has not chosen one.

    Example:
        >>> [name for name, _ in every_definition(None, None)][:3]
        ['deepmind', 'exact', 'monai']
    """
    return tuple((name, EmptyPolicy.of(name, missed, both_empty)) for name in PRESETS)


def policies(definitions: Sequence[Definition]) -> Iterator[str]:
    """A sentence for each policy, with the definitions that have it."""
    having: dict[str, list[str]] = {}
    for study, _, _ in definitions:
        having.setdefault(study.policy.describe(), []).append(study.preset)
    for policy, presets in having.items():
        yield f"{', '.join(presets)}: {policy}."


def by_definition(cases: Sequence[CaseResult], study: Study) -> tuple[Definition, ...]:
    """Complete cases and summary of each definition of the study, without the losses.

    Args:
        cases: complete by the study's own definition.
        study: with other definitions.
    """
    found = []
    for preset, policy in study.definitions:
        own = dataclasses.replace(study, preset=preset, policy=policy, losses=(), definitions=())
        theirs = [
            dataclasses.replace(case, results=dict(case.definitions)[preset], definitions=())
            if not case.error
            else case
            for case in cases
        ]
        done = complete(theirs, own)
        found.append((own, done, summarise(done, own)))
    return tuple(found)
