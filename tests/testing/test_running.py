"""The contract as a list of outcomes, as exceptions, and as functions for pytest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest
from testing.offers import offer

from medloss import PluginError
from medloss.testing import (
    ContractError,
    check_loss,
    check_metric,
    contract_checks,
    run_checks,
)
from medloss.testing.running import BoundCheck

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "medloss-topk"
FORM = {"summary_equals_docstring", "card_is_complete"}
WRONG_SIGN = "testing.broken_losses:WrongSignLoss"
REASON = {"perfect_is_best": "it is meant to be wrong"}


def the(name: str, checks: list[BoundCheck]) -> BoundCheck:
    return next(bound for bound in checks if bound.check.name == name)


def test_a_failure_says_what_was_demanded_and_what_came() -> None:
    bound = the("perfect_is_best", contract_checks(offer(WRONG_SIGN)))
    with pytest.raises(
        ContractError,
        match=r"medloss-broken:broken fails perfect_is_best: A perfect prediction has a lower .* "
        r"But the perfect one has 0 and the all-wrong one -\S+\.$",
    ):
        bound()


def test_an_exemption_is_shown_and_is_no_pass() -> None:
    bound = the("perfect_is_best", contract_checks(offer(WRONG_SIGN, exempt=REASON)))
    outcome = bound.outcome()
    assert outcome.verdict == "exempt"
    assert not outcome.passed
    assert outcome.message.startswith("exempt: it is meant to be wrong (without the exemption: ")
    with pytest.raises(SkipTest, match="it is meant to be wrong"):
        bound()


def test_an_exemption_that_is_not_needed_fails() -> None:
    good = offer("testing.good_losses:GoodLoss", exempt=REASON)
    outcome = the("perfect_is_best", contract_checks(good)).outcome()
    assert outcome.verdict == "failed"
    assert "must go" in outcome.message


def test_nothing_is_exempt_from_what_mathematics_cannot_excuse() -> None:
    unpicklable = "testing.broken_losses:UnpicklableLoss"
    broken = offer(unpicklable, exempt={"copies_and_pickles": "it has a closure"})
    outcome = the("copies_and_pickles", contract_checks(broken)).outcome()
    assert outcome.verdict == "failed"


def test_the_first_failure_is_raised() -> None:
    with pytest.raises(ContractError, match="fails summary_equals_docstring"):
        check_loss(offer("testing.good_losses:GoodLoss", summary="Another."))
    with pytest.raises(ContractError, match="fails in_neither_map_is_undefined"):
        check_metric(offer("testing.broken_metrics:optimistic", kind="metric"))
    check_metric("sensitivity")


def test_options_are_passed_on() -> None:
    good = offer("testing.good_metrics:good_metric", kind="metric")
    assert all(outcome.passed for outcome in run_checks(good, power=2))
    outcomes = run_checks(good, power=-1)
    assert "worse_when_moved" in {o.check for o in outcomes if o.verdict == "failed"}


@pytest.mark.parametrize(
    ("target", "changes", "classes"),
    [
        ("NeedyLoss", {"needs": ("distance_map", "skeleton", "components")}, 3),
        ("GoodLoss", {"example": {"softmax": True, "weight": [1.0, 2.0]}}, 2),
        ("ExclusiveLoss", {}, 3),
        ("BinaryLoss", {"example": {"sigmoid": True}}, 1),
    ],
)
def test_inputs_fit_what_the_loss_takes(target: str, changes: Any, classes: int) -> None:
    taken = offer(f"testing.good_losses:{target}", **changes)
    checks = [c for c in contract_checks(taken) if c.check.name not in FORM]
    assert checks[0].subject.classes == classes
    assert [o.message for o in (c.outcome() for c in checks) if o.verdict == "failed"] == []


def test_options_that_fit_no_number_of_classes_are_told() -> None:
    nine = offer("testing.good_losses:GoodLoss", example={"weight": [1.0] * 9})
    outcome = the("flips_change_nothing", contract_checks(nine)).outcome()
    assert "it takes no number of classes from 1 to 8" in outcome.message


def test_a_name_that_is_loss_and_metric_has_the_checks_of_both() -> None:
    kinds = [bound.kind for bound in contract_checks("dice")]
    assert set(kinds) == {"loss", "metric"}
    assert {bound.kind for bound in contract_checks("dice", kind="metric")} == {"metric"}
    assert len({str(bound) for bound in contract_checks("dice")}) == len(kinds)


def test_a_plugin_has_the_checks_of_all_it_offers() -> None:
    names = {bound.offer.record.name for bound in contract_checks(plugin="region")}
    assert {"dice", "tversky", "specificity"} <= names


def test_wrong_names_are_refused() -> None:
    with pytest.raises(PluginError, match="did you mean dice"):
        contract_checks("dise")
    with pytest.raises(TypeError, match="name, plugin: expected one of them"):
        contract_checks()
    with pytest.raises(TypeError, match="name, plugin: expected one of them"):
        contract_checks("dice", plugin="region")


WITHOUT_PYTEST = """
import sys
sys.modules["pytest"] = None
from medloss.testing import run_checks
outcomes = run_checks("sensitivity")
print(all(o.passed for o in outcomes), "torch" in sys.modules, len(outcomes) > 10)
"""


def test_it_runs_without_pytest_and_is_imported_without_torch() -> None:
    light = "import sys, medloss.testing; print('torch' in sys.modules)"
    for code, expected in ((WITHOUT_PYTEST, "True True True"), (light, "False")):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.split() == expected.split(), done.stderr


def test_the_example_plugin_meets_the_contract_without_an_installation() -> None:
    command = [sys.executable, "-m", "medloss", "check", str(EXAMPLE), "--seconds", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "loss medloss-topk:hardest_voxels (1.0.0)" in done.stdout
