"""Time and memory of the fused head beside a convolution followed by a loss.

python docs/examples/measure_fused_head.py
"""

from __future__ import annotations

import statistics

import monai
import torch

import medloss
from medloss.bench.devices import find_device
from medloss.bench.measure import Entrant, memory, rounds

FEATURES, CLASSES, SIDE = 32, 105, 96
torch.set_num_threads(2)
torch.manual_seed(0)

features = torch.randn(1, FEATURES, SIDE, SIDE, SIDE, requires_grad=True)
labels = torch.randint(0, CLASSES, (1, 1, SIDE, SIDE, SIDE))
convolution = torch.nn.Conv3d(FEATURES, CLASSES, 1)
ours = medloss.loss("dice_ce", softmax=True)
theirs = monai.losses.DiceCELoss(softmax=True, to_onehot_y=True)
head = medloss.FusedHead(convolution, ours)


def drop_gradients() -> None:
    """Every call makes its own."""
    features.grad = convolution.weight.grad = convolution.bias.grad = None


entrants = [
    Entrant("fused head", lambda: head.loss(head(features), labels).backward(), drop_gradients),
    Entrant("medloss", lambda: ours(convolution(features), labels).backward(), drop_gradients),
    Entrant("MONAI", lambda: theirs(convolution(features), labels).backward(), drop_gradients),
]
for entrant in entrants:  # compiled kernels and the like are not measured
    entrant.call()
cpu = find_device("cpu")
times, extra = rounds(entrants, 5, cpu), memory(entrants, cpu)
for name, found in times.items():
    median, megabytes = statistics.median(found.wall_s), extra[name] / 1e6
    print(f"{name:12}{1e3 * median:8.0f} ms {megabytes:8.0f} MB")
