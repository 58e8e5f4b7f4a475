"""The loss on the page about plugins meets the contract, but for the card that it leaves out."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from testing.offers import offer

from medloss.testing import contract_checks

PAGE = Path(__file__).parents[2] / "docs" / "write-a-plugin.md"
OF_THE_RECORD = ("card_is_complete", "card_example_is_true", "summary_equals_docstring")


@pytest.fixture(scope="module", autouse=True)
def page_module():
    (block,) = (b for b in PAGE.read_text().split("```python\n") if "class MyDiceLoss" in b)
    module = ModuleType("page_of_plugins")
    sys.modules[module.__name__] = module
    exec(block.partition("```")[0], vars(module))
    yield module
    del sys.modules[module.__name__]


@pytest.mark.parametrize("exponent", [1.0, 0.5])
def test_the_loss_of_the_page_meets_the_contract(exponent: float) -> None:
    made = offer("page_of_plugins:MyDiceLoss", example={"softmax": True, "exponent": exponent})
    for check in contract_checks(made, seconds=0):
        if check.check.name in OF_THE_RECORD or check.check.name == "ranks_equal_one_rank":
            continue  # the other processes do not know the module of a page
        outcome = check.outcome()
        assert outcome.verdict != "failed", outcome.message
