"""Weighted sums of losses, the base of every compound loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from medloss.base import RegionLoss, SegmentationLoss, SumsLoss, VoxelLoss, options
from medloss.base.kept import options_changed
from medloss.base.on_sums import by_ratios, does_as, sums_of_each
from medloss.base.targets import Extras, Prepared, Target
from medloss.compound.breakdown import (
    ClassValues,
    LastPass,
    TermValue,
    gradient_norms,
)
from medloss.compound.class_values import ClosedPass, Passes, value_and_classes
from medloss.compound.inner_loss import check_term, value_of
from medloss.compound.schedules import Weight
from medloss.compound.term_weights import TermWeights
from medloss.runtime.eager import is_transformed
from medloss.sums import ClassSums, work_dtype
from medloss.sums.ratios import RatioSum


@options
class WeightedSum(SegmentationLoss):
    """A loss that adds weighted terms under one activation and one pass of class sums.

    A subclass names its terms in ``__post_init__`` with :meth:`set_terms`.

    Args:
        class_names: names of all classes, background included, for ``breakdown()``.
        gradient_share: whether ``breakdown()`` tells how strongly each term pulls at the logits; a
            number n measures one of n training passes. It costs one more backward pass of each term
            as far as the logits.
        forwards_per_step: more training passes than this between two steps of the schedules raise.
    """

    class_names: Sequence[str] | None = None
    gradient_share: bool | int = False
    forwards_per_step: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.class_names, str):
            raise TypeError(f"class_names: expected a list of names, got {self.class_names!r}")
        for name, lowest in (("gradient_share", 0), ("forwards_per_step", 1)):
            given = getattr(self, name)
            if given is not None and (not isinstance(given, int) or given < lowest):
                raise ValueError(f"{name}: expected a whole number from {lowest} on, got {given!r}")
        self._seen = Passes()

    def pass_on(self, *also: str) -> dict[str, Any]:
        """Options that the terms inherit: activation, reduction, pooling, and those named."""
        names = ("sigmoid", "softmax", "other_act", "reduction", "batch", *also)
        return {name: getattr(self, name) for name in names}

    def set_terms(self, terms: Mapping[str, tuple[Weight, nn.Module]]) -> None:
        """Take over the terms: name to (weight or schedule, loss).

        Raises:
            ValueError: no term, a weight below 0, an impossible schedule, or a term with an
                activation of its own.
        """
        if not terms:
            raise ValueError("terms: expected at least one loss, got none")
        for name, (_, loss) in terms.items():
            check_term(name, loss, self)
        self.schedule = TermWeights({name: weight for name, (weight, _) in terms.items()})
        self.losses = _Terms({name: loss for name, (_, loss) in terms.items()})
        if self.forwards_per_step is not None and not self.scheduled():
            raise ValueError("forwards_per_step: expected None where no weight has a schedule")

    @property
    def term_weights(self) -> dict[str, float]:
        """Weight of each term now."""
        return self.schedule.as_numbers()

    def scheduled(self) -> list[str]:
        """Terms whose weights follow a schedule, in nested compound losses too."""
        return [name for each in self._sums() for name in each.schedule.scheduled]

    def step_schedule(self, step: int | None = None) -> None:
        """Go to the next step of the schedules: after each epoch, or after each iteration.

        Where a schedule measures (``equal_value``, ``equal_gradient_norm``) and several ranks
        train, every rank has to call it.

        Args:
            step: the step to go to, counted from 0, as a loop that is resumed knows it. To stay
                changes nothing; to go back starts what is measured anew.

        Raises:
            ValueError: ``step`` is no whole number from 0 on.
        """
        for each in self._sums():
            each.schedule.advance(step)
            each._seen.since_step = 0

    def breakdown(self, *, training: bool = False) -> dict[str, TermValue]:
        """Value, weight and classes of each term in the last forward pass.

        Args:
            training: the last pass that had a gradient, whatever was validated since.

        Raises:
            RuntimeError: there was none yet.
        """
        seen = self._seen.last_training if training else self._seen.last
        if seen is None:
            what = "training" if training else "forward"
            raise RuntimeError(f"breakdown: expected a {what} pass first, there was none")
        return seen.told(class_names=self.class_names, with_gradient=bool(self.gradient_share))

    def prepare(self, input: Tensor, target: Target, extras: Extras) -> Prepared:
        """Check and unify the inputs; where gradients are measured, in float32 at least."""
        if isinstance(input, Tensor) and any(each.measures_gradient() for each in self._sums()):
            # in half precision the gradient of a mean over a volume is 0
            input = input.to(work_dtype(input)) if input.is_floating_point() else input
        return super().prepare(input, target, extras)

    def check(self, prepared: Prepared) -> None:
        """Every term may refuse."""
        super().check(prepared)
        classes = prepared.values.shape[1]
        if self.class_names is not None and len(self.class_names) != classes:
            raise ValueError(
                f"class_names: expected {classes} names, background included, "
                f"got {len(self.class_names)}"
            )
        for loss in self.losses.values():
            if isinstance(loss, SegmentationLoss):
                loss.check(prepared)

    def evaluate(self, prepared: Prepared) -> Tensor:
        """Value of the loss; raises where ``forwards_per_step`` passes went without a step."""
        value = super().evaluate(prepared)
        if not torch.compiler.is_compiling() and value.requires_grad and self.training:
            self._seen.since_step += 1
            self._expect_steps()
        return value

    def _expect_steps(self) -> None:
        # A loss sees passes, not epochs; a pass may be of a teacher, of a second evaluation under
        # checkpointing, or of a validation within the epoch: how many, only the user knows.
        limit = self.forwards_per_step
        if limit is not None and self._seen.since_step > limit:
            raise RuntimeError(
                f"the weight of {', '.join(self.scheduled())} has a schedule that nothing steps: "
                f"forwards_per_step={limit} training passes were made since the last step. "
                f"Call loss.step_schedule(epoch) as each epoch begins, from 0 on, "
                f"or attach medloss.integrations.handlers.LossHandler (MONAI, ignite), "
                f"medloss.integrations.lightning.LossCallback or "
                f"medloss.integrations.keras.ScheduleCallback"
            )

    def is_additive(self, prepared: Prepared) -> bool:
        """Where every term is."""
        terms = self.losses.values()
        return all(isinstance(t, SegmentationLoss) and t.is_additive(prepared) for t in terms)

    def compute(self, prepared: Prepared) -> Tensor:
        """The weighted sum of all terms; terms on class sums share one pass."""
        closed = self._in_closed_form(prepared)
        if closed is not None:
            return closed
        return self._combined(prepared, iter(sums_of_each(list(self.terms_on_sums()), prepared)))

    def of_kept_form(self, input: Any, target: Any) -> Tensor | None:
        """Value of the loss where an earlier call settled all about it, or None."""
        found = self._kept.value(input, target)
        if found is None:
            return None
        value, sums = found
        self._keep_closed(value, sums)
        if value.requires_grad and self.training:
            self._seen.since_step += 1
        return value

    def _in_closed_form(self, prepared: Prepared) -> Tensor | None:
        """The weighted sum of ratios of sums, where it is one of numbers alone."""
        weights = self.schedule.fixed
        if weights is None or self.gradient_share:
            return None
        fixed = [
            (weights[name], loss)
            for name, loss in self.losses._modules.items()
            if isinstance(loss, (RegionLoss, VoxelLoss))
        ]
        if len(fixed) < len(self.losses):
            return None
        closed = by_ratios(fixed, prepared)
        if closed is None:
            return None
        value, sums = closed
        self._keep_closed(value, sums)
        if does_as(self, WeightedSum) and all(does_as(loss, SumsLoss) for _, loss in fixed):
            self._kept.keep(prepared, sums.ratios)
        return value

    def measures_gradient(self) -> bool:
        """Whether the next training pass is one of those measured.

        Raises:
            RuntimeError: it is being compiled.
        """
        every = [n for n in (int(self.gradient_share), self.schedule.every) if n]
        if not every or not self.training or not torch.is_grad_enabled():
            return False
        if torch.compiler.is_compiling():
            raise RuntimeError(
                "gradient_share, equal_gradient_norm: cannot be measured inside torch.compile; "
                "compile the network and leave the loss as it is"
            )
        return any(self._seen.number % n == 0 for n in every)

    def _combined(self, prepared: Prepared, sums: Iterator[ClassSums]) -> Tensor:
        """The weighted sum, from the sums of each of :meth:`terms_on_sums`, in its order."""
        values, classes = {}, {}
        for name, loss in self.losses.items():
            if isinstance(loss, WeightedSum):
                values[name] = loss._combined(prepared, sums)
            elif isinstance(loss, SumsLoss):
                values[name], of_classes = value_and_classes(loss, next(sums), prepared)
                if of_classes is not None:
                    classes[name] = of_classes
            else:
                values[name] = value_of(name, loss, prepared)
        rank = max(value.ndim for value in values.values())
        channels = {value.shape[1] for value in values.values() if value.ndim} - {1}
        if len(channels) > 1:
            raise ValueError(
                f"reduction: expected 'mean' or 'sum' where terms count other classes, got 'none' "
                f"for terms of {' and '.join(map(str, sorted(channels)))} classes"
            )
        weighted = (self.schedule.times(k, _of_rank(value, rank)) for k, value in values.items())
        total = reduce(torch.add, weighted)
        self._remember(prepared, values, classes, training=total.requires_grad and self.training)
        return total

    def _remember(
        self,
        prepared: Prepared,
        values: dict[str, Tensor],
        classes: dict[str, ClassValues],
        *,
        training: bool,
    ) -> None:
        """Keep what ``breakdown()`` tells and what schedules measure: numbers without a graph."""
        if is_transformed(*values.values()):
            return  # no numbers outside of the transform
        norms = None
        if training and self.measures_gradient():
            norms = gradient_norms(values.values(), prepared.raw)
        seen = {k: v.detach().mean() if v.ndim else v.detach() for k, v in values.items()}
        weights = {name: self.schedule.of(name) for name in values}
        if training and "value" in self.schedule.measures:
            self.schedule.add("value", list(seen.values()))
        if norms is not None and "gradient_norm" in self.schedule.measures:
            self.schedule.add("gradient_norm", norms)
        self._keep(LastPass(dict(seen), weights, classes, norms), training=training)

    def _keep_closed(self, value: Tensor, found: RatioSum) -> None:
        losses: Any = self.losses._modules
        weights: Any = self.schedule.fixed
        of, form = found.ratios, found.ratios.form
        seen = ClosedPass(
            [*losses.items()], weights, found.sums, of.terms, form.activation, of.is_index
        )
        self._keep(seen, training=value.requires_grad and self.training)

    def _keep(self, seen: LastPass | ClosedPass, *, training: bool) -> None:
        self._seen.last = seen
        if not training:
            return
        self._seen.last_training = seen
        if not torch.compiler.is_compiling():  # for each number it would compile again
            self._seen.number += 1

    def _sums(self) -> list[WeightedSum]:
        """This loss and nested ones."""
        # a walk over all modules takes longer than a small volume
        found = [self]
        for loss in self.losses._modules.values():
            if isinstance(loss, WeightedSum):
                found += loss._sums()
            elif loss is not None and loss._modules:
                found += [each for each in loss.modules() if isinstance(each, WeightedSum)]
        return found

    def terms_on_sums(self) -> Iterator[SumsLoss]:
        """Terms on class sums, those of nested losses included."""
        for loss in self.losses.values():
            if isinstance(loss, WeightedSum):
                yield from loss.terms_on_sums()
            elif isinstance(loss, SumsLoss):
                yield loss


class _Terms(nn.ModuleDict):
    """Losses by name; calls are decided anew where one of them is exchanged."""

    def add_module(self, name: str, module: nn.Module | None) -> None:
        super().add_module(name, module)
        options_changed()

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        options_changed()

    def clear(self) -> None:
        super().clear()
        options_changed()

    def _get_name(self) -> str:
        return "ModuleDict"


def _of_rank(value: Tensor, rank: int) -> Tensor:
    """(B, C) as it stands beside (B, C, *spatial); a number as it is."""
    return value.reshape(*value.shape, *[1] * (rank - value.ndim)) if value.ndim else value
