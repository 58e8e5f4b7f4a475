"""What only a GPU can show: each a function that raises, for pytest and for a bare machine.

Nothing waits for the device, graphs record whole losses, side streams and deterministic algorithms
are kept to, offsets exceed 32 bits, and the kernels give the numbers of the CPU where their
machine code depends on layout and size. ``test_on_a_gpu.py`` runs all of it under pytest,
``docs/examples/on_a_gpu.py`` without; what needs no CUDA device can be interpreted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor

import medloss
from medloss.histograms import error_histograms
from medloss.sums import chosen_backend, class_sums

SPACE = (24, 20, 18)
LOSSES: dict[str, dict[str, Any]] = {
    "dice_ce": {"softmax": True},
    "dice_focal": {"softmax": True, "weight": [0.2, 1.0, 2.0]},
    "bce_dice": {"sigmoid": True},
    "lovasz_softmax": {"softmax": True, "method": "histogram"},
    "topk_cross_entropy": {"softmax": True},
    "boundary": {"softmax": True},
}
Check = tuple[str, Callable[[], object]]


def checks(device: str) -> Iterator[Check]:
    """Names and functions; without CUDA those that need no more than the kernels."""
    space = SPACE if device == "cuda" else (4, 3, 5)
    for name in LOSSES:
        yield f"{name} equals the CPU", partial(equals_the_cpu, name, device, space)
    for cut in VIEWS:
        yield f"views, {cut}", partial(views_and_odd_sizes, cut, device)
    for activation in ("softmax", "sigmoid", "probabilities"):
        yield f"a NaN comes out, {activation}", partial(a_nan_comes_out, activation, device, space)
    if device != "cuda":
        return
    yield "the kernels are chosen", the_kernels_are_chosen
    for name in LOSSES:
        for check in OF_EACH_LOSS:
            yield f"{name}: {check.__name__.replace('_', ' ')}", partial(check, name)
    for name in ("dice_ce", "dice_focal"):
        yield f"{name} compiled", partial(a_compiled_loss_has_the_same_numbers, name)
    yield "late checks", a_label_out_of_range_is_told_later
    for classes, features in ((105, 32), (105, 64), (64, 128), (14, 256), (5, 3)):
        for bias in (True, False):
            words = f"head, {classes} classes, {features} features, bias {bias}"
            yield words, partial(a_head_of_any_size, classes, features, bias)
    yield "offsets beyond 32 bits", offsets_beyond_32_bits_and_the_last_voxel
    yield "histograms of background", histograms_of_mostly_background


def case(
    name: str, device: str = "cuda", space: tuple[int, ...] = SPACE
) -> tuple[Any, Tensor, Any]:
    """A loss on the device, logits and labels."""
    torch.manual_seed(0)
    loss = medloss.loss(name, **LOSSES[name]).to(device)
    z = (2 * torch.randn(2, 3, *space)).to(device).requires_grad_()
    label = torch.randint(0, 3, (2, 1, *space)).to(device)
    if LOSSES[name].get("sigmoid"):
        label = (label == torch.arange(3, device=device).view(1, 3, 1, 1, 1)).float()
    return loss, z, {"label": label, "spacing_mm": (1.0, 1.0, 2.5)} if name == "boundary" else label


def step(name: str, *, given: Any = None) -> tuple[Tensor, Tensor]:
    """Value and gradient."""
    loss, z, label = given or case(name)
    value = loss(z, label)
    return value.detach(), torch.autograd.grad(value, z)[0]


def equals_the_cpu(name: str, device: str, space: tuple[int, ...]) -> None:
    """Value and gradient, beside plain torch in float64."""
    found = tuple(each.cpu() for each in step(name, given=case(name, device, space)))
    loss, z, label = case(name, "cpu", space)
    plain = {"MEDLOSS_BACKEND": "reference", "MEDLOSS_DISTANCE_BACKEND": "torch"}
    with mock.patch.dict(os.environ, plain):
        exact = step(name, given=(loss, z.detach().double().requires_grad_(), label))
    for mine, true in zip(found, exact, strict=True):
        torch.testing.assert_close(mine.double(), true, rtol=2e-5, atol=1e-7)


@contextmanager
def no_waiting() -> Iterator[None]:
    """Within, a call that waits for the device raises."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def the_kernels_are_chosen() -> None:
    """On a device that has triton."""
    found = chosen_backend(torch.zeros(1, 2, 8, 8, device="cuda"))
    if found.name != "triton":
        raise ValueError(f"expected triton, got {found}")


