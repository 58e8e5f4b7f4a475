"""The contract that every loss and metric meets: ours and third parties'.

In a plugin's tests, with pytest, one function runs all of it:

    import pytest
    from medloss.testing import contract_checks

    @pytest.mark.parametrize("check", contract_checks("hardest_voxels"), ids=str)
    def test_contract(check):
        check()

Without pytest, ``medloss check hardest_voxels`` or ``medloss check --plugin NAME``. Each check is a
function with a docstring that says what it demands and why; a loss whose mathematics excuse it from
one says so in its record, ``exempt={"check_name": "reason"}``, and the reason is shown.
A reader of files is checked on one of them: ``contract_checks("myformat", sample="a.myformat")``.
"""

from medloss.testing.registry import Check, ContractError, checks_of
from medloss.testing.running import (
    BoundCheck,
    Outcome,
    check_loss,
    check_metric,
    check_reader,
    contract_checks,
    run_checks,
)

__all__ = [
    "BoundCheck",
    "Check",
    "ContractError",
    "Outcome",
    "check_loss",
    "check_metric",
    "check_reader",
    "checks_of",
    "contract_checks",
    "run_checks",
]
