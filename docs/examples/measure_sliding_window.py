"""Peak memory and time of scoring rows as they are finished, beside MONAI's stitching.

python docs/examples/measure_sliding_window.py [SIDE] [CLASSES]
"""

from __future__ import annotations

import sys

import torch
from monai.inferers import sliding_window_inference

import medloss
from medloss.integrations.sliding_window import SlidingWindowScore
from medloss.workbench.bench.devices import find_device
from medloss.workbench.bench.measure import Entrant, memory, rounds

SIDE, CLASSES = (int(word) for word in (*sys.argv[1:], "192", "14")[:2])
WINDOW, OVERLAP = (64, 64, 64), 0.5
torch.set_num_threads(2)
torch.manual_seed(0)

image = torch.randn(1, 1, SIDE, SIDE, SIDE)
labels = torch.randint(0, CLASSES, (1, 1, SIDE, SIDE, SIDE), dtype=torch.uint8)
network = torch.nn.Conv3d(1, CLASSES, 1)  # trivial, so that stitching and scoring are measured
loss = medloss.loss("dice_ce", softmax=True)
windows = {"roi_size": WINDOW, "sw_batch_size": 1, "overlap": OVERLAP, "mode": "gaussian"}
score = SlidingWindowScore(**windows, losses={"dice_ce": loss})


def ours() -> tuple[torch.Tensor, torch.Tensor]:
    """Label map and loss, from rows."""
    found = score.score(image, network, labels)
    return found.labels, found.losses["dice_ce"]


@torch.no_grad()
def whole() -> tuple[torch.Tensor, torch.Tensor]:
    """Label map and loss, from the stitched volume; the loss is ours, which adds nothing to it."""
    logits = sliding_window_inference(image, predictor=network, **windows)
    return logits.argmax(1, keepdim=True).to(torch.uint8), loss(logits, labels)


(map_a, value_a), (map_b, value_b) = ours(), whole()
print(f"same label map: {torch.equal(map_a, map_b)}, loss {value_a:.7f} and {value_b:.7f}")
entrants = [Entrant("medloss", ours), Entrant("MONAI", whole)]
cpu = find_device("cpu")
times, extra = rounds(entrants, 3, cpu), memory(entrants, cpu)
for name, found in times.items():
    print(f"{name:8}{min(found.wall_s):8.1f} s {extra[name] / 1e6:8.0f} MB")
print(f"memory: 1/{extra['MONAI'] / extra['medloss']:.1f} of MONAI's")
