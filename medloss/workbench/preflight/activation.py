"""Which activation each term applies, and whether it suits input and label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from medloss.base import SegmentationLoss
from medloss.workbench.preflight.passes import Pass, TriedTerm
from medloss.workbench.preflight.report import Applied, Finding
from medloss.workbench.preflight.trial import Trial

_INVARIANT = 1e-3
"""Gradient summed over the channels, as a share of the gradient: below, adding a number to all
channels of a voxel changes nothing, as under softmax and under nothing else."""

_SATURATED, _FAR = 30.0, 60.0
_GONE = 1e-6


def applied_by(trial: Trial) -> dict[str, Applied]:
    """The activation that each term applies to the input."""
    found: dict[str, Applied] = {}
    for term in trial.actual:
        found[term.name] = _measured_softmax(term) or _certain(trial, term) or "unknown"
    if "unknown" in found.values():
        probes = [
            trial.attempt(lambda: trial.answered(_SATURATED)),
            trial.attempt(lambda: trial.answered(-_SATURATED)),
            trial.attempt(lambda: trial.answered(_FAR)),
        ]
        for term in trial.actual:
            if found[term.name] == "unknown" and term.gradient.shape == trial.batch.logits.shape:
                found[term.name] = _measured_others(term, probes)
    return found


def _channel_sum(term: TriedTerm) -> float:
    """Norm of the gradient summed over the channels, by that of the gradient."""
    gradient = term.gradient.double()
    norm = float(gradient.norm())
    return float(gradient.sum(1).norm()) / norm if norm else 1.0


def _measured_softmax(term: TriedTerm) -> Applied | None:
    if term.gradient.shape[1] > 1 and _channel_sum(term) < _INVARIANT:
        return "softmax"
    return None


def _certain(trial: Trial, term: TriedTerm) -> Applied | None:
    """What the options of a term say, or a clamp gives away."""
    logits, gradient = trial.batch.logits, term.gradient
    if logits.shape == gradient.shape and term.norm:
        outside = (logits < 0) | (logits > 1)
        if outside.any() and not gradient[outside].any():
            return "none"
    declared = _declared(term.module)
    if declared == "softmax" and trial.batch.classes == 1:
        return "none" if term.norm else declared  # over one channel it would have no gradient
    return declared


def _declared(module: nn.Module | None) -> Applied | None:
    """What the options of a loss say."""
    if isinstance(module, nn.BCEWithLogitsLoss):
        return "sigmoid"
    if isinstance(module, nn.BCELoss):
        return "none"
    if isinstance(module, SegmentationLoss):
        activation = module.activation()
        names: dict[Any, Applied] = {"sigmoid": "sigmoid", "softmax": "softmax"}
        if activation == "probabilities":
            return "none"
        return names.get(activation, "other") if isinstance(activation, str) else "other"
    options = [getattr(module, name, None) for name in ("sigmoid", "softmax", "other_act")]
    if not all(isinstance(option, bool) for option in options[:2]):
        return None
    if options[2] is not None:
        return "other"
    return "softmax" if options[1] else "sigmoid" if options[0] else "none"


def _measured_others(term: TriedTerm, probes: list[Pass | str]) -> Applied:
    """Sigmoid where far logits have no gradient; none where a ratio of far inputs stays."""
    seen = [None if isinstance(probe, str) else probe.find(term.name) for probe in probes]
    if any(one is None for one in seen) or not term.norm:
        return "unknown"
    right, wrong, far = (one for one in seen if one is not None)
    if min(right.norm, wrong.norm) < _GONE * term.norm:
        return "sigmoid"
    still = abs(far.value - right.value) <= 0.02 * abs(right.value)
    return "none" if still and right.norm > 1e-4 * term.norm else "unknown"


def check_activation(trial: Trial, applied: dict[str, Applied]) -> Iterator[Finding]:
    """Activation twice, none at all, or one that does not suit the label."""
    output, batch = trial.output, trial.batch
    again = tuple(name for name, one in applied.items() if one in ("softmax", "sigmoid"))
    if output.kind != "logits" and again:
        yield _twice(trial, applied, again)
    bare = tuple(name for name, one in applied.items() if one == "none")
    if output.kind == "logits" and bare:
        declared = [_certain(trial, term) for term in trial.actual if term.name in bare]
        yield Finding(
            "defect" if all(one == "none" for one in declared) else "warning",
            "activation",
            f"takes the input as probabilities, but it is logits: values from {output.low:.3g} to "
            f"{output.high:.3g}",
            "give the loss softmax=True (exclusive classes) or sigmoid=True (classes that overlap)",
            bare,
            {"lowest": output.low, "highest": output.high},
        )
    exclusive = tuple(name for name, one in applied.items() if one == "softmax")
    if exclusive and not batch.exclusive and batch.classes > 1:
        yield from _overlapping(trial, exclusive)
    elif exclusive and "sigmoid" in applied.values() and output.kind == "logits":
        independent = tuple(name for name, one in applied.items() if one == "sigmoid")
        yield Finding(
            "warning",
            "activation",
            f"{', '.join(exclusive)} sees a softmax of the logits and {', '.join(independent)} a "
            f"sigmoid: they train two different readings of one output",
            "use a loss with one activation for all terms, such as those of medloss",
            exclusive + independent,
            {name: _channel_sum(term) for term in trial.actual if (name := term.name) in applied},
        )


def _twice(trial: Trial, applied: dict[str, Applied], again: tuple[str, ...]) -> Finding:
    output = trial.output
    evidence: dict[str, Any] = {"lowest": output.low, "highest": output.high}
    cost = ""
    told = trial.attempt(trial.told)
    right = trial.attempt(lambda: trial.answered(_SATURATED))
    if isinstance(told, Pass) and isinstance(right, Pass):
        evidence |= {"loss_of_right_probabilities": told.total.value}
        evidence |= {"loss_of_right_logits": right.total.value}
        cost = (
            f"; even a right answer then costs {told.total.value:.4g}, "
            f"as logits it would cost {right.total.value:.4g}"
        )
    names = " and ".join(sorted({applied[name] for name in again}))
    network = {"softmax": "softmax=True", "sigmoid": "sigmoid=True"}[output.kind]
    return Finding(
        "defect" if output.certain else "warning",
        "double_activation",
        f"{names} is applied to what {'is' if output.certain else 'may be'} {output.kind} "
        f"probabilities already: {output.why}{cost}",
        f"let the network give logits, with {network} in the loss alone (if this is a file of "
        f"probabilities saved after inference, save logits instead)",
        again,
        evidence,
    )


def _overlapping(trial: Trial, exclusive: tuple[str, ...]) -> Iterator[Finding]:
    if any(getattr(module, "ignore_index", None) not in (None, -100) for module in _modules(trial)):
        return  # voxels without a class may be those to ignore
    belongs = (trial.batch.truth > 0.5).sum(1)
    several, none = (float(one.double().mean()) for one in (belongs > 1, belongs == 0))
    if not several and not none:
        return  # soft labels
    right = trial.attempt(lambda: trial.answered(_SATURATED))
    costs = {}
    if isinstance(right, Pass):
        costs = {term.name: term.value for term in right if term.name in exclusive}
    told = ", ".join(f"{name} {value:.4g}" for name, value in costs.items())
    yield Finding(
        "defect",
        "activation",
        f"treats the channels as exclusive (softmax), but {several:.1%} of the voxels belong to "
        f"several classes and {none:.1%} to none"
        + (f"; a right answer costs {told}" if told else ""),
        "use binary cross entropy for labels that overlap: medloss.losses.DiceCELoss(sigmoid=True) "
        "does, MONAI's DiceCELoss(sigmoid=True) does not",
        exclusive,
        {
            "voxels_of_several_classes": several,
            "voxels_of_no_class": none,
            "value_of_the_right_answer": costs,
            "channel_sum_of_gradient": {
                term.name: _channel_sum(term) for term in trial.actual if term.name in exclusive
            },
        },
    )


def _modules(trial: Trial) -> list[Any]:
    return list(trial.loss.modules())
