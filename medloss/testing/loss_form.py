"""What a loss is as an object: a module without parameters that can be copied and printed."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import torch
from torch.nn.modules.loss import _Loss

from medloss.testing.loss_subject import LossSubject, value
from medloss.testing.registry import ContractError, contract, demand

WRONG_OPTIONS: dict[str, dict[str, Any]] = {
    "softmax": {"softmax": True, "sigmoid": True},
    "reduction": {"reduction": "avg"},
    "batch": {"batch": "galaxy"},
    "other_act": {"other_act": 3},
    "weight": {"weight": [-1.0, 1.0, 1.0]},
}


@contract("loss", excusable=False)
def module_without_parameters(subject: LossSubject) -> None:
    """A loss is a torch loss module, and has nothing to train.

    MONAI and torch tell losses by that class, and no optimiser is given the loss's parameters.
    """
    loss = subject.build()
    demand(isinstance(loss, _Loss), f"{type(loss).__name__} is no torch.nn.modules.loss._Loss")
    names = [name for name, _ in loss.named_parameters()]
    demand(not names, f"it has the parameters {', '.join(names)}")


@contract("loss", excusable=False)
def repr_tells_every_option(subject: LossSubject) -> None:
    """The repr names every option, so that a log says what was trained."""
    loss = subject.build()
    options = inspect.signature(type(loss)).parameters
    missing = [name for name in options if f"{name}=" not in repr(loss)]
    demand(not missing, f"it does not name {', '.join(missing)}")


@contract("loss", excusable=False)
def copies_and_pickles(subject: LossSubject) -> None:
    """Deep copies, pickles and a loaded state give the same loss, whatever its options.

    Losses are copied for deep supervision, pickled for worker processes and saved in checkpoints.
    """
    scene = subject.scene()
    weights = {"weight": [0.5 + c for c in range(subject.classes)]}
    variants: list[dict[str, Any]] = [{}, {"reduction": "sum"}, {"batch": True}, weights]
    for options in [*variants, {"ignore_index": 255}]:
        try:
            loss = subject.build(**options)
            expected = value(loss, scene)
        except ValueError:
            if options is not weights:
                raise
            continue  # a loss may have no use for class weights, if it says so
        loaded = subject.build(**options)
        loaded.load_state_dict(loss.state_dict())
        copies = {
            "a deep copy": copy.deepcopy(loss),
            "a pickle": pickle.loads(pickle.dumps(loss)),
            "a loaded state": loaded,
        }
        for name, other in copies.items():
            demand(repr(other) == repr(loss), f"with {options} {name} is {other!r}, not {loss!r}")
            same = torch.equal(value(other, scene), expected)
            demand(same, f"with {options} {name} gives another value")


@contract("loss", excusable=False)
def wrong_options_are_refused(subject: LossSubject) -> None:
    """Options that contradict each other or mean nothing are refused by name, when building.

    A typo that is ignored costs a training run.
    """
    for name, options in WRONG_OPTIONS.items():
        try:
            subject.build(activation="", **options)
        except (ValueError, TypeError) as error:
            demand(name in str(error), f"{options} is refused without naming {name}: {error}")
        else:
            raise ContractError(f"{options} is accepted")
