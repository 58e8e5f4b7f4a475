from __future__ import annotations

from types import SimpleNamespace

import pytest

from medloss.evaluation import choices
from medloss.evaluation.requests import parse_request
from medloss.offers.records import Fact, Metric


@pytest.fixture
def offer(monkeypatch):
    """Make the host offer one metric, whatever the name."""

    def make(function, *facts: Fact) -> None:
        record = Metric(
            name="mine",
            target="a:b",
            family="region",
            summary="x",
            facts=facts or ("counts",),
            better="higher",
        )
        found = SimpleNamespace(record=record, load=lambda: function)
        catalogue = SimpleNamespace(find=lambda name: found)
        monkeypatch.setattr(choices, "host", lambda: SimpleNamespace(metrics=catalogue))

    return make


def choose(text: str) -> choices.MetricChoice:
    return choices.choose_metric(parse_request(text))


def test_options_are_completed_with_the_defaults(offer):
    offer(lambda counts, *, a=1, b=2: 0.0)
    choice = choose("mine:b=3")
    assert choice.options == {"a": 1, "b": 3}
    assert choice.column == "mine[b=3]"
    assert choice.defaults == "a=1"


def test_facts_are_no_options(offer):
    offer(lambda counts, surfaces, *, a=1: 0.0, "counts", "surfaces")
    with pytest.raises(ValueError, match="mine has no option 'surfaces'; it has a"):
        choose("mine:surfaces=1")


def test_an_option_without_default_must_be_given(offer):
    offer(lambda counts, *, a, b=1: 0.0)
    assert choose("mine:a=2").options == {"a": 2, "b": 1}
    with pytest.raises(ValueError, match="mine needs a value for a"):
        choose("mine:b=2")


def test_a_function_that_takes_anything_gets_it(offer):
    offer(lambda counts, **options: 0.0)
    assert choose("mine:a=2").options == {"a": 2}


@pytest.mark.parametrize("value", ["95%", "2mm", "true", "[1]", "null"])
def test_a_number_is_one(offer, value):
    def function(counts, *, percent: float = 95, way: float | str = 1.0, flag: bool = False):
        return 0.0

    offer(function)
    with pytest.raises(ValueError, match=r"mine\[percent=.*\]: percent: expected a number, got "):
        choose(f"mine:percent={value}")
    assert choose("mine:percent=2,way=far,flag=true").options["way"] == "far"
    with pytest.raises(ValueError, match="flag: expected true or false, got 1"):
        choose("mine:flag=1")
