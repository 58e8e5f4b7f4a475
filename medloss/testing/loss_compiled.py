"""``torch.compile``: in one graph what an eager call gives, however the loss is called."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from medloss.testing.loss_subject import LossSubject, demand_close, value
from medloss.testing.registry import SPACING_MM, ContractError, contract, demand
from medloss.testing.scenes import Scene

RTOL = 1e-5
_BREAKS = (torch._dynamo.exc.Unsupported, GuardOnDataDependentSymNode)
"""How torch says that a graph breaks: at what it cannot trace, and where the data decide."""
SHAPE = (4, 3, 5)


class _Form(NamedTuple):
    """A way to call the loss: in words, what is called with what, and whether under autocast."""

    name: str
    loss: Any
    scene: Scene
    amp: bool = False


@contract("loss", excusable=False)
def compiled_equals_eager(subject: LossSubject) -> str:
    """Under ``torch.compile`` value and gradient are those of an eager call.

    In one graph (``fullgraph=True``), unless ``breaks_graph`` of the record says why it cannot be;
    with every form of target and of what comes with it, under autocast, and with voxel sizes in a
    tensor.
    """
    forms = [form for form in _forms(subject) if _eager_takes(form)]

    def every(logits: Tensor) -> list[Tensor]:
        return [_called(form, logits) for form in forms]

    reason = subject.record.breaks_graph
    expected, slope = _values_and_gradient(every, subject)
    with _compiler():
        if reason:
            demand(
                not _in_one_graph(forms[0]),
                f"its breaks_graph says {reason!r}, but it compiles into one graph",
            )
        compiled = torch.compile(every, fullgraph=not reason, backend="aot_eager")
        try:
            found, gradient = _values_and_gradient(compiled, subject)
        except _BREAKS as error:
            first = str(error).strip().partition("\n")[0]
            raise ContractError(
                f"its graph breaks ({first}); a loss that cannot do without says why, in "
                f"breaks_graph of its record"
            ) from error
    for form, one, other in zip(forms, found, expected, strict=True):
        demand_close(one, other, f"compiled, with {form.name}, the value", rtol=RTOL)
    demand_close(gradient, slope, "the compiled gradient", rtol=RTOL)
    graph = "with graph breaks" if reason else "in one graph"
    return f"{graph}: {', '.join(form.name for form in forms)}"


def _forms(subject: LossSubject) -> Iterator[_Form]:
    """Every form of target and each extra, at least once and with as few graphs as that takes."""
    ready, needed = subject.ready_scene(shape=SHAPE), subject.scene(shape=SHAPE)
    logits, labels, build = needed.logits, needed.target, subject.build
    mask = torch.ones_like(labels, dtype=torch.bool)
    mask[..., 1] = False
    present = torch.ones(logits.shape[:2], dtype=torch.bool)
    present[0, -1] = False
    steps = torch.tensor([SPACING_MM, SPACING_MM[::-1]])
    beside = {**needed.extras, "mask": mask, "present": present, "spacing_mm": steps}
    mapping = Scene(logits, {"label": labels, **beside})
    name = "ignore_index; mask, present and spacing_mm in a mapping"
    yield _Form(name, build(ignore_index=0), mapping)
    if subject.record.breaks_graph:
        return  # nothing is promised but that it is right; many graphs take long
    background = False not in subject.backgrounds()
    loss = build(include_background=background, reduction="none")
    dense = Scene(logits, ready.one_hot(), ready.extras)
    yield _Form("one-hot labels and ready maps, reduction='none', autocast", loss, dense, amp=True)


def _eager_takes(form: _Form) -> bool:
    try:
        _called(form, form.scene.logits)
    except ValueError:  # of one channel, without classes that can be left out, and the like
        return False
    return True


def _called(form: _Form, logits: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=form.amp):
        given = logits.bfloat16() if form.amp else logits
        return value(form.loss, Scene(given, form.scene.target, form.scene.extras))


def _values_and_gradient(
    function: Callable[[Tensor], list[Tensor]], subject: LossSubject
) -> tuple[list[Tensor], Tensor]:
    """All values, and the gradient of their sum with weights that are not alike."""
    leaf = subject.scene(shape=SHAPE).logits.clone().requires_grad_()
    values = function(leaf)
    total = torch.stack([each.sum() / (k + 1) for k, each in enumerate(values)]).sum()
    (gradient,) = torch.autograd.grad(total, leaf)
    return [each.detach() for each in values], gradient


def _in_one_graph(form: _Form) -> bool:
    compiled = torch.compile(_called, fullgraph=True, backend="eager")
    try:
        compiled(form, form.scene.logits)
    except _BREAKS:
        return False
    return True


@contextmanager
def _compiler() -> Iterator[None]:
    """Without its warnings, and without what it keeps."""
    log = logging.getLogger("torch._dynamo")
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while it compiles
        log.setLevel(logging.ERROR)  # graph breaks
        try:
            yield
        finally:
            log.setLevel(level)
            torch.compiler.reset()
