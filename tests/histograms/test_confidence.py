"""Sums over bins of probability: compiled loops against plain torch, and what holds of both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from histograms.histogram_cases import case
from torch import Tensor

from medloss.histograms import confidence_sums
from medloss.histograms.confidence import plain_sums

BINS = 6


def both(function: Any, arguments: dict[str, Any], **options: Any) -> tuple[Tensor, Tensor]:
    """The sums, and the gradient of one fixed weighting of them."""
    leaf = arguments["input"].detach().requires_grad_()
    found = function(**{**arguments, "input": leaf}, **options)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    (found * weights).sum().backward()
    assert leaf.grad is not None
    return found.detach(), leaf.grad


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize(
    ("activation", "kind", "dtype"),
    [
        ("softmax", "index", torch.float64),
        ("sigmoid", "soft", torch.float32),
        ("probabilities", "soft", torch.float32),
    ],
)
def test_compiled_loops_equal_plain_torch(
    activation: str, kind: str, dtype: torch.dtype, soft: bool
) -> None:
    arguments = case(activation, kind, dtype, classes=3)
    counts, gradient = both(confidence_sums, arguments, bins=BINS, soft=soft)
    wide = {**arguments, "input": arguments["input"].double(), "bins": BINS, "soft": soft}
    expected, slopes = both(plain_sums, wide)
    exact = dtype == torch.float64
    torch.testing.assert_close(counts, expected, rtol=0, atol=1e-9 if exact else 1e-3)
    off = (gradient.double() - slopes).norm() / slopes.norm()
    assert float(off) < (1e-12 if exact else 1e-5)
    assert gradient.dtype == dtype


def test_sums_are_additive_and_hold_every_voxel() -> None:
    arguments = case("softmax", "index", torch.float64, classes=3)
    for soft in (False, True):
        whole = confidence_sums(**arguments, bins=BINS, soft=soft)
        torch.testing.assert_close(
            whole[:, :, 0].sum(-1), arguments["mask"].flatten(1).sum(1)[:, None].expand(2, 3)
        )
        parts = [
            confidence_sums(
                **{k: v[:, :, at] if torch.is_tensor(v) else v for k, v in arguments.items()},
                bins=BINS,
                soft=soft,
            )
            for at in (slice(0, 2), slice(2, None))
        ]
        torch.testing.assert_close(parts[0] + parts[1], whole)


def test_a_single_soft_bin_holds_all() -> None:
    p = torch.tensor([[[0.0, 0.3, 0.5, 1.0]]], dtype=torch.float64)
    found = confidence_sums(p, torch.ones_like(p), activation="probabilities", bins=1, soft=True)
    assert found[0, 0].flatten().tolist() == pytest.approx([4, 1.8, 4])


def test_what_cannot_be_meant_is_refused() -> None:
    p = torch.rand(1, 2, 3)
    for arguments, message in (
        ({"target": p, "bins": 0}, "bins: expected at least 1, got 0"),
        ({"target": p[..., :2]}, r"target: expected \[1, 1, 3\] or \[1, 2, 3\], got \[1, 2, 2\]"),
        ({"target": p, "mask": p}, r"mask: expected \[1, 1, 3\], got \[1, 2, 3\]"),
    ):
        with pytest.raises(ValueError, match=message):
            confidence_sums(p, **arguments, activation="probabilities")  # type: ignore[arg-type]
