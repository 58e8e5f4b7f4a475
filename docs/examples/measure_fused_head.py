"""Time and memory of the fused head beside a convolution followed by a loss.

python docs/examples/measure_fused_head.py [--device cuda]
"""

from __future__ import annotations

import argparse
import statistics
from importlib.util import find_spec

import torch

import medloss
from medloss.workbench.bench.devices import find_device
from medloss.workbench.bench.measure import Entrant, memory, rounds

FEATURES, CLASSES, SIDE = 32, 105, 96
torch.set_num_threads(2)
torch.manual_seed(0)
parser = argparse.ArgumentParser()
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
name = parser.parse_args().device
device = find_device(name)

features = torch.randn(1, FEATURES, SIDE, SIDE, SIDE, device=name, requires_grad=True)
labels = torch.randint(0, CLASSES, (1, 1, SIDE, SIDE, SIDE), device=name)
convolution = torch.nn.Conv3d(FEATURES, CLASSES, 1).to(name)
ours = medloss.loss("dice_ce", softmax=True)
head = medloss.FusedHead(convolution, ours)


def drop_gradients() -> None:
    """Every call makes its own."""
    features.grad = convolution.weight.grad = convolution.bias.grad = None


entrants = [
    Entrant("fused head", lambda: head.loss(head(features), labels).backward(), drop_gradients),
    Entrant("medloss", lambda: ours(convolution(features), labels).backward(), drop_gradients),
]
if find_spec("monai"):
    from monai.losses import DiceCELoss

    theirs = DiceCELoss(softmax=True, to_onehot_y=True)
    call = lambda: theirs(convolution(features), labels).backward()  # noqa: E731
    entrants.append(Entrant("MONAI", call, drop_gradients))
for entrant in entrants:  # compiled kernels and the like are not measured
    entrant.call()
slopes = []
for entrant in entrants:
    drop_gradients()
    entrant.call()
    slopes.append(convolution.weight.grad.clone())
for entrant, slope in zip(entrants, slopes, strict=True):
    torch.testing.assert_close(slope, slopes[-1], rtol=1e-3, atol=1e-6, msg=entrant.name)
times, extra = rounds(entrants, 5, device), memory(entrants, device)
for name, found in times.items():
    median, megabytes = statistics.median(found.wall_s), extra[name] / 1e6
    print(f"{name:12}{1e3 * median:8.0f} ms {megabytes:8.0f} MB")
