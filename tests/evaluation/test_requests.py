from __future__ import annotations

from types import SimpleNamespace

import pytest

from medloss.evaluation import requests
from medloss.evaluation.requests import MetricChoice, choose_metric, parse_request
from medloss.offers.records import Fact, Metric


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("dice", "dice", {}),
        ("medloss:dice", "medloss:dice", {}),
        ("nsd:tolerance_mm=2", "nsd", {"tolerance_mm": 2}),
        ("my-losses:nsd:tolerance_mm=2.5", "my-losses:nsd", {"tolerance_mm": 2.5}),
        ("a:x=true,y=False,z=none", "a", {"x": True, "y": False, "z": None}),
        ("a:weight=[1, 2.5],k=3", "a", {"weight": [1, 2.5], "k": 3}),
        ("a:weight=(1,2),name='b,c'", "a", {"weight": (1, 2), "name": "b,c"}),
        ("a:map={0: 1, 1: 2},b=c", "a", {"map": {0: 1, 1: 2}, "b": "c"}),
        ("a:eps=1e-5,sign=-1", "a", {"eps": 1e-5, "sign": -1}),
        ("a:reduction=mean", "a", {"reduction": "mean"}),
        (" a : x = 1 ", "a", {"x": 1}),
        ("a:text=b=c", "a", {"text": "b=c"}),
    ],
)
def test_requests(text, name, options):
    request = parse_request(text)
    assert request.name == name
    assert dict(request.options) == options


def test_nothing_is_executed():
    request = parse_request("a:x=__import__('os').getcwd()")
    assert dict(request.options) == {"x": "__import__('os').getcwd()"}


@pytest.mark.parametrize(
    "text", ["", ":", "dice:", "x=1", ":x=1", "a:x=", "a:x=1,", "a:x=1,x=2", "a:1x=2", "a::x=1"]
)
def test_other_forms_are_refused_with_the_text(text):
    with pytest.raises(ValueError, match=r"form|twice") as caught:
        parse_request(text)
    assert repr(text) in str(caught.value)


def test_columns_name_the_options_in_the_order_given():
    request = parse_request("nsd:tolerance_mm=2.0,mode=exact")
    assert request.column == "nsd[tolerance_mm=2.0,mode=exact]"


# The metric that is named


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
        monkeypatch.setattr(requests, "host", lambda: SimpleNamespace(metrics=catalogue))

    return make


def choose(text: str) -> MetricChoice:
    return choose_metric(parse_request(text))


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
