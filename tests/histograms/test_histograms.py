"""Error histograms: cells, every way to compute them, and their gradients."""

from __future__ import annotations

import pytest
import torch
from histograms.histogram_cases import SPACE, both, case, weights
from hypothesis import given, settings
from hypothesis import strategies as st

from medloss.histograms import edges, error_histograms, plain
from medloss.histograms.plain import place


@given(st.floats(0, 1), st.sampled_from([2, 4, 10, 64, 1024]))
@settings(deadline=None, derandomize=True)
def test_an_error_lies_in_its_cell(error: float, bins: int) -> None:
    (cell,), (share,) = place(torch.tensor([error], dtype=torch.float64), bins)
    low, high = edges(bins, cell)[cell : cell + 2].tolist()
    assert low - 1e-12 <= error <= high + 1e-12
    assert float(low + share * (high - low)) == pytest.approx(error, abs=1e-12)


def test_edges_are_finest_at_both_ends() -> None:
    widths = edges(1024, torch.zeros(1)).diff()
    assert float(widths.sum()) == 1
    assert widths.argmax() in (511, 512)
    assert float(widths[0]) == float(widths[-1]) == pytest.approx(2 / 1024**2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["index", "soft"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "probabilities"])
def test_one_pass_equals_plain_torch(activation: str, kind: str, dtype: torch.dtype) -> None:
    arguments = case(activation, kind, dtype)
    counts, gradient = both(arguments, 64)
    leaf = arguments["input"].double().requires_grad_()
    expected = plain.histograms(leaf, arguments["target"], arguments["mask"], activation, 64)
    (expected * weights(expected)).sum().backward()
    assert leaf.grad is not None
    exact = dtype == torch.float64
    assert float((counts - expected.detach()).abs().max()) < (1e-11 if exact else 2e-3)
    tolerance = 1e-12 if exact else 1e-5 if dtype == torch.float32 else 5e-3
    assert float((gradient.double() - leaf.grad).norm() / leaf.grad.norm()) < tolerance


def test_every_voxel_counts_once() -> None:
    arguments = case("softmax", "index", torch.float32)
    counts, mask = error_histograms(**arguments, bins=32), arguments["mask"]
    whole = mask.sum((1, 2, 3, 4))[:, None].expand(2, 5)
    torch.testing.assert_close(counts.sum((2, 3)), whole, rtol=1e-6, atol=0)
    classes = torch.arange(5).view(5, 1, 1, 1)
    inside = ((arguments["target"] == classes) * mask).sum((2, 3, 4))
    torch.testing.assert_close(counts[:, :, 0].sum(2), inside, rtol=1e-6, atol=0)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(threads: int) -> None:
    arguments = case("softmax", "index", torch.float32)
    expected = both(arguments, 32)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = both(arguments, 32)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_nan_where_the_mask_is_zero_has_no_influence() -> None:
    arguments = case("softmax", "soft", torch.float32)
    hidden = arguments["mask"] == 0
    spoilt = {**arguments, "input": arguments["input"].masked_fill(hidden, torch.nan)}
    expected, found = both(arguments, 32), both(spoilt, 32)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert not found[1].masked_select(hidden).any()


BAD = [torch.nan, torch.inf, -torch.inf, 1e30, -1e30]


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize(
    ("activation", "where"),
    [("softmax", "input"), ("probabilities", "input"), ("sigmoid", "target"), ("softmax", "mask")],
)
def test_no_value_leads_outside(
    activation: str, where: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NaN, or what becomes one, is told by its sample and class; all else counts as an error."""
    monkeypatch.setenv("MEDLOSS_BACKEND", backend)
    for bad in BAD:
        arguments = case(activation, "soft", torch.float32, classes=3, space=(2, 3, 70))
        arguments["mask"] = 1 + arguments["mask"].float()
        arguments[where] = arguments[where].float()
        arguments[where][1, -1, 1, 2, 69] = bad
        counts, gradient = both(arguments, 16)
        assert counts[0].isfinite().all()
        assert gradient[0].isfinite().all()
        spoilt = bad != bad or (abs(bad) == torch.inf and where != "input")
        spoilt |= bad == torch.inf and activation == "softmax"
        assert counts[1, -1].isnan().all() == spoilt
        assert gradient[1].isfinite().all() != spoilt


def test_empty_inputs_have_empty_histograms() -> None:
    for shape in ((0, 3, 4, 4), (2, 3, 0, 4)):
        z = torch.zeros(shape, requires_grad=True)
        counts = error_histograms(z, z.detach(), activation="softmax", bins=8)
        assert counts.shape == (shape[0], 3, 2, 9)
        assert not counts.any()


def test_strides_change_nothing() -> None:
    arguments = case("softmax", "index", torch.float32)
    expected = both(arguments, 32)
    last = arguments["input"].to(memory_format=torch.channels_last_3d)
    found = both({**arguments, "input": last, "mask": arguments["mask"].expand(2, 1, *SPACE)}, 32)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_the_operators_are_sound() -> None:
    arguments = case("softmax", "index", torch.float64)
    flat = [arguments["input"].requires_grad_(), arguments["target"], arguments["mask"]]
    options = ("softmax", 32, "medloss.histograms.cpu")
    torch.library.opcheck(torch.ops.medloss.error_histograms, (*flat, *options))


@pytest.mark.parametrize("backend", ["reference", "chunked", "numba"])
def test_a_backend_may_be_forced(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLOSS_BACKEND", backend)
    arguments = case("sigmoid", "soft", torch.float64)
    expected = plain.histograms(*(arguments[n] for n in ("input", "target", "mask")), "sigmoid", 8)
    torch.testing.assert_close(error_histograms(**arguments, bins=8), expected)


def test_refusals() -> None:
    arguments = case("softmax", "index", torch.float32)
    with pytest.raises(ValueError, match="bins: expected an even number"):
        error_histograms(**arguments, bins=7)
    with pytest.raises(ValueError, match="target: expected"):
        error_histograms(**{**arguments, "target": arguments["target"][..., 1:]}, bins=8)
    with pytest.raises(ValueError, match="mask: expected"):
        error_histograms(**{**arguments, "mask": arguments["mask"][..., 1:]}, bins=8)
