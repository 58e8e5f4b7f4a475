"""Labels of every dtype, numbers to ignore that a dtype cannot hold, and when all is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import medloss
from medloss.sums.cpu.stored import bounds

DTYPES = [
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float16,
    torch.bfloat16,
    torch.float64,
]
SENTINELS = (-100, 255, 256, -999, 2049, 2**40)


def scene() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, 5, 4, 6, generator=generator)
    return z, torch.randint(0, 3, (2, 1, 5, 4, 6), generator=generator)


@pytest.fixture(autouse=True)
def default_checks() -> Iterator[None]:
    yield
    medloss.set_value_checks("off")  # so that nothing late is left
    medloss.set_value_checks(None)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sentinel_that_the_dtype_cannot_hold_is_nowhere(dtype: torch.dtype) -> None:
    z, y = scene()
    expected = medloss.loss("dice_ce", softmax=True)(z, y)
    for sentinel in (None, *SENTINELS):
        loss = medloss.loss("dice_ce", softmax=True, ignore_index=sentinel)
        torch.testing.assert_close(loss(z, y.to(dtype)), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint64, torch.float16])
def test_a_sentinel_that_it_holds_is_ignored(dtype: torch.dtype) -> None:
    z, y = scene()
    y[:, :, :2] = 255
    expected = medloss.loss("dice_ce", softmax=True)(z[:, :, 2:], y[:, :, 2:])
    loss = medloss.loss("dice_ce", softmax=True, ignore_index=255)
    torch.testing.assert_close(loss(z, y.to(dtype)), expected)
    highest = y.numpy().astype(np.uint64)
    highest[highest == 255] = 2**64 - 1
    loss = medloss.loss("dice_ce", softmax=True, ignore_index=2**64 - 1)
    torch.testing.assert_close(loss(z, torch.from_numpy(highest)), expected)


def test_labels_that_are_all_25_are_not_those_of_minus_999() -> None:
    z, _ = scene()
    label = torch.full((2, 1, 5, 4, 6), 25, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"target: .*got 25 to 25"):
        medloss.loss("dice", softmax=True, ignore_index=-999)(z, label)


def test_sentinels_and_dtypes_in_deep_supervision() -> None:
    z, y = scene()
    outputs = [z, z[:, :, ::2, ::2, ::2].contiguous()]
    expected = medloss.loss("deep_supervision", softmax=True)(outputs, y)
    for dtype in (torch.uint8, torch.uint16, torch.uint64, torch.float32):
        for sentinel in (-100, 256):
            loss = medloss.loss("deep_supervision", softmax=True, ignore_index=sentinel)
            torch.testing.assert_close(loss(outputs, y.to(dtype)), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint64, torch.float16])
def test_sentinels_and_dtypes_in_metrics(dtype: torch.dtype) -> None:
    _, y = scene()
    y_pred = y.roll(1, 2)
    expected = medloss.metrics.DiceMetric(num_classes=3)(y_pred, y)
    for sentinel in (None, -100, 256, 2049):
        metric = medloss.metrics.DiceMetric(num_classes=3, ignore_index=sentinel)
        assert torch.equal(metric(y_pred.to(dtype), y.to(dtype)), expected)
    with pytest.raises(ValueError, match=r"mask: .*NaN"):
        metric(y_pred, y, mask=torch.full_like(y[:, :1], torch.nan, dtype=torch.float32))


def test_the_largest_labels_of_64_bits_are_an_error_in_words() -> None:
    z, y = scene()
    label = y.numpy().astype(np.uint64)
    label[0, 0, 0, 0, 0] = 2**63 + 5
    with pytest.raises(ValueError, match=r"target: .*2\*\*63 or more"):
        medloss.loss("dice", softmax=True)(z, torch.from_numpy(label))


OUT_OF_RANGE: list[tuple[torch.dtype, float]] = [
    (torch.int16, 257),
    (torch.int16, -1),
    (torch.int32, 65536),
    (torch.int64, 257),
    (torch.uint8, 255),
    (torch.float32, 257.0),
    (torch.float32, 1.5),
]


@pytest.mark.parametrize(("dtype", "label"), OUT_OF_RANGE)
def test_unchecked_labels_out_of_range_belong_to_no_class(dtype: torch.dtype, label: float) -> None:
    z, y = scene()
    one_hot = torch.nn.functional.one_hot(y[:, 0], 3).movedim(-1, 1).float()
    given = y.to(dtype)
    given[0, 0, 0], one_hot[0, :, 0] = label, 0
    with pytest.raises(ValueError, match="target: expected"):
        medloss.loss("dice", softmax=True)(z, given)
    medloss.set_value_checks("off")
    for name in ("dice", "lovasz_softmax", "generalized_wasserstein_dice", "boundary_dou"):
        loss = medloss.loss(name, softmax=True)
        torch.testing.assert_close(loss(z, given), loss(z, one_hot))
    single = medloss.loss("dice", sigmoid=True)
    if not dtype.is_floating_point:
        torch.testing.assert_close(single(z[:, :1], given), single(z[:, :1], (given == 1).float()))


def test_partial_labels_out_of_range_read_nothing_outside() -> None:
    z, y = scene()
    present = torch.tensor([[1, 1, 0], [1, 1, 1]])
    medloss.set_value_checks("off")
    loss = medloss.loss("marginal", loss="dice", softmax=True)
    given = [y.clone(), y.clone()]
    given[0][0, 0, 0], given[1][0, 0, 0] = 2**40, -7
    assert torch.equal(loss(z, given[0], present=present), loss(z, given[1], present=present))


def test_compiled_losses_do_not_wrap_labels() -> None:
    z, y = scene()
    label = y.to(torch.int16)
    label[0, 0, 0] = 257
    loss = medloss.loss("dice", softmax=True)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    medloss.set_value_checks("off")
    torch.testing.assert_close(compiled(z, label), loss(z, label))
    assert not torch.allclose(loss(z, label), loss(z, label.clamp(max=1)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda z, y: ({"softmax": True}, z, {"label": y + 1}), "target: .*1 to 3"),
        (lambda z, y: ({"softmax": True}, z, {"label": y, "mask": y}), "mask: "),
        (lambda z, y: ({}, z, {"label": y}), "softmax=True"),
        (lambda z, y: ({"softmax": True}, z, {"label": y * 0.5}), "fractions"),
        (
            lambda z, y: ({"softmax": True}, z, {"label": y, "present": [[1, 1, 2], [1, 1, 1]]}),
            "present: ",
        ),
    ],
)
def test_late_checks_raise_at_a_later_call(change: Any, words: str) -> None:
    z, y = scene()
    options, input, target = change(z, y)
    loss = medloss.loss("dice", **options)
    medloss.set_value_checks("late")
    loss(input, target)
    with pytest.raises(ValueError, match=f"{words}.*earlier call"):
        medloss.loss("dice", softmax=True)(z, y)
    medloss.loss("dice", softmax=True)(z, y)  # said once
    loss(input, target)
    with pytest.raises(ValueError, match=words):
        medloss.finish_value_checks()
    medloss.set_value_checks("sync")
    with pytest.raises(ValueError, match=words):
        loss(input, target)


def test_the_environment_says_when_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y = scene()
    loss = medloss.loss("dice", softmax=True)
    monkeypatch.setenv("MEDLOSS_CHECKS", "off")
    loss(z, y + 1)
    medloss.set_value_checks("sync")  # outranks it
    with pytest.raises(ValueError, match="target: expected"):
        loss(z, y + 1)
    medloss.set_value_checks(None)
    monkeypatch.setenv("MEDLOSS_CHECKS", "never")
    with pytest.raises(ValueError, match="MEDLOSS_CHECKS: expected one of sync, late, off"):
        loss(z, y)
    with pytest.raises(ValueError, match="mode: expected one of"):
        medloss.set_value_checks("never")


def test_all_bounds_are_fetched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y = scene()
    fetched: list[int] = []
    tolist = Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda self: fetched.append(1) or tolist(self))
    monkeypatch.setattr(Tensor, "item", lambda self: pytest.fail("a wait of its own"))
    loss = medloss.loss("dice")
    loss(z.softmax(1), y.float(), mask=torch.ones(2, 1, 5, 4, 6))
    assert len(fetched) == 1


def test_bounds_of_64_bit_integers() -> None:
    generator = torch.Generator().manual_seed(1)
    for shape in ((1,), (3, 5), (2, 1, 17, 9)):
        values = torch.randint(-(2**62), 2**62, shape, generator=generator)
        low, high = bounds(values)
        assert (low, high) == (values.min(), values.max())
