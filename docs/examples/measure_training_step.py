"""Time of a whole training step with losses on ready maps and skeletons, beside dice_ce.

python docs/examples/measure_training_step.py
"""

from __future__ import annotations

import functools
import statistics

import torch
from monai.networks.nets import UNet
from torch import Tensor
from torch.nn import functional

import medloss
from medloss.distance import signed_distance
from medloss.integrations.skeletons import SkeletonMapd
from medloss.workbench.bench.devices import find_device
from medloss.workbench.bench.measure import Entrant, rounds

BATCH, CLASSES, PATCH, ROUNDS, SPACING_MM = 8, 3, (40, 48, 40), 7, 1.0
torch.set_num_threads(2)
torch.manual_seed(0)

# The network and the patches of the bundle hippocampus_mr.
network = UNet(3, 1, CLASSES, (32, 64, 128, 256), (2, 2, 2), norm="batch")
optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
objects = functional.interpolate(torch.randn(BATCH, CLASSES, 5, 6, 5), PATCH, mode="trilinear")
labels = objects.argmax(1, keepdim=True)
images = labels + torch.randn(labels.shape)
masks = torch.cat([labels == label for label in range(CLASSES)], 1)


def step(loss: torch.nn.Module, **extras: Tensor) -> None:
    """Forward, backward, update."""
    optimizer.zero_grad()
    loss(network(images), labels, **extras).backward()
    optimizer.step()


plain = medloss.loss("dice_ce", softmax=True)
entrants = [Entrant("dice_ce", lambda: step(plain))]
for name, convention in (("boundary", "surface"), ("hausdorff_dt", "symmetric")):
    ready = signed_distance(masks, SPACING_MM, convention=convention)
    terms = ["dice_ce", {"name": name, "spacing_mm": SPACING_MM}]
    loss = medloss.loss("compound", terms=terms, weights=[1, 0.01], softmax=True)
    call = functools.partial(step, loss, distance_map=ready)
    entrants.append(Entrant(f"dice_ce and {name}, ready map", call))
make = SkeletonMapd(keys="label", classes=CLASSES)
skeletons = torch.stack([make({"label": label})["skeleton"] for label in labels])
loss = medloss.loss("compound", terms=["dice_ce", "skeleton_recall"], softmax=True)
call = functools.partial(step, loss, skeleton=skeletons)
entrants.append(Entrant("dice_ce and skeleton_recall", call))
for each in entrants:  # compiled kernels and the like are not measured
    each.call()
times = rounds(entrants, ROUNDS, find_device("cpu"))
for each in entrants:
    found, base = times[each.name].wall_s, times["dice_ce"].wall_s
    ratios = sorted(a / b for a, b in zip(found, base, strict=True))
    print(
        f"{each.name:36}{1e3 * statistics.median(found):8.0f} ms "
        f"{statistics.median(ratios):7.2f} x  ({ratios[0]:.2f}..{ratios[-1]:.2f})"
    )