def nothing_waits_for_the_device(name: str) -> None:
    """Forward or backward, after a call that compiled, and found spacings."""
    given = case(name)
    step(name, given=given)
    with no_waiting():
        step(name, given=given)


def a_graph_records_it(name: str) -> None:
    """Forward and backward; it is played on other numbers."""
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


def a_side_stream_has_the_same_numbers(name: str) -> None:
    """As the current one."""
    given = case(name)
    expected, stream = step(name, given=given), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = step(name, given=given)
    torch.cuda.current_stream().wait_stream(stream)
    torch.testing.assert_close(found, expected)


def deterministic_algorithms_give_the_same_bits(name: str) -> None:
    """And raise nowhere."""
    given = case(name)
    torch.use_deterministic_algorithms(True)
    try:
        first, again = step(name, given=given), step(name, given=given)
    finally:
        torch.use_deterministic_algorithms(False)
    if not all(map(torch.equal, first, again)):
        raise ValueError(f"{name}: other bits the second time")


def autocast_changes_nothing(name: str) -> None:
    """Whatever its dtype."""
    given = case(name)
    expected = step(name, given=given)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cuda", dtype=dtype):
            torch.testing.assert_close(step(name, given=given), expected)


OF_EACH_LOSS = (
    nothing_waits_for_the_device,
    a_graph_records_it,
    a_side_stream_has_the_same_numbers,
    deterministic_algorithms_give_the_same_bits,
    autocast_changes_nothing,
)


def a_compiled_loss_has_the_same_numbers(name: str) -> None:
    """In one graph, forward and backward."""
    loss, z, label = case(name)
    expected = step(name, given=(loss, z, label))
    found = step(name, given=(torch.compile(loss, fullgraph=True), z, label))
    torch.testing.assert_close(found, expected)


def a_label_out_of_range_is_told_later() -> None:
    """By a later call, so that none waits."""
    given = case("dice_ce")
    step("dice_ce", given=given)
    medloss.finish_value_checks()
    given[2][0, 0, 0, 0, 0] = 7
    with no_waiting():
        step("dice_ce", given=given)
    try:
        medloss.finish_value_checks()
    except ValueError as error:
        if "in an earlier call" not in str(error):
            raise
    else:
        raise ValueError("a label of 7 in 3 classes was not told")


def a_head_of_any_size(classes: int, features: int, bias: bool) -> None:
    """Beside the convolution and the loss, in float64."""
    torch.manual_seed(0)
    convolution = torch.nn.Conv3d(features, classes, 1, bias=bias)
    loss = medloss.loss("dice_ce", softmax=True)
    h, y = torch.randn(1, features, 9, 8, 7), torch.randint(0, classes, (1, 1, 9, 8, 7))
    results: list[list[Any]] = []
    for fused, dtype in ((True, torch.float32), (False, torch.float64)):
        layer = torch.nn.Conv3d(features, classes, 1, bias=bias).to(dtype)
        layer.load_state_dict(convolution.state_dict())
        leaf = h.to("cuda", dtype).detach().requires_grad_()
        layer = layer.cuda()
        head = medloss.FusedHead(layer, loss)
        value = head.loss(leaf, y.cuda()) if fused else loss(layer(leaf), y.cuda())
        value.backward()
        results.append([value.detach(), leaf.grad, layer.weight.grad])
    for mine, exact in zip(*results, strict=True):
        torch.testing.assert_close((mine - exact).norm() / exact.norm(), 0 * exact.norm(),
                                   rtol=0, atol=2e-5)  # fmt: skip


