"""Sums of the true class with a map, however the map is stored and the target is given."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sums.engine_cases import assert_equal_to_reference, case

from medloss.sums import Term, class_sums

TERMS = ("tp", "p", "ce", "v", Term("tp_map", map="m"), Term("t_map", map="m"), Term("focal", 2.0))


def thin(arguments: dict[str, Any]) -> dict[str, Any]:
    """A map of bytes, 0 and 1, that is empty over whole tiles."""
    on = (arguments["maps"]["m"] > 1).to(torch.uint8)
    on[:, :, : on.shape[2] // 2] = 0
    return {**arguments, "maps": {"m": on}}


@pytest.mark.parametrize("backend", ["numba", "chunked"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "probabilities"])
@pytest.mark.parametrize("kind", ["index", "one-hot", "soft"])
def test_equal_the_reference(
    backend: str, activation: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDLOSS_BACKEND", backend)
    for masked in (True, False):
        arguments = case(activation, kind, torch.float64, masked=masked)
        assert_equal_to_reference(arguments, TERMS, rtol=1e-12, gradient_tol=1e-10)
        beside = (*TERMS, Term("map", map="m"), "ce_neg")
        assert_equal_to_reference(arguments, beside, rtol=1e-12, gradient_tol=1e-10)
        assert_equal_to_reference(thin(arguments), TERMS, rtol=1e-12, gradient_tol=1e-10)


@pytest.mark.parametrize("classes", [2, 12])
def test_many_classes_and_labels_that_are_none(classes: int) -> None:
    arguments = thin(case("softmax", "index", torch.float32, shape=(1, classes, 9, 40, 41)))
    assert_equal_to_reference(arguments, TERMS)
    solid = {**arguments, "target": torch.full_like(arguments["target"], classes - 1)}
    assert_equal_to_reference(solid, TERMS)
    beyond = {**arguments, "target": torch.full_like(arguments["target"], classes)}
    assert not class_sums(**beyond, terms=TERMS[4:6]).values.any()


def test_two_maps_are_told_apart() -> None:
    arguments = case("softmax", "index", torch.float32, masked=False)
    maps = {"m": arguments["maps"]["m"], "n": 2 * arguments["maps"]["m"]}
    terms = (
        Term("tp_map", map="m"),
        Term("tp_map", map="n"),
        Term("t_map", map="m"),
        Term("t_map", map="n"),
    )
    s = class_sums(**{**arguments, "maps": maps}, terms=terms)
    for name in ("tp_map", "t_map"):
        torch.testing.assert_close(s[name, "n"], 2 * s[name, "m"])
