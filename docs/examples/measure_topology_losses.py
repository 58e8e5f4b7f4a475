"""CPU time and memory of losses on thin, small and many structures, beside dice_ce and MONAI.

python docs/examples/measure_topology_losses.py [CLASSES] [SIDE] [WORD]

With a WORD, only dice_ce and what has the word in its name.
"""

from __future__ import annotations

import statistics
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import medloss
from medloss.workbench.bench.devices import find_device
from medloss.workbench.bench.measure import Entrant, memory, rounds

CLASSES = int(sys.argv[1]) if len(sys.argv) > 1 else 3
SIDE = int(sys.argv[2]) if len(sys.argv) > 2 else 96
WORD = sys.argv[3] if len(sys.argv) > 3 else ""
ROUNDS = 7
warnings.simplefilter("ignore")  # MONAI's, of others
torch.set_num_threads(1)  # waiting threads of torch would count as work
torch.manual_seed(0)

# Tubes and small objects of smooth noise, and logits of a network that has learnt where they are.
shape = (2, CLASSES, SIDE, SIDE, SIDE)
coarse = torch.randn(2, CLASSES, SIDE // 8, SIDE // 8, SIDE // 8)
objects = F.interpolate(coarse, shape[2:], mode="trilinear")
objects[:, 0] += 1.5
labels = objects.argmax(1, keepdim=True)
logits = (4 * objects + torch.randn(shape)).requires_grad_()
foreground = {"softmax": True, "include_background": False}


def pooled(x: Tensor, minimum: bool) -> Tensor:
    """Minimum over the cross, or maximum over the block, of shifted slices."""
    outs = []
    for axis in range(2, x.ndim):
        pads = [0, 0] * (x.ndim - 1 - axis) + [1, 1]
        n, beyond = x.shape[axis], torch.inf if minimum else -torch.inf
        padded = F.pad(x, pads, value=beyond)
        both = padded.narrow(axis, 0, n), padded.narrow(axis, 2, n)
        if minimum:
            outs.append(torch.minimum(*both))
        else:
            x = torch.maximum(x, torch.maximum(*both))
    for out in outs:
        x = torch.minimum(x, out)
    return x


def plain_skeleton(x: Tensor, iterations: int) -> Tensor:
    """The soft skeleton in differentiable torch, each erosion made once."""
    left = torch.ones_like(x)
    for _ in range(iterations + 1):
        eroded = pooled(x, minimum=True)
        left = left * (1 - (x - pooled(eroded, minimum=False)).relu())
        x = eroded
    return 1 - left


def plain_cl_dice() -> Tensor:
    """What one writes in torch for clDice."""
    g = torch.cat([labels == c for c in range(1, CLASSES)], 1).float()
    p = logits.softmax(1)[:, 1:]
    with torch.no_grad():
        of_g = plain_skeleton(g, 3)
    of_p, space = plain_skeleton(p, 3), (2, 3, 4)
    precision = ((of_p * g).sum(space) + 1) / (of_p.sum(space) + 1)
    sensitivity = ((of_g * p).sum(space) + 1) / (of_g.sum(space) + 1)
    return (1 - 2 * precision * sensitivity / (precision + sensitivity)).mean()


def monai_cl_dice() -> Tensor:
    """MONAI's, on the same classes."""
    from monai.losses.cldice import SoftclDiceLoss

    value: Tensor = SoftclDiceLoss(softmax=True, to_onehot_y=True, include_background=False)(
        logits, labels
    )
    return value


def pooled_neighbours() -> Tensor:
    """dice_ce on worst neighbours by torch's pooling, as the authors' class has it."""
    g = torch.cat([labels == c for c in range(CLASSES)], 1).float()
    worst = -F.max_pool3d(-(logits * g + 9999 * (1 - g)), 3, 1, 1)
    largest = F.max_pool3d(logits * (1 - g) - 9999 * g, 3, 1, 1)
    value: Tensor = DICE_CE(worst * g + largest * (1 - g), labels)
    return value


def ours(name: str, extras: Callable[[], dict[str, Any]] = dict, **options: Any) -> Any:
    """A loss of medloss, its extras made beforehand."""
    loss, given = medloss.loss(name, **{"softmax": True, **options}), extras()
    return lambda: loss(logits, labels, **given)


def skeletons(dtype: torch.dtype = torch.uint8) -> dict[str, Tensor]:
    """Made once, as the data pipeline does."""
    from medloss.integrations.skeletons import SkeletonMapd

    make = SkeletonMapd(keys="label", classes=CLASSES)
    made = [make({"label": label})["skeleton"] for label in labels]
    return {"skeleton": torch.stack(made).to(dtype)}


def components() -> dict[str, Tensor]:
    """Likewise."""
    from medloss.integrations.transforms import ComponentMapd

    make = ComponentMapd(keys="label")
    return {"components": torch.stack([make({"label": label})["components"] for label in labels])}


DICE_CE = medloss.loss("dice_ce", softmax=True)
RECALL = ["dice", "cross_entropy", "skeleton_recall"]
MM = {"spacing_mm": 1.0}
ENTRANTS: dict[str, Callable[[], Callable[[], Tensor]]] = {
    "dice_ce": lambda: ours("dice_ce"),
    "dice_ce and skeleton_recall": lambda: ours("compound", skeletons, terms=RECALL),
    "the same, float32 skeletons": lambda: ours(
        "compound", lambda: skeletons(torch.float32), terms=RECALL
    ),
    "cl_dice, 3 iterations": lambda: ours("cl_dice", **foreground),
    "cl_dice, 10 iterations": lambda: ours("cl_dice", iterations=10, **foreground),
    "plain torch clDice, 3 iterations": lambda: plain_cl_dice,
    "MONAI SoftclDiceLoss, 3 iterations": lambda: monai_cl_dice,
    "scnp around dice_ce": lambda: ours("scnp"),
    "scnp by pooling of torch": lambda: pooled_neighbours,
    "cb_dice": lambda: ours("cb_dice", **foreground, **MM),
    "cb_dice, ready skeletons": lambda: ours("cb_dice", skeletons, **foreground, **MM),
    "blob of dice_ce": lambda: ours("blob"),
    "blob of dice_ce, ready components": lambda: ours("blob", components),
    "cc_dice_ce": lambda: ours("cc_dice_ce", **MM),
    "cc_dice_ce, ready components": lambda: ours("cc_dice_ce", components, **MM),
}


def entrant(name: str) -> Entrant:
    """Forward plus backward, with what it needs made beforehand."""
    loss = ENTRANTS[name]()

    def drop_gradient() -> None:
        logits.grad = None

    return Entrant(name, lambda: loss().backward(), drop_gradient)


names = [name for name in ENTRANTS if WORD in name or name == "dice_ce"]
entrants, cpu = [entrant(name) for name in names], find_device("cpu")
for each in entrants:  # compiled kernels and the like are not measured
    each.call()
times, extra = rounds(entrants, ROUNDS, cpu), memory(entrants, cpu)
one = logits.nbytes
print(f"{list(shape)} float32, CPU time, {ROUNDS} rounds; x: of dice_ce in the round; memory:")
print(f"what a step adds, in logits of {one / 2**20:.0f} MiB, of which the gradient is 1")
for each in entrants:
    found, base = times[each.name].cpu_s, times["dice_ce"].cpu_s
    ratios = sorted(a / b for a, b in zip(found, base, strict=True))
    print(
        f"{each.name:36}{1e3 * statistics.median(found):8.0f} ms "
        f"{statistics.median(ratios):7.2f} x  ({ratios[0]:.2f}..{ratios[-1]:.2f}) "
        f"{extra[each.name] / one:6.1f}"
    )
