"""The triton backend equals the reference.

Run by ``test_triton.py``: on a GPU, or in Triton's interpreter, where few small inputs are taken.
``MEDLOSS_TEST_TRITON=full`` takes them all.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
import triton.testing
from interpreted import DEVICE
from sums.engine_cases import (
    ALL_TERMS,
    SMOOTH,
    SPACE,
    STEADY,
    assert_equal_to_reference,
    case,
    errors_of_log_p,
    exactly,
    sums_and_gradient,
)
from torch import Tensor

from medloss.sums import Term, class_sums
from medloss.sums.choice import VARIABLE
from medloss.sums.gpu import tiles
from medloss.sums.gpu.tiles import Tile

ON_CUDA = DEVICE == "cuda"
FULL = ON_CUDA or os.environ.get("MEDLOSS_TEST_TRITON") == "full"
SMALL_TILES = "sums=8,128,1,1 slopes=8,128,1,0"
"""Two tiles of SMALL: the interpreter takes a part of a millisecond for each operation on one."""
SMALL = SPACE if ON_CUDA else (3, 4, 11)
MAPPED = (Term("tp_map", map="m"), Term("t_map", map="m"))
COMMON = ("tp", "p", "t", "ce", "v", Term("focal", 2.0))

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")
only_cuda = pytest.mark.skipif(not ON_CUDA, reason="no CUDA device")


@pytest.fixture(autouse=True)
def force(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the backend, and in the interpreter small tiles."""
    monkeypatch.setenv(VARIABLE, "triton")
    if not ON_CUDA:
        monkeypatch.setenv(tiles.VARIABLE, SMALL_TILES)


def here(*given: Any, **options: Any) -> dict[str, Any]:
    """A case on the device of the test."""
    return on_device(case(*given, **{"shape": (2, 5, *SMALL), **options}))


def on_device(arguments: Any) -> Any:
    if isinstance(arguments, dict):
        return {name: on_device(each) for name, each in arguments.items()}
    return arguments.cuda() if ON_CUDA and isinstance(arguments, Tensor) else arguments


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "probabilities"])
@pytest.mark.parametrize("kind", ["index", "one-hot", "soft"])
def test_equals_the_reference(activation: str, kind: str) -> None:
    for masked in (True, False) if FULL else (kind != "soft",):
        arguments = here(activation, kind, torch.float64, masked=masked)
        assert_equal_to_reference(arguments, (*ALL_TERMS, *MAPPED), rtol=1e-12, gradient_tol=1e-10)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "probabilities"])
