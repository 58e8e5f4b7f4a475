"""Whether each term pulls at the output, how strongly, and where to."""

from __future__ import annotations

import math
from collections.abc import Iterator

from medloss.workbench.preflight.passes import Pass, TriedTerm
from medloss.workbench.preflight.report import Finding
from medloss.workbench.preflight.trial import Trial

_WEAK = 1e-3
"""Share of the gradient norm below which a term has no say."""

_UPHILL = 0.05
"""Cosine between the gradient and the direction of the label, above which a term pulls away."""


def check_gradients(trial: Trial) -> Iterator[Finding]:
    """Terms that are not finite, dead, drowned by others, or pull away from the label."""
    actual = trial.actual
    for term in actual:
        if not is_finite(term):
            yield Finding(
                "defect",
                "finite",
                f"value {term.value:.4g}, gradient norm {term.norm:.4g}",
                "look for a division by zero or a logarithm of zero: an empty class, a mask that "
                "is empty, or an input out of range",
                (term.name,),
                {"value": term.value, "gradient_norm": term.norm},
            )
    dead = [term for term in actual if not term.norm]
    yield from _dead(trial, dead)
    idle = tuple(term.name for term in actual if term.norm and not term.weight)
    if idle:
        yield Finding(
            "note",
            "dead_term",
            "has the weight 0 now, and so no influence",
            "right for a schedule that starts at 0; drop the term otherwise",
            idle,
        )
    yield from _shares(actual)
    yield from _directions(trial)


def is_finite(term: TriedTerm) -> bool:
    """Whether value and gradient of a term are numbers."""
    return math.isfinite(term.value) and math.isfinite(term.norm)


def shares(seen: Pass) -> dict[str, float]:
    """Norm of each weighted term's gradient over the sum of these norms."""
    norms = {term.name: term.weighted_norm for term in seen}
    total = sum(norms.values())
    return {name: norm / total if total else math.nan for name, norm in norms.items()}


def direction(trial: Trial, term: TriedTerm) -> float:
    """Cosine between a term's gradient and the way to the label; negative: it pulls there."""
    way = 2 * trial.batch.truth - 1
    if term.gradient.shape != way.shape:  # of another resolution
        return 0.0
    length = float(term.gradient.double().norm() * way.double().norm())
    return float((term.gradient.double() * way.double()).sum()) / length if length else 0.0


def _dead(trial: Trial, dead: list[TriedTerm]) -> Iterator[Finding]:
    if not dead:
        return
    batch = trial.batch
    foreground = bool((batch.truth[:, batch.foreground] > 0.5).any())
    cause, advice = "", "drop the term, or find out why it ignores the output"
    if batch.classes == 1 and any(getattr(term.module, "softmax", False) for term in dead):
        cause = ": a softmax over a single channel is 1 everywhere"
        advice = "use sigmoid=True, or give the network 2 channels"
    elif batch.classes == 1:
        cause = " with a single channel"
        advice = "use sigmoid and binary cross entropy for a single channel, or 2 channels"
    elif not foreground:
        cause = ": the batch holds background only"
        advice = "check with another batch (--seed); see also what empty patches teach"
    yield Finding(
        "defect" if foreground else "warning",
        "dead_term",
        f"has no gradient at all on this batch{cause}",
        advice,
        tuple(term.name for term in dead),
        {term.name: {"value": term.value, "gradient_norm": term.norm} for term in dead},
    )


def _shares(actual: Pass) -> Iterator[Finding]:
    found = shares(actual)
    weak = tuple(
        term.name for term in actual if term.weight and term.norm and found[term.name] < _WEAK
    )
    if not weak:
        return
    strongest = max(actual, key=lambda term: term.weighted_norm)
    told = ", ".join(
        f"{strongest.name} pulls {strongest.weighted_norm / term.weighted_norm:.3g} times as "
        f"strongly as {term.name}"
        for term in actual
        if term.name in weak
    )
    yield Finding(
        "warning",
        "balance",
        told,
        "compare gradients, not values, when weighing terms; a schedule such as "
        "equal_gradient_norm keeps them in balance",
        weak,
        {"gradient_share": found},
    )


def _directions(trial: Trial) -> Iterator[Finding]:
    if trial.output.kind == "logits" and not is_finite(trial.actual.total):
        return
    total = direction(trial, trial.actual.total)
    away = [
        term
        for term in trial.actual
        if is_finite(term) and term.weight > 0 and direction(trial, term) > _UPHILL
    ]
    if not away and total <= _UPHILL:
        return
    cosines = {term.name: direction(trial, term) for term in trial.actual}
    yield Finding(
        "defect" if total > _UPHILL else "warning",
        "direction",
        "descends away from the label: cosine between its gradient and the way to the label "
        + ", ".join(f"{name} {cosine:.3g}" for name, cosine in cosines.items()),
        "look for swapped arguments, a score that should be 1 - score, or labels whose numbers are "
        "not those of the channels; a term that only regularises may do so",
        tuple(term.name for term in away),
        {"cosine": cosines, "cosine_of_the_loss": total},
    )
