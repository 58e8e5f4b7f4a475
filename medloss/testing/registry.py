"""What a check is, and the list of all checks, for everything that plugins offer."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from medloss.offers.host import Offer
from medloss.offers.records import ROLES, Detection, Loss, Metric, Profile, Reader, Record, Role

Kind = Literal["loss", "metric", "reader", "profile"] | Role
SPACING_MM = (1.0, 2.0, 0.5)
"""Different along each axis, so that a mixed-up axis is seen."""

F = TypeVar("F", bound=Callable[[Any], str | None])


R = TypeVar("R", Loss, Metric, Detection, Reader, Profile)


class ContractSubject(Generic[R]):
    """What is held to the contract.

    Args:
        offer: the loss, metric, part of a detector or reader.
        options: of its class or function, beside those of the record's example and instead of them.
    """

    def __init__(self, offer: Offer[R], options: Mapping[str, Any]) -> None:
        self.offer: Offer[R] = offer
        self.record: R = offer.record
        self.given = dict(options)
        self.options: dict[str, Any] = {**offer.record.example, **options}

    @cached_property
    def target(self) -> Any:
        """The class or function."""
        return self.offer.load()


class ContractError(AssertionError):
    """A loss or metric does not do what the contract demands."""


class ExemptError(Exception):
    """The check does not apply to this loss or metric; the text says why."""


@dataclass(frozen=True)
class Check:
    """One demand of the contract.

    Args:
        name: the name of its function.
        demand: one sentence, the first line of its docstring.
        why: the rest of its docstring.
        function: takes the subject; raises :class:`ContractError` with what came instead, and may
            return what was tried, in words.
        excusable: whether a record's ``exempt`` may name it.
    """

    name: str
    demand: str
    why: str
    function: Callable[[Any], str | None]
    excusable: bool

    def __str__(self) -> str:
        return self.name

    def __call__(self, subject: Any) -> str | None:
        """What was tried, in words; raise unless the subject does what is demanded.

        Raises:
            ContractError: it does not; the text says what came instead.
            ExemptError: the check does not apply.
        """
        try:
            return self.function(subject)
        except (ContractError, ExemptError):
            raise
        except Exception as error:  # a plugin may raise anything
            raise ContractError(
                f"it raised {type(error).__name__}: {_plain(str(error))[:300]}"
            ) from error


_MODULES: dict[Kind, tuple[str, ...]] = {
    "loss": (
        "offer_checks",
        "loss_calls",
        "loss_values",
        "loss_masking",
        "loss_symmetries",
        "loss_training",
        "loss_compiled",
        "loss_crossings",
        "loss_hostile",
    ),
    "metric": ("offer_checks", "metric_checks"),
    "reader": ("offer_checks", "reader_checks"),
    "profile": ("offer_checks", "profile_checks"),
    **dict.fromkeys(ROLES, ("offer_checks", "detection_checks")),
}
_CHECKS: dict[Kind, dict[str, Check]] = {kind: {} for kind in _MODULES}


def contract(*kinds: Kind, excusable: bool = True) -> Callable[[F], F]:
    """Make a function a check of the contract.

    Args:
        kinds: ``"loss"``, ``"metric"``, ``"reader"``, ``"profile"`` and roles of parts of
            detectors, one or more.
        excusable: whether mathematics can excuse from it. Pickling, for example, it cannot.
    """

    def add(function: F) -> F:
        demand, _, why = (inspect.getdoc(function) or "").partition("\n\n")
        name = function.__name__
        check = Check(name, _plain(demand), why, function, excusable)
        for kind in kinds:
            _CHECKS[kind][name] = check
        return function

    return add


def checks_of(kind: Kind) -> tuple[Check, ...]:
    """Every check for a kind of offers or a role in detection, in the order of telling."""
    for module in _MODULES[kind]:  # only now, so that metrics are checked without torch
        importlib.import_module(f"medloss.testing.{module}")

    def place(check: Check) -> int:
        return _MODULES[kind].index(check.function.__module__.rpartition(".")[2])

    return tuple(sorted(_CHECKS[kind].values(), key=place))


def kind_of_checks(record: Record) -> Kind:
    """Which checks are for what a record offers."""
    if isinstance(record, Detection):
        return record.role
    of: dict[type[Record], Kind] = {Loss: "loss", Reader: "reader", Profile: "profile"}
    return of.get(type(record), "metric")


def load_monai() -> None:
    """Import what the checks need of MONAI, without its and ignite's warnings about torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in ("data.meta_tensor", "engines.trainer", "metrics.metric"):
            importlib.import_module(f"monai.{module}")


def demand(condition: object, came: str) -> None:
    """Raise unless the condition holds.

    Args:
        condition: what the contract demands.
        came: what came instead; it continues a sentence that begins with "But".

    Raises:
        ContractError: the condition does not hold.
    """
    if not condition:
        raise ContractError(came)


def demand_refused(call: Callable[[], object], word: str, refused: str, accepted: str) -> None:
    """Raise unless a call is refused in words that name what is wrong.

    Args:
        call: what must raise a ValueError or a TypeError.
        word: that the error must have.
        refused: what came where it has not; the error follows.
        accepted: what came where the call returns.

    Raises:
        ContractError: it is accepted, or refused without the word.
    """
    try:
        call()
    except (ValueError, TypeError) as error:
        demand(word in str(error), f"{refused}: {error}")
    else:
        raise ContractError(accepted)


def copies(thing: Any) -> dict[str, Any]:
    """What becomes of an object on its way to other processes and averaged weights."""
    return {"a deep copy": copy.deepcopy(thing), "a pickle": pickle.loads(pickle.dumps(thing))}


def _plain(text: str) -> str:
    """Text on one line, without the marks of a docstring."""
    return " ".join(text.replace("``", "").split())
