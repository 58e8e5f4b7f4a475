from __future__ import annotations

import pytest

from medloss.evaluation.requests import parse_request


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
