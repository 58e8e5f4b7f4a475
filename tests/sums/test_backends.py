"""Every backend equals the reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sums.engine_cases import (
    ALL_TERMS,
    SMOOTH,
    SPACE,
    STEADY,
    assert_equal_to_reference,
    case,
    exactly,
    reference_sums,
    sums_and_gradient,
)

from medloss.sums import Term, class_sums

BACKENDS = ("numba", "chunked")
every_backend = pytest.mark.parametrize("backend", BACKENDS)
COMMON = ("tp", "p", "t", "ce", "v", Term("focal", 2.0))


@pytest.fixture(autouse=True)
def _force(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "backend" in request.fixturenames:
        monkeypatch.setenv("MEDLOSS_BACKEND", request.getfixturevalue("backend"))


@every_backend
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "probabilities"])
@pytest.mark.parametrize("kind", ["index", "one-hot", "soft"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_the_reference(backend: str, activation: str, kind: str, dtype: torch.dtype) -> None:
    for masked in (True, False):
        arguments = case(activation, kind, dtype, masked=masked)
        if dtype == torch.float64:
            assert_equal_to_reference(arguments, ALL_TERMS, rtol=1e-12, gradient_tol=1e-10)
        else:  # a power below 1 has a slope that rounding moves: values alone
            assert_equal_to_reference(arguments, STEADY)
            values, _ = sums_and_gradient(arguments, ALL_TERMS)
            expected, _ = sums_and_gradient(exactly(arguments), ALL_TERMS, reference=True)
            torch.testing.assert_close(values.double(), expected, rtol=1e-4, atol=1e-2)


@every_backend
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_input_is_computed_in_float32(backend: str, dtype: torch.dtype) -> None:
    step = torch.finfo(dtype).eps
    arguments = case("softmax", "index", dtype, masked=False)
    assert_equal_to_reference(arguments, COMMON, rtol=1e-6, gradient_tol=step)
    values, _ = sums_and_gradient(arguments, COMMON)
    assert values.dtype == torch.float32


@every_backend
@pytest.mark.parametrize("classes", [2, 3, 9, 10, 40, 105, 200])
def test_any_number_of_classes(backend: str, classes: int) -> None:
    shape = (1, classes, 2, 9, 77)
    assert_equal_to_reference(case("softmax", "index", torch.float32, shape=shape), COMMON)


@every_backend
@pytest.mark.parametrize("activation", ["sigmoid", "probabilities"])
def test_one_class(backend: str, activation: str) -> None:
    arguments = case(activation, "soft", torch.float32, shape=(2, 1, *SPACE))
    assert_equal_to_reference(arguments, SMOOTH, gradient_tol=2e-5)


@every_backend
def test_memory_layouts(backend: str) -> None:
    plain = case("softmax", "index", torch.float32, shape=(2, 4, 5, 6, 7))
    expected = sums_and_gradient(plain, SMOOTH)
    z = plain["input"]
    sliced = torch.empty(2, 4, 5, 6, 14)[..., ::2].copy_(z)
    turned = z.permute(0, 1, 4, 2, 3).contiguous().permute(0, 1, 3, 4, 2)
    for other in (z.to(memory_format=torch.channels_last_3d), sliced, turned):
        assert not other.is_contiguous()
        found = sums_and_gradient({**plain, "input": other}, SMOOTH)
        torch.testing.assert_close(found, expected)
    spread = plain["mask"][:, :, :1, :1, :1].expand(2, 1, 5, 6, 7)
    found = sums_and_gradient({**plain, "mask": spread}, SMOOTH)
    same = sums_and_gradient({**plain, "mask": spread.contiguous()}, SMOOTH)
    torch.testing.assert_close(found, same)


@every_backend
def test_two_dimensions(backend: str) -> None:
    arguments = case("softmax", "index", torch.float32, shape=(2, 3, 9, 11))
    assert_equal_to_reference(arguments, STEADY)
    last = arguments["input"].to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        sums_and_gradient({**arguments, "input": last}, SMOOTH),
        sums_and_gradient(arguments, SMOOTH),
    )


@every_backend
def test_targets_of_other_dtypes(backend: str) -> None:
    arguments = case("softmax", "index", torch.float32)
    expected = sums_and_gradient(arguments, COMMON)
    for dtype in (torch.uint8, torch.float32):
        other = {**arguments, "target": arguments["target"].to(dtype)}
        torch.testing.assert_close(sums_and_gradient(other, COMMON), expected)
    arguments = case("sigmoid", "one-hot", torch.float32)
    expected = sums_and_gradient(arguments, COMMON)
    other = {**arguments, "target": arguments["target"].bool()}
    torch.testing.assert_close(sums_and_gradient(other, COMMON), expected)


@every_backend
def test_a_label_that_is_no_class_belongs_to_none(backend: str) -> None:
    for classes in (3, 12):
        arguments = case("softmax", "index", torch.float32, shape=(1, classes, *SPACE))
        arguments["target"][:, :, 1] = classes
        arguments["target"][:, :, 2] = -1
        assert_equal_to_reference(arguments, STEADY)


@every_backend
def test_volumes_of_one_label(backend: str) -> None:
    arguments = case("softmax", "index", torch.float32, shape=(1, 12, *SPACE))
    arguments["target"].fill_(11)
    assert_equal_to_reference(arguments, COMMON)


@every_backend
def test_not_a_number_comes_out(backend: str) -> None:
    arguments = case("softmax", "index", torch.float32, masked=False)
    arguments["input"][1, 2, 0, 0, 0] = torch.nan
    values, gradient = sums_and_gradient(arguments, ("tp", "p", "ce"))
    assert values[1, 1].isnan().all()
    assert not values[0].isnan().any()
    assert gradient[1, :, 0, 0, 0].isnan().all()


@every_backend
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "probabilities"])
@pytest.mark.parametrize("garbage", [torch.nan, torch.inf, -torch.inf])
def test_a_voxel_of_weight_0_has_no_influence(
    backend: str, activation: str, garbage: float
) -> None:
    arguments = case(activation, "index", torch.float32)
    arguments["mask"][0, :, 0, 0, :9] = 0
    expected = sums_and_gradient(arguments, SMOOTH)
    other = arguments["input"].clone()
    other[0, 1:, 0, 0, :9] = garbage
    found = sums_and_gradient({**arguments, "input": other}, SMOOTH)
    torch.testing.assert_close(found, expected)
    assert (found[1][0, :, 0, 0, :9] == 0).all()


@every_backend
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_huge_logits_stay_finite(backend: str, activation: str) -> None:
    arguments = case(activation, "index", torch.float32)
    arguments["input"] *= 1e4
    values, gradient = sums_and_gradient(arguments, ALL_TERMS)
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    assert_equal_to_reference(arguments, ("tp", "p", "ce", "nlog"))


@every_backend
def test_several_maps_and_exponents_at_once(backend: str) -> None:
    arguments = case("softmax", "index", torch.float32)
    arguments["maps"]["other"] = -2 * arguments["maps"]["m"]
    terms = (Term("map", map="other"), Term("map", map="m"), Term("focal", 1.0), Term("focal", 3.0))
    s = class_sums(**arguments, terms=terms)
    torch.testing.assert_close(s["map", "other"], -2 * s["map", "m"], rtol=1e-5, atol=1e-4)
    assert_equal_to_reference(arguments, terms)


MAPS = [torch.float32, torch.float16]


@every_backend
@pytest.mark.parametrize("dtype", MAPS)
@pytest.mark.parametrize("terms", [("tp", "p", "ce", "v"), ("tp", "nlog"), ()])
@pytest.mark.parametrize("classes", [2, 7])
def test_maps_of_any_dtype_beside_few_terms(
    backend: str, dtype: torch.dtype, terms: tuple[str, ...], classes: int
) -> None:
    for masked in (True, False):
        arguments = case("softmax", "index", torch.float32, shape=(2, classes, *SPACE))
        arguments["mask"] = arguments["mask"] if masked else None
        m = (100 * arguments["maps"]["m"]).to(dtype)
        arguments["maps"] = {"m": m, "half": (m / 2).to(dtype)}
        assert_equal_to_reference(arguments, (*terms, Term("map", map="m")))
        both = (*terms, Term("map", map="half"), Term("map", map="m"))
        assert_equal_to_reference(arguments, both)


@every_backend
def test_no_sample(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDLOSS_BACKEND")
    arguments = case("softmax", "index", torch.float32, shape=(0, 3, 4, 4))
    assert class_sums(**arguments, terms=COMMON).values.shape == (0, 6, 3)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_shape_and_choice_of_terms(data: Any) -> None:
    draw = data.draw
    classes = draw(st.integers(2, 14))
    shape = (draw(st.integers(1, 3)), classes, *draw(st.tuples(*[st.integers(1, 40)] * 2)))
    terms = draw(st.lists(st.sampled_from(STEADY), min_size=1, unique=True))
    activation = draw(st.sampled_from(["softmax", "sigmoid"]))
    arguments = case(
        activation, "index", torch.float32, shape=shape, masked=draw(st.booleans()),
        seed=draw(st.integers(0, 999)),
    )  # fmt: skip
    assert_equal_to_reference(arguments, terms)


@every_backend
@pytest.mark.parametrize("gap", [5.0, 30.0, 60.0])
def test_a_sure_mistake_is_noticed(backend: str, gap: float) -> None:
    # In float32 p rounds to 1 from a gap of 17 on; log(1 - p) is then minus the gap.
    arguments = case("softmax", "one-hot", torch.float32, shape=(1, 4, *SPACE), masked=False)
    arguments["input"][:, 2] += gap
    arguments["target"].zero_()
    for terms in (("ce_neg",), (Term("focal_neg", 2.0), "ce_neg", "tp", "p")):
        assert_equal_to_reference(arguments, terms, rtol=1e-6, gradient_tol=1e-5)
    _, gradient = sums_and_gradient(arguments, ("ce_neg",))
    assert gap < 30 or gradient[:, 2].abs().min() > 0.01


def test_the_reference_itself_at_a_sure_mistake() -> None:
    gap = 40.0
    z = torch.tensor([0.0, gap, -1.0]).view(1, 3, 1, 1).requires_grad_()
    loss = reference_sums(z, torch.zeros(1, 3, 1, 1), ("ce_neg",), activation="softmax").values[
        0, 0, 1
    ]
    others = torch.tensor([0.0, -1.0])
    torch.testing.assert_close(loss, gap - others.logsumexp(0))
    loss.backward()
    share = others.softmax(0)
    torch.testing.assert_close(z.grad.flatten(), torch.stack([-share[0], share.sum(), -share[1]]))
