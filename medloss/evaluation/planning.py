"""The one way from what a user says to what is computed: of the command, of a bundle, of Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medloss.evaluation.settings import InputSettings
from medloss.offers.host import PluginError

if TYPE_CHECKING:
    from pathlib import Path

    from medloss.evaluation.inputs.pairing import FoundCases
    from medloss.evaluation.losses import LossChoice
    from medloss.evaluation.profiles.applying import UsedProfile
    from medloss.evaluation.requests import OfferRequest
    from medloss.evaluation.score import EvalPlan
    from medloss.scoring.presets import BothEmpty, Missed


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What is computed, and what it counts; nothing said where a default stands.

    The command has an option for each, and its help says what it is.
    """

    profile: str | Path | Mapping[str, Any] | None = None
    metrics: tuple[str | OfferRequest, ...] = ()
    losses: tuple[str, ...] = ()
    preset: str | None = None
    missed: Missed | None = None
    both_empty: BothEmpty | None = None


@dataclass(frozen=True)
class Settings:
    """All that was said, with what a profile says where nothing was.

    Args:
        inputs: what the values of the files mean.
        definition: what is computed; its profile has been applied.
        outputs: options of what comes out that a profile may state, by name.
        profile: what is told of it.
    """

    inputs: InputSettings
    definition: Definition
    outputs: Mapping[str, Any] = field(default_factory=dict)
    profile: UsedProfile | None = None

    @classmethod
    def of(
        cls,
        inputs: InputSettings,
        definition: Definition,
        outputs: Mapping[str, Any] | None = None,
    ) -> Settings:
        """What is said, beside the profile that it names.

        Raises:
            ValueError: there is no such profile, or something said contradicts it.
        """
        outputs = outputs or {}
        if definition.profile is None:
            return cls(inputs, definition, outputs)
        from medloss.evaluation.profiles.applying import apply_profile

        said = {name: getattr(definition, name) for name in ("preset", "missed", "both_empty")}
        filled = apply_profile(definition.profile, inputs, {**said, **outputs}, definition.metrics)
        told = {name: filled.asked[name] for name in said}
        return cls(
            filled.inputs,
            dataclasses.replace(definition, metrics=filled.metrics, **told),
            {name: filled.asked[name] for name in outputs},
            filled.used,
        )

    def plan(self, found: FoundCases | None = None) -> EvalPlan:
        """What is computed for every case, checked before any is read.

        Args:
            found: the cases, or ``None`` where they are predicted first.

        Raises:
            PluginError: a metric or loss is not there.
            ValueError: something said is wrong, or contradicts something else.
        """
        if self.profile is None:
            return self._plan(found)
        try:
            return self._plan(found)
        except (PluginError, ValueError) as error:
            raise ValueError(f"{error} (with the profile {self.profile.name})") from error

    def _plan(self, found: FoundCases | None) -> EvalPlan:
        from medloss.evaluation.inputs.structures import by_structure
        from medloss.evaluation.requests import DEFAULT_METRICS, choose_metric, parse_requests
        from medloss.evaluation.score import EvalPlan, check_options
        from medloss.scoring import EmptyPolicy
        from medloss.scoring.presets import DEFAULT_PRESET

        inputs, said = self.inputs, self.definition
        losses: tuple[LossChoice, ...] = ()
        if said.losses:
            from medloss.evaluation.losses import choose_loss  # torch

            losses = tuple(map(choose_loss, parse_requests(said.losses)))
        if losses and found is not None and any(map(by_structure, found.pairs)):
            raise ValueError("--loss needs one file a side, and here each structure is a file")
        classes = inputs.classes(found)
        preset = said.preset or DEFAULT_PRESET
        plan = EvalPlan(
            metrics=tuple(map(choose_metric, parse_requests(said.metrics or DEFAULT_METRICS))),
            losses=losses,
            labels=None if classes is None else classes.names,
            regions={} if classes is None else classes.regions,
            inputs=inputs.options(classes, found),
            policy=EmptyPolicy.of(preset, said.missed, said.both_empty),
            preset=preset,
            profile=self.profile,
        )
        columns = [metric.column for metric in plan.metrics] + [loss.column for loss in plan.losses]
        for column in columns:
            if columns.count(column) > 1:
                raise ValueError(f"{column} is asked for twice")
        check_options(plan)
        self._check_averages(plan, columns)
        return plan

    def _check_averages(self, plan: EvalPlan, columns: Sequence[str]) -> None:
        """Refuse means over what will not be there, before any work is done."""
        content = self.profile.content if self.profile else {}
        known = {str(key) for key in (plan.labels or {})} | {*(plan.labels or {}).values()}
        for entry in content.get("averages", ()):
            for kind, names, there in (
                ("label", entry.get("labels", ()), known if plan.labels is not None else None),
                ("metric", entry.get("metrics", ()), set(columns)),
            ):
                if there is not None and (lost := [name for name in names if name not in there]):
                    raise ValueError(
                        f"averages: {entry['name']} goes over the {kind} {lost[0]}, and there is "
                        f"none of that name"
                    )


def make_plan(
    inputs: InputSettings, definition: Definition, found: FoundCases | None = None
) -> EvalPlan:
    """What is computed for every case: :meth:`Settings.plan` of what is said."""
    return Settings.of(inputs, definition).plan(found)
