"""Train a 3D detector with SimOTA, and with MONAI's ATSS matcher, and compare.

    pip install .    # in a clone of medloss
    python docs/examples/detect_ellipsoids.py --seeds 3 --steps 600

The volumes are made up: bright ellipsoids in noise, some of them touching. All detectors have the
same network, anchors, loss of classes, sampler, initial weights and batches:

    simota   SimOTA and CIoU
    atss     ATSS with MONAI's defaults and CIoU, so that only the assignment differs
    atss_l1  ATSS and smooth L1 on encoded boxes, both with MONAI's defaults

No torchvision is needed: the features come from a few convolutions, and ATSS is called directly
where MONAI would first look for torchvision's matcher.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

import torch
from monai.apps.detection.metrics.coco import COCOMetric
from monai.apps.detection.metrics.matching import matching_batch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from monai.data.box_utils import box_iou
from torch import Tensor, nn

from medloss.detection import CIoULoss, SimOTARetinaNetDetector

SIZE = 32
"""Voxels along each axis."""

ASSIGNMENTS = ("simota", "atss", "atss_l1")
TEST_SEEDS = range(10**6, 10**6 + 48)
Target = dict[str, Tensor]


def scene(seed: int) -> tuple[Tensor, Target]:
    """A volume (1, SIZE, SIZE, SIZE) of 1 to 4 ellipsoids in noise, and their boxes."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(*[torch.arange(SIZE)] * 3, indexing="ij")) + 0.5
    objects = int(torch.randint(1, 5, (1,), generator=generator))
    radii = 2 + 5 * torch.rand(objects, 3, generator=generator)
    centres = radii + (SIZE - 2 * radii) * torch.rand(objects, 3, generator=generator)
    inside = torch.stack(
        [
            ((grid - centre.view(3, 1, 1, 1)) / radius.view(3, 1, 1, 1)).square().sum(0) < 1
            for centre, radius in zip(centres, radii, strict=True)
        ]
    ).any(0)
    image = inside + 0.7 * torch.randn(inside.shape, generator=generator)
    boxes = torch.cat([centres - radii, centres + radii], 1)
    return image[None], {"boxes": boxes, "labels": torch.zeros(objects, dtype=torch.long)}


class Features(nn.Module):
    """Features at strides 4 and 8."""

    out_channels = 16

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(_half(1, 8), _half(8, 16), _half(16, 16, stride=1))
        self.coarse = nn.Sequential(_half(16, 16), _half(16, 16, stride=1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Two levels of features."""
        fine = self.fine(images)
        return [fine, self.coarse(fine)]


def _half(channels: int, more: int, stride: int = 2) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels, more, 3, stride=stride, padding=1),
        nn.GroupNorm(4, more),
        nn.LeakyReLU(0.1),
    )


class ATSSDetector(RetinaNetDetector):
    """MONAI's detector with its ATSS matcher, also where torchvision is not installed."""

    def compute_anchor_matched_idxs(
        self, anchors: list[Tensor], targets: list[Target], num_anchor_locs_per_level: Sequence[int]
    ) -> list[Tensor]:
        """What MONAI does with an ATSSMatcher, without asking first for torchvision's."""
        return [
            self.proposal_matcher(
                target[self.target_box_key],
                each,
                num_anchor_locs_per_level,
                self.num_anchors_per_loc,
            )[1]
            for each, target in zip(anchors, targets, strict=True)
        ]


def detector(assignment: str) -> RetinaNetDetector:
    """A small RetinaNet that is trained with one of ``ASSIGNMENTS``."""
    generator = AnchorGeneratorWithAnchorShape((1, 2), ((6, 6, 6),))
    network = RetinaNet(3, 1, 1, Features(), size_divisible=8)
    if assignment == "simota":
        found = SimOTARetinaNetDetector(network, generator)  # CIoU is its default
    else:
        found = ATSSDetector(network, generator)
        found.set_atss_matcher()
    if assignment == "atss":
        found.set_box_regression_loss(CIoULoss(), encode_gt=False, decode_pred=True)
    found.set_hard_negative_sampler(batch_size_per_image=64, positive_fraction=0.3)
    found.set_box_selector_parameters(score_thresh=0.02, nms_thresh=0.22, detections_per_img=50)
    return found


def train(found: RetinaNetDetector, *, steps: int, seed: int, batch: int = 4) -> None:
    """Adam on new volumes in each step, the learning rate falling to 0."""
    optimizer = torch.optim.Adam(found.network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    found.train()
    for step in range(steps):
        first = (seed * steps + step) * batch
        images, targets = zip(*[scene(first + i) for i in range(batch)], strict=True)
        losses = found(torch.stack(images), list(targets))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        schedule.step()


def score(found: RetinaNetDetector, seeds: range) -> dict[str, float]:
    """Average precision on volumes that were not trained on, by MONAI's COCO metric."""
    found.eval()
    images, targets = zip(*[scene(seed) for seed in seeds], strict=True)
    with torch.no_grad():
        predicted: Any = found(torch.stack(images))
    metric = COCOMetric(["ellipsoid"], iou_list=(0.3, 0.5), iou_range=(0.1, 0.5, 0.05))
    matches = matching_batch(
        box_iou,
        metric.iou_thresholds,
        [each["boxes"].numpy() for each in predicted],
        [each["labels"].numpy() for each in predicted],
        [each["labels_scores"].numpy() for each in predicted],
        [each["boxes"].numpy() for each in targets],
        [each["labels"].numpy() for each in targets],
    )
    values = metric(matches)[0]
    names = {"AP at IoU 0.3": "AP_IoU_0.30", "AP at IoU 0.5": "AP_IoU_0.50"}
    names["mAP, IoU 0.1 to 0.5"] = "mAP_IoU_0.10_0.50_0.05"
    return {name: float(values[f"{key}_MaxDet_100"]) for name, key in names.items()}


def main() -> None:
    """Train all for each seed, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="how often each is trained")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--assignments", nargs="+", choices=ASSIGNMENTS, default=ASSIGNMENTS)
    parser.add_argument("--test-volumes", type=int, default=len(TEST_SEEDS))
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # MONAI tells which of its batches have no match
    results: dict[str, list[dict[str, float]]] = {name: [] for name in given.assignments}
    for seed in range(given.seeds):
        for assignment, scores in results.items():
            torch.manual_seed(seed)
            found = detector(assignment)
            start = time.process_time()
            train(found, steps=given.steps, seed=seed)
            seconds = time.process_time() - start
            scores.append(score(found, TEST_SEEDS[: given.test_volumes]))
            told = ", ".join(f"{name} {value:.3f}" for name, value in scores[-1].items())
            print(f"seed {seed}, {assignment}: {told} ({seconds:.0f} s of CPU)", flush=True)
    for name in next(iter(results.values()))[0]:
        row = []
        for assignment, scores in results.items():
            values = [each[name] for each in scores]
            spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
            row.append(f"{assignment} {mean(values):.3f}{spread}")
        print(f"{name}: {', '.join(row)}")


if __name__ == "__main__":
    main()
