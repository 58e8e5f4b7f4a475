"""Runs the contract: as a list of outcomes, as exceptions, or as functions for pytest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from unittest import SkipTest

from medloss.evaluation.reading.formats import with_own_readers
from medloss.offers.host import Offer
from medloss.offers.records import Kind, Loss, Metric, Reader
from medloss.testing.registry import (
    Check,
    ContractError,
    ExemptError,
    checks_of,
    kind_of_checks,
)

Verdict = Literal["passed", "failed", "exempt"]


@dataclass(frozen=True)
class Outcome:
    """What became of one check.

    Args:
        offer: full name of what was checked.
        check: name of the check.
        verdict: ``"passed"``, ``"failed"`` or ``"exempt"``; what is exempt did not pass.
        message: what was demanded, for a failure also what came, and the reason for an exemption.
        seconds: how long it took.
    """

    offer: str
    check: str
    verdict: Verdict
    message: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the demand was met."""
        return self.verdict == "passed"


@dataclass(frozen=True)
class BoundCheck:
    """A check of one thing on offer; calling it runs it, its text is its name."""

    kind: Kind
    offer: Offer[Any]
    check: Check
    subject: Any

    def __str__(self) -> str:
        return f"{self.kind}-{self.offer.record.name}-{self.check.name}"

    def __call__(self) -> None:
        """Run the check as a test.

        Raises:
            ContractError: the demand is not met.
            unittest.SkipTest: the loss or metric is exempt; pytest shows the reason.
        """
        outcome = self.outcome()
        if outcome.verdict == "exempt":
            raise SkipTest(outcome.message)
        if outcome.verdict == "failed":
            raise ContractError(f"{outcome.offer} fails {outcome.check}: {outcome.message}")

    def outcome(self) -> Outcome:
        """Run the check and tell what became of it."""
        start = time.perf_counter()
        verdict, message = self._judged()
        seconds = time.perf_counter() - start
        return Outcome(self.offer.full_name, self.check.name, verdict, message, seconds)

    def _judged(self) -> tuple[Verdict, str]:
        reason = exemptions(self.offer).get(self.check.name, "").strip()
        reason = reason if self.check.excusable else ""
        try:
            told = self.check(self.subject)
        except ExemptError as does_not_apply:
            return "exempt", f"exempt: {does_not_apply}"
        except ContractError as error:
            if reason:
                return "exempt", f"exempt: {reason} (without the exemption: {error})"
            return "failed", f"{self.check.demand} But {error}."
        if reason and not self.subject.given:
            return "failed", (
                f"What is exempt fails. But the check passes, so that the exemption "
                f"({reason}) must go."
            )
        return "passed", f"{self.check.demand} ({told})" if told else self.check.demand


def exemptions(offer: Offer[Any]) -> Mapping[str, str]:
    """Checks from which the record of a loss or metric exempts it, with the reason."""
    found: Mapping[str, str] = getattr(offer.record, "exempt", {})
    return found


def contract_checks(
    name: str | Offer[Any] | None = None,
    *,
    plugin: str | None = None,
    kind: Kind | None = None,
    seconds: float | None = None,
    **options: Any,
) -> list[BoundCheck]:
    """Every check of something on offer, or of all that a plugin offers.

    Args:
        name: of the loss, metric, part, reader or profile (all that have it), or its offer.
        plugin: name of the plugin or of its distribution, instead of ``name``.
        kind: only ``"loss"``, ``"metric"``, ``"detection"``, ``"reader"`` or ``"profile"``.
        seconds: for each check that crosses the options of a loss, beyond the first crossings; 2 by
            default.
        options: of the loss, metric or part, instead of those of the record's example; of a reader
            ``sample``, the path of a file of its format.

    Raises:
        PluginError: there is no such name or plugin.
        TypeError: both or neither of ``name`` and ``plugin`` are given.

    Example:
        >>> checks = contract_checks("sensitivity")
        >>> print(checks[0])
        metric-sensitivity-summary_equals_docstring
        >>> checks[0]()
    """
    if (name is None) == (plugin is None):
        raise TypeError("name, plugin: expected one of them")
    if isinstance(name, Offer):
        offers: Sequence[Offer[Any]] = [name]
    else:
        found = with_own_readers()
        offers = found.find(str(name), kind) if plugin is None else found.of_plugin(plugin)
    checks: list[BoundCheck] = []
    for offer in offers:
        each = offer.record.kind
        if kind in (None, each):
            subject = _subject(offer, options, seconds)
            chosen = checks_of(kind_of_checks(offer.record))
            checks += [BoundCheck(each, offer, check, subject) for check in chosen]
    return checks


def run_checks(
    name: str | Offer[Any] | None = None,
    *,
    plugin: str | None = None,
    kind: Kind | None = None,
    seconds: float | None = None,
    **options: Any,
) -> list[Outcome]:
    """Run the contract and tell what became of each check; takes what :func:`contract_checks` does.

    Example:
        >>> all(outcome.passed for outcome in run_checks("sensitivity"))
        True
    """
    checks = contract_checks(name, plugin=plugin, kind=kind, seconds=seconds, **options)
    return [check.outcome() for check in checks]


def check_loss(name: str | Offer[Loss], **options: Any) -> None:
    """Raise on the first check that a loss fails.

    Raises:
        ContractError: one sentence on what was demanded and one on what came.
    """
    _run_until_failure(contract_checks(name, kind="loss", **options))


def check_metric(name: str | Offer[Metric], **options: Any) -> None:
    """Raise on the first check that a metric fails; see :func:`check_loss`."""
    _run_until_failure(contract_checks(name, kind="metric", **options))


def check_reader(name: str | Offer[Reader], **options: Any) -> None:
    """Raise on the first check that a reader fails on ``sample``; see :func:`check_loss`."""
    _run_until_failure(contract_checks(name, kind="reader", **options))


def _subject(offer: Offer[Any], options: Mapping[str, Any], seconds: float | None) -> Any:
    kind = offer.record.kind
    if kind == "loss":
        from medloss.testing.loss_subject import SECONDS, LossSubject

        return LossSubject(offer, options, SECONDS if seconds is None else seconds)
    if kind == "reader":
        from medloss.testing.reader_checks import ReaderSubject

        return ReaderSubject(offer, options)
    if kind == "profile":
        from medloss.testing.profile_checks import ProfileSubject

        return ProfileSubject(offer, options)
    if kind == "detection":
        from medloss.testing.detection_checks import DetectionSubject

        return DetectionSubject(offer, options)
    from medloss.testing.metric_subject import MetricSubject

    return MetricSubject(offer, options)


def _run_until_failure(checks: Sequence[BoundCheck]) -> None:
    for check in checks:
        try:
            check()
        except SkipTest:  # exempt, for a reason that the record gives
            continue
