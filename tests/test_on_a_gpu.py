"""What only a GPU can show, in a few minutes; :mod:`docs/engine.md` has the command.

Nothing waits for the device, graphs record whole losses, side streams and deterministic algorithms
are kept to, offsets exceed 32 bits, and the kernels give the numbers of the CPU where their
machine code depends on layout and size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import medloss
from medloss.histograms import error_histograms
from medloss.sums import chosen_backend, class_sums

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
SPACE = (24, 20, 18)
LOSSES: dict[str, dict[str, Any]] = {
    "dice_ce": {"softmax": True},
    "dice_focal": {"softmax": True, "weight": [0.2, 1.0, 2.0]},
    "bce_dice": {"sigmoid": True},
    "lovasz_softmax": {"softmax": True, "method": "histogram"},
    "topk_cross_entropy": {"softmax": True},
    "boundary": {"softmax": True},
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def case(name: str, space: tuple[int, ...] = SPACE) -> tuple[Any, Tensor, Any]:
    """A loss on the device, logits and labels."""
    torch.manual_seed(0)
    loss = medloss.loss(name, **LOSSES[name]).cuda()
    z = (2 * torch.randn(2, 3, *space)).cuda().requires_grad_()
    label = torch.randint(0, 3, (2, 1, *space)).cuda()
    if LOSSES[name].get("sigmoid"):
        label = (label == torch.arange(3, device="cuda").view(1, 3, 1, 1, 1)).float()
    return loss, z, {"label": label, "spacing_mm": (1.0, 1.0, 2.5)} if name == "boundary" else label


def step(name: str, *, given: Any = None) -> tuple[Tensor, Tensor]:
    """Value and gradient."""
    loss, z, label = given or case(name)
    value = loss(z, label)
    return value.detach(), torch.autograd.grad(value, z)[0]


def on_cpu(name: str) -> tuple[Tensor, Tensor]:
    """The same by the backends of the CPU."""
    loss, z, label = case(name)
    bring: Callable[[Any], Any] = lambda t: t.cpu() if isinstance(t, Tensor) else t  # noqa: E731
    target = {k: bring(v) for k, v in label.items()} if isinstance(label, dict) else bring(label)
    return step(name, given=(loss.cpu(), z.detach().cpu().requires_grad_(), target))


@pytest.fixture
def no_waiting() -> Iterator[None]:
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


def test_the_kernels_are_chosen() -> None:
    assert chosen_backend(torch.zeros(1, 2, 8, 8, device="cuda")).name == "triton"


@every_loss
def test_equals_the_cpu(name: str) -> None:
    found = tuple(each.cpu() for each in step(name))
    torch.testing.assert_close(found, on_cpu(name), rtol=2e-5, atol=1e-7)


@every_loss
def test_nothing_waits_for_the_device(name: str, request: pytest.FixtureRequest) -> None:
    given = case(name)
    step(name, given=given)  # compiles, and finds spacings
    request.getfixturevalue("no_waiting")
    step(name, given=given)


@every_loss
def test_a_cuda_graph_records_a_loss(name: str) -> None:
    given = case(name)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            step(name, given=given)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step(name, given=given)
    with torch.no_grad():
        given[1].copy_(given[1].flip(2))
    graph.replay()
    torch.testing.assert_close(found, step(name, given=given))


@every_loss
def test_a_side_stream_has_the_same_numbers(name: str) -> None:
    given = case(name)
    expected, stream = step(name, given=given), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = step(name, given=given)
    torch.cuda.current_stream().wait_stream(stream)
    torch.testing.assert_close(found, expected)


@every_loss
def test_deterministic_algorithms_give_the_same_bits(name: str) -> None:
    given = case(name)
    torch.use_deterministic_algorithms(True)
    try:
        first, again = step(name, given=given), step(name, given=given)
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)


def test_a_compiled_loss_has_the_same_numbers() -> None:
    loss, z, label = case("dice_ce")
    found = torch.compile(loss, fullgraph=True)(z, label)
    torch.testing.assert_close(found, loss(z, label))


@every_loss
def test_autocast_changes_nothing(name: str) -> None:
    given = case(name)
    expected = step(name, given=given)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cuda", dtype=dtype):
            torch.testing.assert_close(step(name, given=given), expected)


def test_a_label_out_of_range_is_told_later(request: pytest.FixtureRequest) -> None:
    given = case("dice_ce")
    step("dice_ce", given=given)
    medloss.finish_value_checks()
    given[2][0, 0, 0, 0, 0] = 7
    request.getfixturevalue("no_waiting")
    step("dice_ce", given=given)
    torch.cuda.set_sync_debug_mode("default")
    with pytest.raises(ValueError, match="in an earlier call"):
        medloss.finish_value_checks()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("classes", "features"), [(105, 32), (105, 64), (64, 128), (5, 3)])
def test_a_head_of_any_size(classes: int, features: int, bias: bool) -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv3d(features, classes, 1, bias=bias)
    loss = medloss.loss("dice_ce", softmax=True)
    h, y = torch.randn(1, features, 9, 8, 7), torch.randint(0, classes, (1, 1, 9, 8, 7))
    results = []
    for fused, dtype in ((True, torch.float32), (False, torch.float64)):
        layer = torch.nn.Conv3d(features, classes, 1, bias=bias).to(dtype)
        layer.load_state_dict(convolution.state_dict())
        leaf = h.to("cuda", dtype).detach().requires_grad_()
        layer = layer.cuda()
        value = (
            medloss.FusedHead(layer, loss).loss(leaf, y.cuda())
            if fused
            else loss(layer(leaf), y.cuda())
        )
        value.backward()
        results.append([value.detach(), leaf.grad, layer.weight.grad])
    for mine, exact in zip(*results, strict=True):
        assert (mine - exact).norm() < 2e-5 * exact.norm()


def test_offsets_beyond_32_bits_and_the_last_voxel() -> None:
    if torch.cuda.mem_get_info()[0] < 24e9:
        pytest.skip("too little memory")
    z = torch.zeros(2, 105, 224, 224, 224, dtype=torch.bfloat16, device="cuda")  # 2.4e9 elements
    y = torch.zeros(2, 1, 224, 224, 224, dtype=torch.uint8, device="cuda")
    z[-1, 104, -1, -1, -1] = 9
    y[-1, 0, -1, -1, -1] = 104
    z.requires_grad_()
    s = class_sums(z, y, ("tp", "t"), activation="softmax")
    assert s.t[1, 104].item() == 1
    p = torch.tensor([0.0] * 104 + [9]).softmax(0)
    torch.testing.assert_close(s.tp[1, 104].item(), p[104].item(), rtol=1e-5, atol=0)
    s.tp[1, 104].backward()
    assert z.grad is not None
    expected = (p[104] * (torch.eye(105)[104] - p)).bfloat16()
    torch.testing.assert_close(z.grad[-1, :, -1, -1, -1].cpu(), expected)
    assert z.grad[0].count_nonzero() == 0


@pytest.mark.parametrize("cut", ["channel", "last", "odd", "channels last"])
def test_views_and_odd_sizes(cut: str) -> None:
    torch.manual_seed(0)
    z, y = torch.randn(2, 6, 9, 8, 7), torch.randint(0, 5, (2, 1, 9, 8, 7))
    views: dict[str, Callable[[Tensor], Tensor]] = {
        "channel": lambda t: t[:, 1:],
        "last": lambda t: t[:, 1:, ..., 1:],
        "odd": lambda t: t[:, 1:, 1:, 1:].contiguous(),
        "channels last": lambda t: t[:, 1:].contiguous(memory_format=torch.channels_last_3d),
    }
    logits = views[cut](z)
    label = y[..., -logits.shape[2] :, -logits.shape[3] :, -logits.shape[4] :]
    loss = medloss.loss("dice_ce", softmax=True)
    found = loss(views[cut](z.cuda()), label.cuda())
    torch.testing.assert_close(found.cpu(), loss(logits.contiguous(), label.contiguous()))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "probabilities"])
def test_a_nan_comes_out(activation: Any) -> None:
    z = torch.rand(2, 3, *SPACE, device="cuda")
    z[1, 2, 0, 0, 0] = torch.nan
    y = torch.randint(0, 3, (2, 1, *SPACE), device="cuda")
    leaf = z.requires_grad_()
    values = class_sums(leaf, y, ("tp", "p", "ce"), activation=activation).values
    counts = error_histograms(leaf, y, activation=activation, bins=64)
    for found in (values[:, 1], counts.flatten(2).sum(2)):
        assert not found[0].isnan().any()
        assert found[1, 2].isnan()
    (slope,) = torch.autograd.grad(values.sum(), leaf)
    assert slope[1, 2, 0, 0, 0].isnan()
    assert not slope[0].isnan().any()


def test_histograms_of_mostly_background() -> None:
    torch.manual_seed(0)
    y = (torch.rand(1, 1, 64, 64, 64) > 0.99).long()
    z = torch.cat([6.0 - 9 * y, -6.0 + 9 * y], 1) + torch.randn(1, 2, 64, 64, 64)
    found = error_histograms(z.cuda(), y.cuda(), activation="softmax")
    expected = error_histograms(z, y, activation="softmax")
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-2)
