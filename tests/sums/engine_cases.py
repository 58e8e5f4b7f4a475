"""Inputs for the tests of the backends, and what they are compared with."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from medloss.sums import ClassSums, Term, class_sums, log_p_true, voxel_terms
from medloss.sums.choice import VARIABLE
from medloss.sums.terms import TERMS, as_terms

ROUGH = ("l1", *(Term("power", gamma) for gamma in (1.5, 1.0, 0.5)))
"""Terms with a corner where p meets y."""
SMOOTH = (
    *("v", "p", "t", "tp", "pp", "tt", "sqt", "ce", "ce_neg", "nlog", Term("power", 2.0)),
    *(Term("focal", gamma) for gamma in (2.0, 0.0, 0.7)),
    *(Term("focal_neg", gamma) for gamma in (1.5, 3.0)),
    *(Term("map", map="m"), Term("map2", map="m")),
)
OTHERS = tuple(
    Term(name, 2.0 if row.exponent else None, "m" if row.map else None)
    for name, row in TERMS.items()
    if name not in {term.name for term in as_terms(SMOOTH + ROUGH)}
)
"""Every other that there is."""
ALL_TERMS = SMOOTH + ROUGH + OTHERS
STEADY = tuple(
    term for term in as_terms(SMOOTH) if term != Term("focal", 0.7) and TERMS[term.name].log != "q"
)
"""Terms without log(1 - p) or its like, which in float32 softmax is at the mercy of rounding."""
SPACE = (5, 15, 59)
"""Odd sides, and more voxels than one tile holds."""


def case(
    activation: str,
    kind: str,
    dtype: torch.dtype,
    *,
    shape: tuple[int, ...] = (2, 5, *SPACE),
    masked: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Keyword arguments of class sums."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    one = (shape[0], 1, *shape[2:])
    z = 3 * normal(shape)
    target = {
        "index": torch.randint(0, max(shape[1], 2), one, generator=generator),
        "one-hot": (normal(shape) > 0.5).to(dtype),
        "soft": normal(shape).sigmoid().to(dtype),
    }[kind]
    mask = normal(one).sigmoid() * (normal(one) > -1)
    return {
        "input": (z.sigmoid() if activation == "probabilities" else z).to(dtype),
        "target": target,
        "activation": activation,
        "mask": mask.to(dtype if dtype.itemsize > 2 else torch.float32) if masked else None,
        "maps": {"m": normal(shape).to(dtype if dtype.itemsize > 2 else torch.float32)},
    }


def exactly(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same numbers in float64."""

    def wide(value: Any) -> Any:
        return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value

    maps = {name: wide(each) for name, each in arguments["maps"].items()}
    return {**{name: wide(value) for name, value in arguments.items()}, "maps": maps}


def reference_sums(*given: Any, **options: Any) -> ClassSums:
    """As ``class_sums``: what plain torch sums, added up."""
    each = voxel_terms(*given, **options)
    return ClassSums(each.values.flatten(3).sum(3), each.terms)


def sums_and_gradient(
    arguments: dict[str, Any], terms: Any, *, reference: bool = False
) -> tuple[Tensor, Tensor]:
    """Values (B, K, C), and the gradient of one fixed weighting of them."""
    leaf = arguments["input"].detach().requires_grad_()
    function = reference_sums if reference else class_sums
    values = function(**{**arguments, "input": leaf}, terms=terms).values
    generator = torch.Generator().manual_seed(99)
    weights = torch.randn(values.shape, generator=generator, dtype=torch.float64)
    if values.requires_grad:
        (values * weights.to(values)).sum().backward()
    gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
    return values.detach(), gradient


def assert_equal_to_reference(
    arguments: dict[str, Any], terms: Any, *, rtol: float = 1e-5, gradient_tol: float = 1e-5
) -> tuple[float, float]:
    """Values and gradients against the reference in float64, each on its own scale; the errors."""
    values, gradient = sums_and_gradient(arguments, terms)
    expected, expected_gradient = sums_and_gradient(exactly(arguments), terms, reference=True)
    largest = expected.abs().amax((0, 2), keepdim=True).clamp_min(1)
    off = float(((values.double() - expected).abs() / largest).max())
    assert off < rtol, f"sums are off by {off}"
    assert gradient.dtype == arguments["input"].dtype
    error = float((gradient.double() - expected_gradient).abs().max())
    bent = error / max(1.0, float(expected_gradient.abs().max()))
    assert bent < gradient_tol, f"the gradient is off by {bent}"
    return off, bent


def errors_of_log_p(
    classes: int, dtype: torch.dtype, *, masked: bool, device: str, seed: int = 0
) -> tuple[float, float]:
    """Errors of log p of the true class, and of its gradient, which are asserted small."""
    generator = torch.Generator().manual_seed(seed)
    z = 4 * torch.randn(2, classes, 3, 5, 7, generator=generator, dtype=torch.float64)
    label = torch.randint(-1, classes + 1, (2, 1, 3, 5, 7), generator=generator)
    mask = torch.rand(label.shape, generator=generator) > 0.3 if masked else None
    g = torch.randn(label.shape, generator=generator, dtype=torch.float64)
    z = z.to(dtype).double()
    if mask is not None:
        z = z.masked_fill(~mask, torch.nan)
        mask = mask.to(device)
    found = []
    for given in (z.to(dtype), z):
        leaf = given.to(device).requires_grad_()
        if given is z:
            with mock.patch.dict(os.environ, {VARIABLE: "reference"}):
                value = log_p_true(leaf, label.to(device), mask)
        else:
            value = log_p_true(leaf, label.to(device), mask)
        value.backward(g.to(value))
        assert leaf.grad is not None
        found.append([value.detach().double(), leaf.grad.double()])
    tolerance = {torch.float64: 1e-12, torch.float32: 5e-6}.get(dtype, torch.finfo(dtype).eps)
    for mine, reference in zip(*found, strict=True):
        torch.testing.assert_close(mine, reference, rtol=tolerance, atol=tolerance)
    off, bent = (float((mine - theirs).abs().max()) for mine, theirs in zip(*found, strict=True))
    return off, bent