def offsets_beyond_32_bits_and_the_last_voxel() -> None:
    """2.4e9 elements."""
    if torch.cuda.mem_get_info()[0] < 24e9:
        raise MemoryError("it takes 24 GB of free memory")
    z = torch.zeros(2, 105, 224, 224, 224, dtype=torch.bfloat16, device="cuda")
    y = torch.zeros(2, 1, 224, 224, 224, dtype=torch.uint8, device="cuda")
    z[-1, 104, -1, -1, -1] = 9
    y[-1, 0, -1, -1, -1] = 104
    z.requires_grad_()
    s = class_sums(z, y, ("tp", "t"), activation="softmax")
    torch.testing.assert_close(s.t[1, 104].item(), 1.0)
    p = torch.tensor([0.0] * 104 + [9]).softmax(0)
    torch.testing.assert_close(s.tp[1, 104].item(), p[104].item(), rtol=1e-5, atol=0)
    s.tp[1, 104].backward()
    slope = z.grad
    if slope is None:
        raise ValueError("no gradient")
    expected = (p[104] * (torch.eye(105)[104] - p)).bfloat16()
    torch.testing.assert_close(slope[-1, :, -1, -1, -1].cpu(), expected)
    torch.testing.assert_close(slope[0].count_nonzero().item(), 0)


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "channel": lambda t: t[:, 1:],
    "last": lambda t: t[:, 1:, ..., 1:],
    "odd": lambda t: t[:, 1:, 1:, 1:].contiguous(),
    "channels last": lambda t: t[:, 1:].contiguous(memory_format=torch.channels_last_3d),
}


def views_and_odd_sizes(cut: str, device: str) -> None:
    """Beside the same numbers on the CPU, in float64."""
    torch.manual_seed(0)
    space = (9, 8, 7) if device == "cuda" else (4, 3, 5)
    z, y = torch.randn(2, 6, *space), torch.randint(0, 5, (2, 1, *space))
    logits = VIEWS[cut](z)
    label = y[..., -logits.shape[2] :, -logits.shape[3] :, -logits.shape[4] :]
    loss = medloss.loss("dice_ce", softmax=True)
    found = loss(VIEWS[cut](z.to(device)), label.to(device))
    with mock.patch.dict(os.environ, {"MEDLOSS_BACKEND": "reference"}):
        exact = loss(logits.contiguous().double(), label.contiguous())
    torch.testing.assert_close(found.cpu().double(), exact, rtol=1e-6, atol=0)


def a_nan_comes_out(activation: Any, device: str, space: tuple[int, ...]) -> None:
    """Of the sums, the histograms and the gradient, of that sample alone."""
    z = torch.rand(2, 3, *space).to(device)
    z[1, 2, 0, 0, 0] = torch.nan
    y = torch.randint(0, 3, (2, 1, *space)).to(device)
    leaf = z.requires_grad_()
    values = class_sums(leaf, y, ("tp", "p", "ce"), activation=activation).values
    counts = error_histograms(leaf, y, activation=activation, bins=64)
    (slope,) = torch.autograd.grad(values.sum(), leaf)
    wrong = [found[0].isnan().any().item() for found in (values[:, 1], counts, slope)]
    right = [values[1, 1, 2], counts[1, 2].sum(), slope[1, 2, 0, 0, 0]]
    if any(wrong) or not all(each.isnan().item() for each in right):
        raise ValueError(f"NaN in another sample: {wrong}; in its own: {right}")


def histograms_of_mostly_background() -> None:
    """Where most voxels are in few cells."""
    torch.manual_seed(0)
    y = (torch.rand(1, 1, 64, 64, 64) > 0.99).long()
    z = torch.cat([6.0 - 9 * y, -6.0 + 9 * y], 1) + torch.randn(1, 2, 64, 64, 64)
    found = error_histograms(z.cuda(), y.cuda(), activation="softmax")
    with mock.patch.dict(os.environ, {"MEDLOSS_BACKEND": "reference"}):
        expected = error_histograms(z.double(), y, activation="softmax")
    torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-5, atol=1e-2)
