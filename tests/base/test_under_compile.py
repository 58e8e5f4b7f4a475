"""``torch.compile``: one graph for a whole step, whatever the spacing and the size of images."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from monai.data import MetaTensor
from torch import Tensor, nn
from torch._dynamo import config
from torch._dynamo.exc import Unsupported
from torch._dynamo.testing import CompileCounterWithBackend
from torch.autograd import forward_ad

import medloss
from medloss import Loss
from medloss.cli import main
from medloss.offers.host import host

SPACINGS = [(1 + k / 8, 2.5 - k / 16, 0.5 + k / 32) for k in range(14)]
LABELS = {
    torch.int8: -3,
    torch.int16: 257,
    torch.uint16: 65535,
    torch.int32: 256,
    torch.int64: 2**40,
}


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    yield
    torch.compiler.reset()


def scene(*shape: int, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2, classes, *shape, generator=generator)
    return z, torch.randint(0, classes, (2, 1, *shape), generator=generator)


def compiled(function: Any, backend: str = "eager", **how: Any) -> tuple[Any, Any]:
    counter = CompileCounterWithBackend(backend)
    return torch.compile(function, fullgraph=True, backend=counter, **how), counter


def answer(loss: Any, z: Any, *given: Any) -> list[Tensor]:
    leaves = [each.clone().requires_grad_() for each in (z if isinstance(z, list) else [z])]
    value = loss(leaves if isinstance(z, list) else leaves[0], *given)
    value.backward()
    return [value.detach(), *(leaf.grad for leaf in leaves)]


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        atol = 1e-6 * float(other.abs().max())
        torch.testing.assert_close(one, other, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("name", ["boundary", "shape_aware"])
def test_one_graph_serves_every_spacing(name: str) -> None:
    z, y = scene(4, 5, 6)
    loss = medloss.loss(name, softmax=True)
    in_a_tensor, counter = compiled(loss)
    as_numbers, of_numbers = compiled(loss)
    for row in SPACINGS:
        expected = loss(z, y, spacing_mm=(row, row[::-1]))
        rows = torch.tensor([row, row[::-1]])
        for target, extras in (({"label": y, "spacing_mm": rows}, {}), (y, {"spacing_mm": rows})):
            torch.testing.assert_close(in_a_tensor(z, target, **extras), expected)
        torch.testing.assert_close(as_numbers(z, y, spacing_mm=row), loss(z, y, spacing_mm=row))
    assert counter.frame_count == 2  # one a way to hand it over
    assert of_numbers.frame_count <= 3


@pytest.mark.parametrize(("name", "dynamic"), [("boundary", True), ("dice_ce", None)])
def test_three_graphs_serve_every_size(name: str, dynamic: bool | None) -> None:
    loss = medloss.loss(name, softmax=True)
    function, counter = compiled(loss, "aot_eager", dynamic=dynamic)
    for shape in ((16, 16), (32, 24), (24, 40), (64, 16), (17, 33)):
        z, y = scene(*shape)
        target = {"label": y, "spacing_mm": torch.tensor([1.0, 2.0])}
        assert_same(answer(function, z, target), answer(loss, z, target))
    assert counter.frame_count <= 3


@pytest.mark.parametrize("wrong", [[-1.0, 1.0], [float("nan"), 1.0], [1.0, 2.0, 3.0]])
def test_a_wrong_spacing_in_a_tensor_is_refused(wrong: list[float]) -> None:
    z, y = scene(4, 5)
    function, _ = compiled(medloss.loss("boundary", softmax=True))
    with pytest.raises(ValueError, match="spacing_mm: expected"):
        function(z, y, spacing_mm=torch.tensor(wrong))


def step(name: str, *, compile_it: bool) -> tuple[list[float], Tensor, int]:
    """Three steps of a network, and how many graphs they took."""
    torch.manual_seed(0)
    network, loss = nn.Conv2d(3, 3, 3, padding=1), medloss.loss(name, softmax=True)
    parameters = list(network.parameters())
    momenta = [torch.zeros_like(each) for each in parameters]

    def whole(image: Tensor, label: Tensor, spacing_mm: Tensor) -> Tensor:
        value = loss(network(image), {"label": label, "spacing_mm": spacing_mm})
        slopes = torch.autograd.grad(value, parameters)
        with torch.no_grad():
            torch._foreach_mul_(momenta, 0.9)
            torch._foreach_add_(momenta, slopes)
            torch._foreach_add_(parameters, momenta, alpha=-0.1)
        return value.detach()

    image, label = scene(6, 7)
    function, counter = compiled(whole, "aot_eager")
    values = []
    for k in range(3):
        steps = torch.tensor([[1.0 + k, 2.0]] * 2)
        values.append(float((function if compile_it else whole)(image, label, steps)))
    return values, network.weight.detach(), counter.frame_count


@pytest.mark.skipif(
    not hasattr(config, "trace_autograd_ops"), reason="this torch breaks graphs at autograd.grad"
)
@pytest.mark.parametrize("name", ["dice_ce", "boundary"])
def test_a_whole_training_step_is_one_graph(name: str) -> None:
    values, weight, _ = step(name, compile_it=False)
    with config.patch(trace_autograd_ops=True):
        found, moved, graphs = step(name, compile_it=True)
    assert graphs == 1
    assert found == pytest.approx(values, rel=1e-5)
    torch.testing.assert_close(moved, weight)


def test_transforms_and_tangents_inside_of_a_graph() -> None:
    z, y = scene(4, 5)
    loss = medloss.loss("dice_ce", softmax=True)
    expected = answer(loss, z, y)
    function, counter = compiled(torch.func.grad(lambda z: loss(z, y)), "aot_eager")
    assert_same([function(z)], expected[1:])
    assert counter.frame_count == 1

    def along(z: Tensor, tangent: Tensor) -> Tensor | None:
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(loss(forward_ad.make_dual(z, tangent), y)).tangent

    found = compiled(along)[0](z, z)
    torch.testing.assert_close(found, (expected[1] * z).sum())


def test_machine_code_of_sums_contours_and_levels() -> None:
    z, y = scene(8, 6)
    outputs = [z, z[:, :, ::2, ::2].contiguous()]
    parts = [
        medloss.loss("dice_ce", softmax=True),
        medloss.loss("shape_aware", softmax=True),
        medloss.loss("deep_supervision", loss="dice_ce", softmax=True),
    ]

    def every(outputs: list[Tensor], label: Tensor, steps: Tensor) -> Tensor:
        sums, distances, levels = parts
        target = {"label": label, "spacing_mm": steps}
        return sums(outputs[0], label) + distances(outputs[0], target) + levels(outputs, target)

    function, counter = compiled(every, "inductor")
    steps = torch.tensor([[1.0, 2.0], [0.5, 0.7]])
    assert_same(answer(function, outputs, y, steps), answer(every, outputs, y, steps))
    assert counter.frame_count == 1


def test_levels_and_moving_weights_need_no_new_graph() -> None:
    z, y = scene(8, 8)
    outputs = [z, z[:, :, ::2, ::2], z[:, :, ::4, ::4]]
    loss = medloss.loss(
        "deep_supervision",
        loss=medloss.loss(
            "compound",
            softmax=True,
            terms=["dice", "boundary"],
            weights=[1.0, {"schedule": "ramp", "end": 0.5, "steps": 4}],
        ),
    )
    function, counter = compiled(loss)
    for k in range(4):
        target = {"label": y, "spacing_mm": torch.tensor([1.0 + k, 2.0])}
        expected, told = loss(outputs, target), loss.breakdown()
        torch.testing.assert_close(function(outputs, target), expected)
        names = ["level_0/dice", "level_0/boundary", "level_1/dice", "level_2/dice"]
        assert list(loss.breakdown()) == names
        for name, term in loss.breakdown().items():
            assert (term.value, term.weight) == pytest.approx((told[name].value, told[name].weight))
        loss.step_schedule()
    assert counter.frame_count == 1


@pytest.mark.parametrize("dtype", LABELS, ids=str)
def test_labels_out_of_range_are_of_no_class(dtype: torch.dtype) -> None:
    z, y = scene(4, 5)
    y[0, 0, 0], y[1, 0, :, 0] = -7, -7
    wrong = torch.where(y == -7, LABELS[dtype], y).to(dtype)
    loss = medloss.loss("dice" if dtype != torch.int64 else "boundary", softmax=True)
    function, _ = compiled(loss)
    medloss.set_value_checks("off")
    try:
        expected = answer(loss, z, {"label": y, "spacing_mm": 1.0})
    finally:
        medloss.set_value_checks(None)
    assert_same(answer(function, z, {"label": wrong, "spacing_mm": 1.0}), expected)


def test_a_metatensor_breaks_the_graph_and_is_right() -> None:
    z, y = scene(4, 5)
    affine = torch.diag(torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64))
    label = MetaTensor(y, affine=affine)
    loss = medloss.loss("boundary", softmax=True)
    expected = loss(z, y, spacing_mm=(0.5, 2.0))
    torch.testing.assert_close(torch.compile(loss, backend="eager")(z, label), expected)
    with pytest.raises(Unsupported):
        compiled(loss)[0](z, label)


def test_losses_that_break_say_so() -> None:
    said = {o.record.name: o.record.breaks_graph for o in host().losses if o.record.breaks_graph}
    assert set(said) == {"surface_dice", "border_weighted_cross_entropy", "blob", "cc_dice_ce"}
    told = CliRunner().invoke(main, ["info", "surface_dice"]).output
    assert f"Under torch.compile  breaks: {said['surface_dice']}" in told
    assert "Under torch.compile  one graph" in CliRunner().invoke(main, ["info", "boundary"]).output
    with pytest.raises(ValueError, match="breaks_graph: expected the reason"):
        Loss(name="a", target="a:A", family="a", summary="A.", breaks_graph=True)  # type: ignore[arg-type]


def test_the_example_of_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs/torch-compile.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    names: dict[str, Any] = {}
    exec(textwrap.dedent("  " + code.lstrip()), names)
    assert names["network"].weight.grad.abs().sum() > 0
