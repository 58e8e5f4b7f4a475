"""The contract passes what is good, and each of its checks can fail."""

from __future__ import annotations

from typing import Any

import pytest
from testing import broken_loss_table, broken_metrics
from testing.offers import offer

from medloss.testing import checks_of, contract_checks, run_checks

SLOW = {
    "half_precision_is_enough",
    "gradient_is_the_derivative",
    "compiled_equals_eager",
    "monai_trainer_steps",
    "crossed_targets_agree",
    "crossed_ignored_labels_are_a_mask",
    "crossed_masks_equal_voxel_lists",
    "crossed_classes_may_be_left_out",
    "crossings_equal_the_slow_formula",
    "crossed_forms_are_one_input",
    "crossed_samples_add_up",
    "compounds_add_up",
    "ranks_equal_one_rank",
    "derivatives_are_right_or_refused",
    "infinity_is_answered",
}


def failures(broken: Any, wanted: str) -> dict[str, str]:
    """What fails of all checks, without the slow ones that are not wanted."""
    outcomes = [
        bound.outcome()
        for bound in contract_checks(broken, seconds=0.3)
        if bound.check.name == wanted or bound.check.name not in SLOW
    ]
    return {o.check: o.message for o in outcomes if o.verdict == "failed"}


@pytest.mark.parametrize("kind", ["loss", "metric"])
def test_what_is_good_passes_every_check(kind: str) -> None:
    target = {"loss": "testing.good_losses:GoodLoss", "metric": "testing.good_metrics:good_metric"}[
        kind
    ]
    outcomes = run_checks(offer(target, kind=kind), seconds=0.3)
    assert [o.message for o in outcomes if not o.passed] == []
    assert len(outcomes) == len(checks_of(kind))


@pytest.mark.parametrize(
    ("check", "name", "changes"),
    broken_loss_table.BROKEN,
    ids=lambda v: v if type(v) is str else "",
)
def test_a_broken_loss_fails_its_check(check: str, name: str, changes: dict[str, Any]) -> None:
    module = "good_losses" if name == "GoodLoss" else "broken_losses"
    failed = failures(offer(f"testing.{module}:{name}", **changes), check)
    assert set(failed) == {check} | broken_loss_table.ALSO.get(name, set()), failed


@pytest.mark.parametrize(
    ("check", "name", "changes"), broken_metrics.BROKEN, ids=lambda v: v if type(v) is str else ""
)
def test_a_broken_metric_fails_its_check(check: str, name: str, changes: dict[str, Any]) -> None:
    module = "good_metrics" if name == "good_metric" else "broken_metrics"
    target = changes.get("target", f"testing.{module}:{name}")
    words = {key: value for key, value in changes.items() if key != "target"}
    failed = failures(offer(target, kind="metric", **words), check)
    assert check in failed
    if name != "no_number":  # which fails wherever a number is wanted
        assert set(failed) == {check} | broken_metrics.ALSO.get(name, set()), failed


@pytest.mark.parametrize(
    ("kind", "table"), [("loss", broken_loss_table.BROKEN), ("metric", broken_metrics.BROKEN)]
)
def test_no_check_is_without_a_broken_plugin(kind: Any, table: Any) -> None:
    assert {check for check, _, _ in table} == {check.name for check in checks_of(kind)}


@pytest.mark.parametrize("kind", ["loss", "metric"])
def test_every_check_says_what_it_demands(kind: Any) -> None:
    for check in checks_of(kind):
        assert check.demand.endswith(".")
        assert len(check.demand) <= 120
