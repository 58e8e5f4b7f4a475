"""Values worked by hand."""

from __future__ import annotations

import medloss
import pytest
import torch
from medloss.scoring import Counts

from medloss_specimen.metrics import specimen_f_score


def test_the_loss_is_the_power_of_dice() -> None:
    p = torch.tensor([[[0.75, 0.25]]], dtype=torch.float64, requires_grad=True)
    g = torch.tensor([[[1.0, 0.0]]])
    loss = medloss.loss("specimen_dice", exponent=2.0, smooth_dr=0.0)(p, g)
    assert loss.item() == pytest.approx(0.25**2)  # 1 - 2 * 0.75 / (1 + 1) = 0.25
    (slope,) = torch.autograd.grad(loss, p)
    # d/dp of 0.25^2: 2 * 0.25 * (2 tp / size^2 - 2 g / size)
    expected = [0.5 * (1.5 / 4 - 1), 0.5 * 1.5 / 4]
    assert slope.flatten().tolist() == pytest.approx(expected)


def test_the_metric_weighs_misses() -> None:
    counts = Counts(tp=3, fp=5, fn=1, tn=20)
    assert specimen_f_score(counts, beta=2.0) == pytest.approx(15 / 24)
