"""The losses on the page about plugins meet the contract, but for the cards that they leave out."""

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
    blocks = [b for b in PAGE.read_text().split("```python\n") if "class My" in b]
    module = ModuleType("page_of_plugins")
    sys.modules[module.__name__] = module
    for block in blocks:
        exec(block.partition("```")[0], vars(module))
    yield module
    del sys.modules[module.__name__]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("MyDiceLoss", {"exponent": 1.0}),
        ("MyDiceLoss", {"exponent": 0.5}),
        ("MyTverskyFocalLoss", {"gamma": 1.5}),
    ],
)
def test_the_losses_of_the_page_meet_the_contract(name: str, given: dict[str, float]) -> None:
    made = offer(f"page_of_plugins:{name}", example={"softmax": True, **given})
    for check in contract_checks(made, seconds=0):
        if check.check.name in OF_THE_RECORD or check.check.name == "ranks_equal_one_rank":
            continue  # the other processes do not know the module of a page
        outcome = check.outcome()
        assert outcome.verdict != "failed", outcome.message
