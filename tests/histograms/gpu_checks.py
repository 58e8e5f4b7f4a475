"""Error histograms by Triton kernels: on a CUDA device, or in Triton's interpreter."""

from __future__ import annotations

import pytest
import torch
from histograms.histogram_cases import both, case, errors_against_plain
from interpreted import DEVICE

from medloss.histograms import confidence_sums, error_histograms
from medloss.histograms.confidence import plain_sums

SPACE = (3, 5, 7)


@pytest.fixture(autouse=True)
def _force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLOSS_BACKEND", "triton")


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(
    ("activation", "kind", "dtype", "classes"),
    [
        ("softmax", "index", torch.float32, 5),
        ("softmax", "index", torch.float64, 20),
        ("softmax", "soft", torch.bfloat16, 2),
        ("sigmoid", "soft", torch.float32, 3),
        ("sigmoid", "index", torch.float16, 1),
        ("probabilities", "index", torch.float64, 2),
    ],
)
def test_kernels_equal_plain_torch(
    activation: str, kind: str, dtype: torch.dtype, classes: int, masked: bool
) -> None:
    arguments = case(activation, kind, dtype, classes=classes, space=SPACE)
    if not masked:
        arguments["mask"] = None
    on_device = {k: v.to(DEVICE) if torch.is_tensor(v) else v for k, v in arguments.items()}
    errors_against_plain(on_device, 16)


def test_most_errors_in_the_first_cell_or_the_last() -> None:
    """As of a network that is sure: a tile's errors of the first cell are one addition."""
    for kind in ("index", "soft"):
        arguments = case("sigmoid", kind, torch.float64, classes=2, space=SPACE)
        arguments["input"] = 12 * arguments["input"] + 20
        once = {k: v.to(DEVICE) if torch.is_tensor(v) else v for k, v in arguments.items()}
        counts = error_histograms(**once, bins=16)
        if kind == "index":  # most, and in both edges of a cell
            assert counts[..., [0, 1, -2, -1]].sum() > 0.9 * counts.sum()
        errors_against_plain(once, 16)


def test_weights_may_be_of_any_size() -> None:
    arguments = case("softmax", "index", torch.float32, space=SPACE)
    once = {k: v.to(DEVICE) if torch.is_tensor(v) else v for k, v in arguments.items()}
    whole = error_histograms(**once, bins=8)
    for factor in (1e-6, 1e6):
        scaled = error_histograms(**{**once, "mask": once["mask"] * factor}, bins=8)
        torch.testing.assert_close(scaled / factor, whole, rtol=1e-5, atol=1e-5)
    none = error_histograms(**{**once, "mask": 0 * once["mask"]}, bins=8)
    assert not none.any()


def test_a_run_is_the_same_bits_again() -> None:
    arguments = case("softmax", "soft", torch.float32, space=SPACE)
    once = {k: v.to(DEVICE) if torch.is_tensor(v) else v for k, v in arguments.items()}
    first, again = error_histograms(**once, bins=8), error_histograms(**once, bins=8)
    assert torch.equal(first, again)


@pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")
@pytest.mark.parametrize("where", ["input", "target", "mask"])
def test_no_value_leads_outside(where: str) -> None:
    for bad in (torch.nan, torch.inf, -torch.inf, 1e30):
        arguments = case("softmax", "soft", torch.float32, classes=3, space=SPACE)
        arguments["mask"] = 1 + arguments["mask"].float()
        arguments[where] = arguments[where].float()
        arguments[where][1, -1, 1, 2, 3] = bad
        once = {k: v.to(DEVICE) if torch.is_tensor(v) else v for k, v in arguments.items()}
        counts, gradient = both(once, 16)
        if where != "mask":  # an infinite weight leaves no unit for the others
            assert counts[0].isfinite().all()
            assert gradient[0].isfinite().all()
        spoilt = bad != bad or (bad == torch.inf if where == "input" else bad != 1e30)
        if spoilt:
            assert counts[1, -1].isnan().all()
            assert not gradient[1].isfinite().all()


@pytest.mark.parametrize(
    ("activation", "kind", "dtype", "classes", "soft"),
    [
        ("softmax", "index", torch.float32, 5, False),
        ("softmax", "soft", torch.float64, 2, True),
        ("sigmoid", "index", torch.float16, 1, True),
    ],
)
def test_sums_over_bins_of_probability_equal_plain_torch(
    activation: str, kind: str, dtype: torch.dtype, classes: int, soft: bool
) -> None:
    arguments = case(activation, kind, dtype, classes=classes, space=SPACE)
    once = {k: v.to(DEVICE) if torch.is_tensor(v) else v for k, v in arguments.items()}
    found = []
    for wide in (False, True):
        leaf = (once["input"].double() if wide else once["input"]).detach().requires_grad_()
        given = {**once, "input": leaf}
        function = plain_sums if wide else confidence_sums
        counts = function(**given, bins=6, soft=soft)
        (counts * torch.arange(18, device=DEVICE).view(3, 6).sin()).sum().backward()
        assert leaf.grad is not None
        found.append((counts.detach(), leaf.grad.double()))
    (counts, gradient), (expected, slopes) = found
    torch.testing.assert_close(counts, expected, rtol=0, atol=1e-3)
    assert float((gradient - slopes).norm() / slopes.norm()) < (
        5e-3 if dtype == torch.float16 else 1e-5
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")
def test_a_nan_is_in_the_sums_of_its_sample() -> None:
    arguments = case("softmax", "index", torch.float32, classes=3, space=SPACE)
    arguments["mask"] = None
    arguments["input"][1, -1, 1, 2, 3] = torch.nan
    once = {k: v.to(DEVICE) if torch.is_tensor(v) else v for k, v in arguments.items()}
    for soft in (False, True):
        counts = confidence_sums(**once, bins=4, soft=soft)
        assert counts[0].isfinite().all()
        assert counts[1, :, 1].isnan().any(-1).all()
