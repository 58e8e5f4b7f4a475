"""What a MetaTensor still says of the size of a voxel, and who asks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from monai.transforms import EnsureChannelFirst, SqueezeDim
from torch import Tensor

import medloss
from medloss.base import LossInParts

ROWS = ((5.0, 1.0, 1.0), (1.0, 2.0, 3.0))


def affine(*sizes: float) -> Tensor:
    return torch.diag(torch.tensor([*sizes, 1.0], dtype=torch.float64))


def label(row: tuple[float, ...], seed: int = 0) -> Any:
    values = torch.randint(0, 2, (1, 6, 5, 4), generator=torch.Generator().manual_seed(seed))
    return MetaTensor(values, affine=affine(*row))


def batch(*rows: tuple[float, ...]) -> Any:
    return list_data_collate([label(row, seed) for seed, row in enumerate(rows)])


def logits(like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randn(len(like), 2, *like.shape[2:], generator=generator)


BOUNDARY = medloss.loss("boundary", softmax=True)


def test_a_slice_of_a_volume_does_not_tell_its_axes() -> None:
    whole = label(ROWS[0])
    z = torch.randn(1, 2, 5, 4, generator=torch.Generator().manual_seed(9))
    expected = BOUNDARY(z, whole[:, 2][None].as_tensor(), spacing_mm=(1.0, 1.0))
    with pytest.raises(ValueError, match=r"spacing_mm: .*5 x 1 x 1 mm and the image 2 axes"):
        BOUNDARY(z, whole[:, 2][None])
    known = SqueezeDim(dim=1)(whole[:, 2:3])
    torch.testing.assert_close(BOUNDARY(z, known[None]), expected)
    equal = label((2.0, 2.0, 2.0))[:, 2][None]
    torch.testing.assert_close(BOUNDARY(z, equal), BOUNDARY(z, equal.as_tensor(), spacing_mm=2.0))


CHANGED = {
    "index": lambda y: y[[1, 0]],
    "twice": lambda y: y[[0, 0, 1]],
    "cat": lambda y: torch.cat([y, y]),
    "repeat": lambda y: y.repeat(2, 1, 1, 1, 1),
    "chosen": lambda y: y[torch.tensor([False, True])],
    "chunk": lambda y: y.chunk(2)[1],
}


@pytest.mark.parametrize("how", CHANGED)
def test_samples_that_no_longer_match_the_affines_are_refused_unless_all_are_equal(
    how: str,
) -> None:
    changed = CHANGED[how](batch(*ROWS))
    plain = changed.as_tensor()
    z = logits(plain)
    with pytest.raises(ValueError, match=r"spacing_mm: .*does not tell which of them belong"):
        BOUNDARY(z, changed)
    equal = CHANGED[how](batch(ROWS[0], ROWS[0]))
    torch.testing.assert_close(BOUNDARY(z, equal), BOUNDARY(z, plain, spacing_mm=ROWS[0]))
    # Dice needs no spacing, and does not ask.
    dice = medloss.loss("dice", softmax=True)
    assert torch.equal(dice(z, changed), dice(z, plain))
    parts = LossInParts(dice)
    parts.add(z, changed)
    torch.testing.assert_close(parts.value(), dice(z, plain))


def test_rows_of_a_batch_and_slices_of_it_are_known() -> None:
    both = batch(*ROWS)
    z = logits(both)
    expected = BOUNDARY(z, both.as_tensor(), spacing_mm=ROWS)
    torch.testing.assert_close(BOUNDARY(z, both), expected)
    last = BOUNDARY(z[1:], both[1:].as_tensor(), spacing_mm=ROWS[1])
    torch.testing.assert_close(BOUNDARY(z[1:], both[1:]), last)
    one = both[0][None]
    torch.testing.assert_close(
        BOUNDARY(z[:1], one), BOUNDARY(z[:1], one.as_tensor(), spacing_mm=ROWS[0])
    )


def test_target_and_input_that_contradict_each_other_are_refused() -> None:
    both = batch(*ROWS)
    z = MetaTensor(logits(both)).copy_meta_from(both, copy_attr=False)
    z.is_batch = True
    BOUNDARY(z, both)
    with pytest.raises(ValueError, match=r"spacing_mm: .*target says .* input"):
        BOUNDARY(z.flip(0), batch(*reversed(ROWS)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: EnsureChannelFirst(channel_dim="no_channel")(MetaTensor(torch.zeros(6, 5)))[None],
        lambda: MetaTensor(torch.zeros(1, 1, 6, 5, 4), affine=torch.full((4, 4), torch.nan)),
    ],
)
def test_dice_does_not_die_of_what_it_does_not_need(make: Any) -> None:
    target = make()
    z = logits(target)
    loss = medloss.loss("dice_ce", softmax=True)
    assert torch.equal(loss(z, target), loss(z, target.as_tensor()))
    outputs = [z, z[:, :, ::2, ::2]] if z.ndim == 4 else [z, z[:, :, ::2, ::2, ::2]]
    medloss.loss("deep_supervision", softmax=True)(outputs, target)
    medloss.metrics.DiceMetric(num_classes=2)(target, target)


def test_a_matrix_of_nan_is_refused_where_it_is_needed() -> None:
    target = MetaTensor(torch.zeros(1, 1, 6, 5, 4), affine=torch.full((4, 4), torch.nan))
    with pytest.raises(ValueError, match=r"spacing_mm: .*nan"):
        BOUNDARY(logits(target), target)


@pytest.mark.parametrize("wrong", [True, (1.0, True, 1.0), (1.0, "2", 1.0), (1.0, 1.0)])
def test_spacings_are_numbers(wrong: Any) -> None:
    target = label(ROWS[0])[None].as_tensor()
    with pytest.raises(ValueError, match="spacing_mm: expected"):
        medloss.loss("dice", softmax=True)(logits(target), target, spacing_mm=wrong)


def test_metrics_refuse_what_losses_refuse() -> None:
    both = batch(*ROWS)
    metric = medloss.metrics.HausdorffMetric(num_classes=2)
    with pytest.raises(ValueError, match="does not tell which of them belong"):
        metric(both[[1, 0]].as_tensor(), both[[1, 0]])
