"""Sums of two softmax classes, against numpy in float64 and against the kernels for any number."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from medloss.sums import Term, class_sums
from medloss.sums.cpu import backend, exclusive, two_classes

TERMS = ("tp", "p", "t", "v", "pp", "tt", "ce", Term("focal", 2.0), Term("focal", 1.5))


def _by_hand(z, y, w):
    """Sums (B, K, C) of :data:`TERMS`, each written out."""
    z, w = z.double().numpy(), w.double().numpy()
    z = np.where(w > 0, z, 0)
    norm = np.logaddexp(z[:, 0], z[:, 1])
    found = []
    for c in (0, 1):
        log_p = z[:, c] - norm
        p, other = np.exp(log_p), np.exp(z[:, 1 - c] - norm)
        own = (y.numpy()[:, 0] == c) * w[:, 0]
        each = (own * p, p * w[:, 0], own, w[:, 0], p * p * w[:, 0], own)
        logs = (-own * log_p, -own * other**2 * log_p, -own * other**1.5 * log_p)
        found.append([row.sum((1, 2)) for row in (*each, *logs)])
    return torch.from_numpy(np.array(found)).permute(2, 1, 0)


def _case(dtype, labels, *, masked):
    random = torch.Generator().manual_seed(5)
    z = (4 * torch.randn(2, 2, 61, 67, generator=random)).to(dtype)
    y = torch.randint(0, 2, (2, 1, 61, 67), generator=random).to(labels)
    y[0, 0, 5:9] = 2  # no class
    w = torch.ones(2, 1, 61, 67)
    if masked:
        w = torch.rand(2, 1, 61, 67, generator=random) * (y != 2)
        z[1, 0, 0, 0], w[1, 0, 0, 0] = torch.nan, 0
    return z, y, w.to(torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("dtype", "close"),
    [(torch.float32, 2e-6), (torch.float64, 1e-12), (torch.bfloat16, 2e-6), (torch.float16, 2e-6)],
)
def test_sums_equal_those_written_out(dtype, close, masked):
    for labels in (torch.int64, torch.uint8):
        z, y, w = _case(dtype, labels, masked=masked)
        s = class_sums(z, y, TERMS, activation="softmax", mask=w if masked else None)
        true = _by_hand(z, y, w)
        assert (s.values - true).abs().max() <= close * true.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_gradient_is_that_of_the_reference(dtype, monkeypatch):
    close = {torch.float32: 2e-6, torch.float64: 1e-12, torch.bfloat16: 4e-3}[dtype]
    for masked in (False, True):
        z, y, w = _case(dtype, torch.int64, masked=masked)
        by = torch.randn(2, len(TERMS), 2, generator=torch.Generator().manual_seed(1))
        slopes = []
        for name in ("numba", "reference"):
            monkeypatch.setenv("MEDLOSS_BACKEND", name)
            leaf = z.to(dtype if name == "numba" else torch.float64).requires_grad_()
            mask = w.to(torch.float64 if leaf.dtype == torch.float64 else torch.float32)
            s = class_sums(leaf, y, TERMS, activation="softmax", mask=mask if masked else None)
            slopes.append(torch.autograd.grad((s.values * by).sum(), leaf)[0].double())
        assert (slopes[0] - slopes[1]).abs().max() <= close * slopes[1].abs().max()


def test_what_is_not_finite_comes_out_as_from_softmax():
    """A logit of -inf is a class ruled out; one of +inf, or none of either, is no number."""
    y = torch.zeros(1, 1, 4, dtype=torch.long)
    inf = torch.inf
    pairs = [(0.0, -inf), (-inf, 0.0), (inf, 0.0), (0.0, inf), (inf, inf), (-inf, -inf)]
    for low, high in [*pairs, (torch.nan, 0.0), (300.0, -300.0), (1e30, 1e30)]:
        z = torch.tensor([low, high]).reshape(1, 2, 1).repeat(1, 1, 4)
        s = class_sums(z, y, ("p", "tp", "ce"), activation="softmax")
        p = torch.tensor([low, high], dtype=torch.float64).softmax(0)
        found, expected = torch.cat([s.p[0], s.tp[0, :1]]), 4 * torch.cat([p, p[:1]]).float()
        torch.testing.assert_close(found, expected, equal_nan=True, atol=1e-6, rtol=1e-6)
        assert s.tp[0, 1] == 0
        true = -4 * torch.tensor([low, high], dtype=torch.float64).log_softmax(0)[0].float()
        torch.testing.assert_close(s.ce[0, 0], true, equal_nan=True)


@pytest.mark.parametrize("gradient", [False, True])
def test_who_is_served(gradient):
    """Two classes with labels and terms that it knows; all else goes to the kernels for any."""
    for terms, index, maps, classes in itertools.product(
        ((Term("tp"), Term("p"), Term("ce")), (Term("l1"), Term("p")), (Term("nlog"),)),
        (True, False),
        (False, True),
        (2, 3),
    ):
        plan = backend.LoopPlan(
            terms, "softmax", (1, classes, 9), np.float32, index, maps, gradient
        )
        known = terms[0].name == "tp" and index and classes == 2
        assert plan.loops is (two_classes if known else exclusive)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_label_that_is_no_class_is_told(classes, activation):
    """Of each dtype that loops read, wherever it is; fractions and no numbers are none either."""
    z = torch.zeros(2, classes, 5000)
    plan = backend.LoopPlan(
        (Term("tp"), Term("p")), activation, tuple(z.shape), np.float32, True, False, False
    )
    for dtype, strange in (
        (torch.int64, (-1, classes, 2**40)),
        (torch.uint8, (classes, 255)),
        (torch.float32, (-1, classes, 0.5, torch.nan, torch.inf, 1e30)),
    ):
        y = torch.arange(10000).remainder(classes).reshape(2, 1, 5000).to(dtype)
        assert not plan.add_up(plan.read(z, y))[1]
        for number in strange:
            for at in (0, 2047, 2048, 4999):
                wrong = y.clone()
                wrong[1, 0, at] = number
                assert plan.add_up(plan.read(z, wrong))[1], (dtype, number, at)
