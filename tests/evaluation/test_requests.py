from __future__ import annotations

from types import SimpleNamespace

import pytest

from medloss.evaluation import requests
from medloss.evaluation.requests import (
    MetricChoice,
    OfferRequest,
    choose_metric,
    parse_request,
)
from medloss.evaluation.score import EvalPlan, check_options
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
        ("nsd:tolerance_mm={1:2,liver:3}", "nsd", {"tolerance_mm": {1: 2, "liver": 3}}),
        (
            "a:x={left kidney: [1, 2], b: {c:d}}",
            "a",
            {"x": {"left kidney": [1, 2], "b": {"c": "d"}}},
        ),
        ("a:x={},y={1, 2},z={(1, 2): 3}", "a", {"x": {}, "y": {1, 2}, "z": {(1, 2): 3}}),
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
        catalogue = SimpleNamespace(
            find=lambda name: found, own_name=lambda name: name, named=lambda name: [found]
        )
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
    assert "None" not in choose_metric(parse_request("lesion_f1")).defaults


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
    def function(counts, *, share: float = 95, way: float | str = 1.0, flag: bool = False):
        return 0.0

    offer(function)
    with pytest.raises(ValueError, match=r"mine\[share=.*\]: share: expected a number, got "):
        choose(f"mine:share={value}")
    assert choose("mine:share=2,way=far,flag=true").options["way"] == "far"
    with pytest.raises(ValueError, match="flag: expected true or false, got 1"):
        choose("mine:flag=1")


LABELS = {1: "liver", 2: "", 7: "left kidney", "whole": ""}
EACH = "boundary_iou:width_mm={liver:1, 2:2.5, Left Kidney:3, whole:4}"


def test_a_value_for_each_label():
    """By number, by name however it is spelled, and by region."""
    metric = choose_metric(parse_request(EACH))
    assert metric.column == "boundary_iou[width_mm={liver:1,2:2.5,Left Kidney:3,whole:4}]"
    metric.check_labels(LABELS)
    found = [metric.for_label(label, name).options["width_mm"] for label, name in LABELS.items()]
    assert found == [1, 2.5, 3, 4]
    assert [one.options["width_mm"] for one in metric.alternatives()] == found
    # JSON has texts as keys.
    again = choose_metric(OfferRequest("boundary_iou", (("width_mm", {"1": 5}),)))
    assert again.for_label(1).options["width_mm"] == 5
    plain = choose_metric(parse_request("boundary_iou:width_mm=2"))
    assert plain.for_label(1) is plain
    assert plain.for_label("whole") is plain


@pytest.mark.parametrize(
    ("value", "labels", "message"),
    [
        ("{1:2}", {1: "", 2: "spleen"}, "width_mm has no value for the label 2 spleen"),
        ("{1:2,3:1}", {1: ""}, "width_mm has a value for 3, and no such label is scored"),
        ("{1:2,liver:3}", {1: "liver"}, "width_mm has two values .1, liver. for the label 1 liver"),
        ("{1:thin}", {1: ""}, "width_mm: expected a number, got 'thin'"),
        ("{1:true}", {1: ""}, "width_mm: expected a number, got True"),
        ("{}", {1: ""}, "width_mm: expected a value for each label, got none"),
        ("{true:1}", {1: ""}, "width_mm: expected labels by number or name, each once, got True"),
        ("{1:2,1:3}", {1: ""}, "1"),
        ("{1}", {1: ""}, "width_mm: expected a number, got {1}"),
    ],
)
def test_a_label_without_a_value_is_refused(value, labels, message):
    with pytest.raises(ValueError, match=message):
        choose_metric(parse_request(f"boundary_iou:width_mm={value}")).check_labels(labels)


def test_what_is_no_number_has_none_for_a_label():
    metric = choose_metric(parse_request("expected_calibration_error:binning={1:equal_mass}"))
    assert metric.by_label == ()
    with pytest.raises(ValueError, match=r"binning: expected equal_width or equal_mass, got \{1"):
        check_options(EvalPlan((metric,), labels={1: ""}))
