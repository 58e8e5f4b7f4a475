from __future__ import annotations

import math

import pytest
import torch

from medloss.offers.host import host
from medloss.workbench.bench import loss_rivals
from medloss.workbench.bench.environment import Kernels
from medloss.workbench.bench.loss_rivals import DEFAULT_LOSSES, SOURCES, rivals
from medloss.workbench.bench.losses import (
    Differences,
    ValueAndGradient,
    differences,
    exact,
    random_inputs,
)


def of(value: float, *gradient: float, dtype: torch.dtype = torch.float32) -> ValueAndGradient:
    return ValueAndGradient(value, torch.tensor([gradient], dtype=dtype))


def test_distances_are_relative():
    found = differences(of(4.2, 3.0, 4.0), of(4.0, 3.0, 4.5))
    assert found.value == pytest.approx(0.05)
    assert found.gradient == pytest.approx(0.5 / math.hypot(3, 4.5))


@pytest.mark.parametrize(
    ("value", "gradient", "dtype", "text"),
    [
        (0.9e-5, 0.9e-4, torch.float32, ""),
        (1.1e-5, 0.0, torch.float32, "values differ by 1.1e-05"),
        (0.0, 1.1e-4, torch.float64, "gradients differ by 1.1e-04"),
        (0.0, 9e-3, torch.bfloat16, ""),
        (0.0, 1.1e-2, torch.bfloat16, "gradients differ"),
        (0.0, None, torch.float16, ""),
        (math.nan, 0.0, torch.float32, "values differ by nan"),
        (0.0, math.nan, torch.float32, "gradients differ by nan"),
    ],
)
def test_what_exceeds_the_tolerance(value, gradient, dtype, text):
    assert Differences(value, gradient).exceed(dtype).startswith(text)
    assert bool(Differences(value, gradient).exceed(dtype)) == bool(text)


def test_16_bit_logits_are_compared_as_float32():
    logits = torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16)
    seen = []

    def loss(x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append(x.dtype)
        return (x * x).sum()

    found = exact(loss, logits, logits)
    assert seen == [torch.float32]
    assert found.gradient.tolist() == [[2.0, 4.0]]


def test_inputs_are_those_of_the_seed():
    def make(seed: int, dtype: str = "float32"):
        return random_inputs((2, 3, 9, 9), dtype, "uint8", spread=4, seed=seed, device="cpu")

    assert torch.equal(make(1).logits, make(1).logits)
    assert not torch.equal(make(1).logits, make(2).logits)
    assert make(1).logits.detach().std() == pytest.approx(4, rel=0.2)
    assert make(1).labels.unique().tolist() == [0, 1, 2]
    assert make(1).labels.dtype == torch.uint8
    assert make(1).floor_bytes == 2 * 81 * (3 * 3 * 4 + 2)
    assert make(1, "bfloat16").floor_bytes == 2 * 81 * (3 * 3 * 2 + 2)


def test_the_plain_formulas_by_hand():
    # two voxels, p of class 1 is 0.8 and 0.4, labels 1 and 0
    logits = torch.tensor([[[0.2, 0.6], [0.8, 0.4]]], dtype=torch.float64).log()
    labels = torch.tensor([[[1, 0]]])
    ce = -(math.log(0.8) + math.log(0.6)) / 2
    dice = [2 * 0.6 / (0.8 + 1), 2 * 0.8 / (1.2 + 1)]
    expected = ce + 1 - sum(dice) / 2
    assert loss_rivals.dice_ce(logits, labels).item() == pytest.approx(expected, abs=2e-5)
    assert loss_rivals.batch_dice_ce(logits, labels).item() == pytest.approx(ce - dice[1], abs=2e-5)


def test_every_adapter_belongs_to_a_loss_and_a_source():
    for name, others in rivals().items():
        assert host().losses.find(name).record.name == name
        assert all(rival.source in SOURCES for rival in others)
        assert len({(rival.name, rival.variant.name) for rival in others}) == len(others)
        options = [(r.variant.name, str(r.variant.options)) for r in others]
        assert len({name for name, _ in options}) == len(set(options))
    assert set(DEFAULT_LOSSES) <= rivals().keys()


def test_what_the_kernels_did():
    assert Kernels(3, 1).since(Kernels(1, 1)) == "cold disk cache: 2 kernels compiled"
    assert Kernels(3, 2).since(Kernels(1, 1)) == "cold disk cache: 2 kernels compiled, 1 loaded"
    assert Kernels(1, 1).since(Kernels(1, 1)) == "no new kernel needed"
