"""Time of losses on distances, with and without ready maps, beside dice_ce and MONAI.

python docs/examples/measure_boundary_losses.py [CLASSES]
"""

from __future__ import annotations

import statistics
import sys
import warnings

import monai
import torch
from torch import Tensor
from torch.nn import functional

import medloss
from medloss.distance import signed_distance
from medloss.workbench.bench.devices import find_device
from medloss.workbench.bench.measure import Entrant, rounds

CLASSES = int(sys.argv[1]) if len(sys.argv) > 1 else 14
SIDE, ROUNDS, SPACING_MM = 96, 7, 1.0
warnings.simplefilter("ignore")  # MONAI's, of others
torch.set_num_threads(2)
torch.manual_seed(0)

# Objects of smooth noise, and logits of a network that has learnt where they are.
shape = (2, CLASSES, SIDE, SIDE, SIDE)
objects = functional.interpolate(torch.randn(2, CLASSES, 9, 9, 9), shape[2:], mode="trilinear")
objects[:, 0] += 1.5
labels = objects.argmax(1, keepdim=True)
logits = (4 * objects + torch.randn(shape)).requires_grad_()
masks = torch.cat([labels == label for label in range(CLASSES)], 1)


def drop_gradient() -> None:
    """Every call makes its own."""
    logits.grad = None


def entrant(name: str, loss: torch.nn.Module, **extras: Tensor) -> Entrant:
    """A loss, forward plus backward."""
    return Entrant(name, lambda: loss(logits, labels, **extras).backward(), drop_gradient)


foreground = {"softmax": True, "include_background": False}
region = medloss.loss("dice_ce", softmax=True)
entrants = [entrant("dice_ce", region)]
for name in ("boundary", "hausdorff_dt", "region_wise", "generalized_surface", "shape_aware"):
    loss = medloss.loss(name, spacing_mm=SPACING_MM, **foreground)
    ready = signed_distance(masks, SPACING_MM, convention=getattr(loss, "convention", "kervadec"))
    entrants += [entrant(name, loss), entrant(f"{name}, ready map", loss, distance_map=ready)]
    if name == "boundary":
        terms = ["dice", "cross_entropy", "boundary"]
        both = medloss.loss("compound", terms=terms, weights=[1, 1, 0.01], softmax=True)
        entrants.append(entrant("dice_ce and boundary, ready map", both, distance_map=ready))
    if name == "hausdorff_dt":
        one = medloss.loss(name, spacing_mm=SPACING_MM, one_sided=True, **foreground)
        entrants.append(entrant("hausdorff_dt, one-sided, ready map", one, distance_map=ready))
for name, options in (
    ("boundary_dou", {}),
    ("hausdorff_erosion", {}),
    ("surface_dice", {"spacing_mm": SPACING_MM, "tolerance_mm": 2.0}),
):
    entrants.append(entrant(name, medloss.loss(name, **options, **foreground)))
theirs = monai.losses.HausdorffDTLoss(softmax=True, to_onehot_y=True)
entrants.append(entrant("MONAI HausdorffDTLoss", theirs))

for each in entrants:  # compiled kernels and the like are not measured
    each.call()
times = rounds(entrants, ROUNDS, find_device("cpu"))
print(f"(2, {CLASSES}, {SIDE}^3) float32, 2 threads, {ROUNDS} rounds; x: of dice_ce in the round")
for each in entrants:
    found, base = times[each.name].wall_s, times["dice_ce"].wall_s
    ratios = sorted(a / b for a, b in zip(found, base, strict=True))
    print(
        f"{each.name:36}{1e3 * statistics.median(found):8.0f} ms "
        f"{statistics.median(ratios):7.2f} x  ({ratios[0]:.2f}..{ratios[-1]:.2f})"
    )
