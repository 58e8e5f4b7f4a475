"""The one way from what a user says to what is computed: of the command, of a bundle, of Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medloss.evaluation.settings import InputSettings

if TYPE_CHECKING:
    from medloss.evaluation.inputs.pairing import FoundCases
    from medloss.evaluation.losses import LossChoice
    from medloss.evaluation.score import EvalPlan
    from medloss.scoring.presets import BothEmpty, Missed


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What is computed, and what it counts; nothing said where a default stands.

    The command has an option for each, and its help says what it is.
    """

    metrics: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    preset: str | None = None
    missed: Missed | None = None
    both_empty: BothEmpty | None = None


def make_plan(
    inputs: InputSettings, definition: Definition, found: FoundCases | None = None
) -> EvalPlan:
    """What is computed for every case, checked before any is read.

    Args:
        inputs: what the values of the files mean.
        definition: what is computed.
        found: the cases, or ``None`` where they are predicted first.

    Raises:
        PluginError: a metric or loss is not there.
        ValueError: something said is wrong, or contradicts something else.
    """
    from medloss.evaluation.inputs.structures import by_structure
    from medloss.evaluation.requests import DEFAULT_METRICS, choose_metric, parse_request
    from medloss.evaluation.score import EvalPlan, check_options
    from medloss.scoring import EmptyPolicy
    from medloss.scoring.presets import DEFAULT_PRESET

    losses: tuple[LossChoice, ...] = ()
    if definition.losses:
        from medloss.evaluation.losses import choose_loss  # torch

        losses = tuple(choose_loss(parse_request(text)) for text in definition.losses)
    if losses and found is not None and any(map(by_structure, found.pairs)):
        raise ValueError("--loss needs one file a side, and here each structure is a file")
    asked = definition.metrics or DEFAULT_METRICS
    classes = inputs.classes(found)
    preset = definition.preset or DEFAULT_PRESET
    plan = EvalPlan(
        metrics=tuple(choose_metric(parse_request(text)) for text in asked),
        losses=losses,
        labels=None if classes is None else classes.names,
        regions={} if classes is None else classes.regions,
        inputs=inputs.options(classes, found),
        policy=EmptyPolicy.of(preset, definition.missed, definition.both_empty),
        preset=preset,
    )
    columns = [metric.column for metric in plan.metrics] + [loss.column for loss in plan.losses]
    for column in columns:
        if columns.count(column) > 1:
            raise ValueError(f"{column} is asked for twice")
    check_options(plan)
    return plan
