"""Every loss and metric of medloss meets the contract."""

from __future__ import annotations

import pytest

import medloss
from medloss.offers.host import host
from medloss.testing import BoundCheck, contract_checks

SECONDS = 0.0
"""For each check that crosses options, beyond the first 32 crossings."""

SPACING_MM = (1.0, 2.0, 0.5)
BESIDE_THE_BOUNDARY = ["dice", "focal", {"name": "boundary", "spacing_mm": SPACING_MM}]


@pytest.mark.parametrize("check", contract_checks(plugin="medloss", seconds=SECONDS), ids=str)
def test_contract(check: BoundCheck) -> None:
    check()


@pytest.mark.parametrize(
    "check",
    contract_checks("compound", seconds=SECONDS, terms=BESIDE_THE_BOUNDARY, weights=None),
    ids=str,
)
def test_contract_of_a_compound_with_a_boundary_term(check: BoundCheck) -> None:
    check()


def test_every_offered_loss_is_reachable_as_an_attribute() -> None:
    for offer in host().losses:
        assert getattr(medloss.losses, offer.record.attribute) is offer.load()