@pytest.mark.parametrize("kind", ["index", "one-hot", "soft"] if FULL else ["index"])
def test_single_precision(activation: str, kind: str) -> None:
    arguments = here(activation, kind, torch.float32)
    assert_equal_to_reference(arguments, STEADY)
    values, _ = sums_and_gradient(arguments, ALL_TERMS)
    expected, _ = sums_and_gradient(exactly(arguments), ALL_TERMS, reference=True)
    torch.testing.assert_close(values.double(), expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_input_is_computed_in_float32(dtype: torch.dtype) -> None:
    arguments = here("softmax", "index", dtype, masked=False)
    step = torch.finfo(dtype).eps
    assert_equal_to_reference(arguments, COMMON, rtol=1e-6, gradient_tol=step)
    values, _ = sums_and_gradient(arguments, COMMON)
    assert values.dtype == torch.float32


@pytest.mark.parametrize("classes", [2, 3, 9, 14, 16, 40, 105, 133, 200] if FULL else [2, 105])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64] if FULL else [torch.float32])
def test_any_number_of_classes(
    classes: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(tiles.VARIABLE, raising=False)
    shape = (1, classes, 2, 9, 77) if ON_CUDA else (1, classes, 3, 7)
    assert_equal_to_reference(here("softmax", "index", dtype, shape=shape), COMMON)


@pytest.mark.parametrize("classes", [1, 5])
def test_tiles_of_any_size(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    activation = "sigmoid" if classes == 1 else "softmax"
    arguments = here(activation, "soft", torch.float32, shape=(2, classes, *SMALL))
    for rows, voxels, programs in ((1, 128, 1), (2, 64, 0), (4, 32, 3)):
        tile = f"{rows},{voxels},1,{programs}"
        monkeypatch.setenv(tiles.VARIABLE, f"sums={tile} slopes={tile}")
        assert_equal_to_reference(arguments, ("ce", "p", "ce_neg"))
    monkeypatch.setenv(tiles.VARIABLE, "sums=1,2,3")
    with pytest.raises(ValueError, match=r"sums=rows,voxels,warps,programs .* got 'sums=1,2,3'"):
        class_sums(**arguments, terms=("p",))


def test_memory_layouts() -> None:
    plain = here("softmax", "index", torch.float32, shape=(2, 4, 3, 5, 7))
    terms = ("tp", "p", "pp", Term("map", map="m"))
    expected = sums_and_gradient(plain, terms)
    z = plain["input"]
    sliced = z.new_empty(2, 4, 3, 5, 14)[..., ::2].copy_(z)
    for other in (z.to(memory_format=torch.channels_last_3d), sliced):
        assert not other.is_contiguous()
        found = sums_and_gradient({**plain, "input": other}, terms)
        torch.testing.assert_close(found, expected)
    last = z.to(memory_format=torch.channels_last_3d)
    _, gradient = sums_and_gradient({**plain, "input": last}, terms)
    assert gradient.is_contiguous(memory_format=torch.channels_last_3d)
    spread = plain["mask"][:, :, :1, :1, :1].expand(2, 1, 3, 5, 7)
    found = sums_and_gradient({**plain, "mask": spread}, terms)
    same = sums_and_gradient({**plain, "mask": spread.contiguous()}, terms)
    torch.testing.assert_close(found, same)


def test_targets_of_other_dtypes() -> None:
    arguments = here("softmax", "index", torch.float32)
    arguments["mask"] = arguments["mask"] > 0.3
    terms = ("tp", "t", "p", "ce")
    expected = sums_and_gradient(arguments, terms)
    for dtype in (torch.uint8, torch.int8, torch.int32, torch.float32, torch.bfloat16):
        other = {**arguments, "target": arguments["target"].to(dtype)}
        torch.testing.assert_close(sums_and_gradient(other, terms), expected)
    arguments = here("sigmoid", "one-hot", torch.float32)
    expected = sums_and_gradient(arguments, terms)
    other = {**arguments, "target": arguments["target"].bool()}
    torch.testing.assert_close(sums_and_gradient(other, terms), expected)


def test_a_label_that_is_no_class_belongs_to_none() -> None:
    for dtype in (torch.long, torch.float32):
        arguments = here("softmax", "index", torch.float32)
        labels = arguments["target"].to(dtype)
        labels[:, :, 1] = 5
        labels[:, :, 2] = -1
        labels[0, :, 2] = torch.nan if dtype == torch.float32 else -(2**62)
        labels[:, :, 0, 0] = 2**32 + 1 if dtype == torch.long else 1.5
        assert_equal_to_reference({**arguments, "target": labels}, (*COMMON, "tt", *MAPPED))


def test_a_narrow_label_of_many_classes() -> None:
    """The number of classes may exceed what the dtype of the labels holds."""
    arguments = here("softmax", "index", torch.float32, shape=(1, 300, 1, 2, 3))
    arguments["target"] = arguments["target"] % 100 - 1
    for dtype in (torch.uint8, torch.int8):
        other = {**arguments, "target": arguments["target"].to(dtype)}
        assert_equal_to_reference(other, ("tp", "t", "p"))


def test_not_a_number_comes_out() -> None:
    arguments = here("softmax", "index", torch.float32, masked=False)
    arguments["input"][1, 2, 0, 0, 0] = torch.nan
    values, gradient = sums_and_gradient(arguments, ("tp", "p", "ce"))
    assert values[1, 1].isnan().all()
    assert not values[0].isnan().any()
    assert gradient[1, :, 0, 0, 0].isnan().all()
    assert gradient.isnan().sum() == 5


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "probabilities"])
@pytest.mark.parametrize("garbage", [torch.nan, torch.inf, -torch.inf] if FULL else [torch.nan])
def test_a_voxel_of_weight_0_has_no_influence(activation: str, garbage: float) -> None:
    arguments = here(activation, "index", torch.float32)
    arguments["mask"][0, :, 0, 0, :9] = 0
    expected = sums_and_gradient(arguments, SMOOTH)
    other = arguments["input"].clone()
    other[0, 1:, 0, 0, :9] = garbage
    found = sums_and_gradient({**arguments, "input": other}, SMOOTH)
    torch.testing.assert_close(found, expected)
    assert (found[1][0, :, 0, 0, :9] == 0).all()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_huge_logits_stay_finite(activation: str) -> None:
    arguments = here(activation, "index", torch.float32)
    arguments["input"] *= 1e4
    values, gradient = sums_and_gradient(arguments, ALL_TERMS)
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    assert_equal_to_reference(arguments, ("tp", "p", "ce", "nlog"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_several_maps_and_exponents_at_once(dtype: torch.dtype) -> None:
    arguments = here("softmax", "index", torch.float32)
    m = (100 * arguments["maps"]["m"]).to(dtype)
    arguments["maps"] = {"m": m, "half": (m / 2).to(dtype)}
    terms = (Term("map", map="half"), Term("focal", 1.0), Term("map", map="m"), Term("focal", 3.0))
    s = class_sums(**arguments, terms=terms)
    torch.testing.assert_close(s["map", "m"], 2 * s["map", "half"], rtol=1e-4, atol=1e-2)
    assert_equal_to_reference(arguments, terms)


@pytest.mark.parametrize("gap", [5.0, 30.0, 60.0])
def test_a_sure_mistake_is_noticed(gap: float) -> None:
    arguments = here("softmax", "one-hot", torch.float32, shape=(1, 4, *SMALL), masked=False)
    arguments["input"][:, 2] += gap
    arguments["target"].zero_()
    for terms in (("ce_neg",), (Term("focal_neg", 2.0), "ce_neg", "tp", "p")):
        assert_equal_to_reference(arguments, terms, rtol=1e-6, gradient_tol=1e-5)
    _, gradient = sums_and_gradient(arguments, ("ce_neg",))
    assert gap < 30 or gradient[:, 2].abs().min() > 0.01


def test_terms_without_the_probability_have_no_slope() -> None:
    _, gradient = sums_and_gradient(here("softmax", "index", torch.float32), ("t", "v"))
    assert (gradient == 0).all()


def test_the_fastest_tile_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setenv(tiles.VARIABLE, "tune")
    monkeypatch.setattr(tiles, "_FASTEST", {})
    monkeypatch.setattr(tiles, "candidates", lambda load: [Tile(4, 128, 1, 1), Tile(8, 64, 1, 1)])
    monkeypatch.setattr(
        triton.testing, "do_bench", lambda launch: tried.append(launch()) or -len(tried)
    )
    arguments = here("softmax", "index", torch.float32)
    for _ in range(2):
        class_sums(**arguments, terms=("p",))
    assert len(tried) == 2
    assert list(tiles._FASTEST.values()) == [Tile(8, 64, 1, 1)]


@only_cuda
def test_the_same_bits_every_time_and_on_every_stream() -> None:
    arguments = here("softmax", "index", torch.float32, shape=(2, 14, 40, 41, 43))
    expected = sums_and_gradient(arguments, COMMON)
    for _ in range(3):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            found = sums_and_gradient(arguments, COMMON)
        torch.cuda.current_stream().wait_stream(stream)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)


@only_cuda
def test_in_a_cuda_graph() -> None:
    arguments = here("softmax", "index", torch.float32)
    z = arguments["input"].requires_grad_()

    def step() -> tuple[Tensor, Tensor]:
        values = class_sums(**arguments, terms=COMMON).values
        return values, torch.autograd.grad(values.sum(), z)[0]

    step()  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    with torch.no_grad():
        z.copy_(z.flip(-1))
    graph.replay()
    for one, other in zip(found, step(), strict=True):
        assert torch.equal(one, other)


@only_cuda
def test_compiled_and_under_autocast() -> None:
    arguments = here("softmax", "index", torch.float32)

    def values(z: Tensor) -> Tensor:
        return class_sums(**{**arguments, "input": z}, terms=COMMON).values

    expected = values(arguments["input"])
    assert torch.equal(torch.compile(values, fullgraph=True)(arguments["input"]), expected)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert torch.equal(values(arguments["input"]), expected)


@only_cuda
def test_more_elements_than_32_bits_count() -> None:
    if torch.cuda.mem_get_info()[0] < 24e9:
        pytest.skip("too little memory")
    z = torch.zeros(1, 3, 720, 1024, 1024, dtype=torch.bfloat16, device="cuda")  # 2.3e9
    y = torch.zeros(1, 1, 720, 1024, 1024, dtype=torch.uint8, device="cuda")
    z[0, 2, -1, -1] = 5
    y[0, 0, -1, -1] = 2
    z.requires_grad_()
    s = class_sums(z, y, ("tp", "t", "p"), activation="softmax")
    assert s.t.tolist() == [[720 * 1024**2 - 1024, 0, 1024]]
    p = torch.tensor([0.0, 0, 5]).softmax(0)
    torch.testing.assert_close(s.tp[0, 2].item(), 1024 * p[2].item(), rtol=1e-5, atol=0)
    s.tp[0, 2].backward()
    expected = (p[2] * (torch.tensor([0.0, 0, 1]) - p)).bfloat16()
    torch.testing.assert_close(z.grad[0, :, -1, -1, -1].cpu(), expected)
    assert (z.grad[0, :, :-1] == 0).all()


@only_cuda
def test_memory_is_that_of_the_gradient() -> None:
    z = torch.randn(1, 32, 64, 64, 64, device="cuda", requires_grad=True)
    y = torch.randint(0, 32, (1, 1, 64, 64, 64), device="cuda")
    class_sums(z, y, COMMON, activation="softmax").values.sum().backward()
    z.grad = None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    class_sums(z, y, COMMON, activation="softmax").values.sum().backward()
    assert torch.cuda.max_memory_allocated() - before < 1.1 * z.numel() * 4


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("classes", "dtype"), [(2, torch.float64), (20, torch.float32)])
def test_log_p_of_the_true_class(classes: int, dtype: torch.dtype, masked: bool) -> None:
    errors_of_log_p(classes, dtype, masked=masked, device=DEVICE)
