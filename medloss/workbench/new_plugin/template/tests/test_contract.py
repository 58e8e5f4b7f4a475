"""The loss and the metric meet the contract of medloss."""

from __future__ import annotations

import pytest
from medloss.testing import BoundCheck, contract_checks


@pytest.mark.parametrize("check", contract_checks(plugin="medloss-specimen"), ids=str)
def test_contract(check: BoundCheck) -> None:
    check()
