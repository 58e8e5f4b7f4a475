"""The plugin's loss meets the contract of medloss."""

from __future__ import annotations

import pytest

from medloss.testing import BoundCheck, contract_checks


@pytest.mark.parametrize("check", contract_checks("hardest_voxels"), ids=str)
def test_contract(check: BoundCheck) -> None:
    check()
