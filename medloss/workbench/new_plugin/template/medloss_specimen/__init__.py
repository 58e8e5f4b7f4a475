"""What this plugin offers. Light on purpose: listing imports this module and nothing else of it."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Loss, Metric, hookimpl


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the losses of this plugin."""
    yield Loss(
        name="specimen_dice",  # what users type
        target="medloss_specimen.losses:SpecimenDiceLoss",  # imported only when it is used
        family="region",
        example={"softmax": True, "exponent": 2.0},  # options of a typical bundle config
    )


@hookimpl
def medloss_metrics() -> Iterator[Metric]:
    """Yield the metrics of this plugin."""
    yield Metric(
        name="specimen_f_score",
        target="medloss_specimen.metrics:specimen_f_score",
        family="region",
        facts=("counts",),
        better="higher",
        example={"beta": 2.0},
    )
