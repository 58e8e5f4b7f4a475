"""Each check of the contract for parts of detectors fails for a part that breaks it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from medloss.offers.host import Offer, Plugin
from medloss.offers.records import Detection
from medloss.testing import run_checks
from medloss_detection.boxes import BoxLoss, CIoULoss, iou
from medloss_detection.retinanet import SimOTARetinaNetDetector

PLUGIN = Plugin("odd", "medloss_detection", "medloss-odd", "1.0")


class NoZeroLoss(CIoULoss):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return super().forward(input, target) + 0.1


class MeanOfNothingLoss(BoxLoss):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return (1 - iou(input, target)).mean()


class WithoutGuardLoss(BoxLoss):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        axes = input.shape[-1] // 2
        sizes = (input[..., axes:] - input[..., :axes]).log()
        return super().forward(input, target) + 0 * sizes.sum()

    overlap = staticmethod(iou)


class DistanceLoss(BoxLoss):
    overlap = staticmethod(lambda a, b: 1 - (a.float() - b.float()).abs().sum(-1))


class AlwaysSumLoss(CIoULoss):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return CIoULoss("none")(input, target).sum()


class HalfLoss(BoxLoss):
    overlap = staticmethod(lambda a, b: 1 - ((a - b).abs() / (a - b).abs().amax()).sum(-1))


class BroadcastLoss(BoxLoss):
    def forward(self, input: Any, target: Any) -> Tensor:
        return (1 - iou(torch.as_tensor(input), torch.as_tensor(target))).mean()


class UncopiedLoss(CIoULoss):
    def __repr__(self) -> str:
        return f"UncopiedLoss at {id(self)}"


class UntrainedDetector(SimOTARetinaNetDetector):
    def compute_box_loss(self, *args: Any) -> Tensor:
        return torch.tensor(0.0)


class MuteDetector(SimOTARetinaNetDetector):
    def postprocess_detections(self, *args: Any) -> list[Any]:
        return []


BROKEN = {
    "part_copies_and_pickles": UncopiedLoss,
    "perfect_box_is_zero": NoZeroLoss,
    "no_boxes_are_zero": MeanOfNothingLoss,
    "degenerate_boxes_are_finite": WithoutGuardLoss,
    "scale_and_place_change_nothing": DistanceLoss,
    "reductions_agree_on_boxes": AlwaysSumLoss,
    "boxes_in_half_are_computed_in_single": HalfLoss,
    "wrong_boxes_are_refused": BroadcastLoss,
    "detector_trains_in_monai": UntrainedDetector,
    "detector_detects_in_monai": MuteDetector,
}


@pytest.mark.parametrize("check", BROKEN)
def test_it_fails_for_what_breaks_it(check: str) -> None:
    target = BROKEN[check]
    role = "detector" if issubclass(target, SimOTARetinaNetDetector) else "box_loss"
    record = Detection(
        name="odd",
        target=f"{__name__}:{target.__name__}",
        family="detection",
        role=role,  # type: ignore[arg-type]
        summary="Odd.",
    )

    class Given(Offer[Detection]):
        def load(self) -> Any:
            return target

    outcomes = {o.check: o for o in run_checks(Given(record, PLUGIN))}
    assert outcomes[check].verdict == "failed", outcomes[check].message
    assert " But " in outcomes[check].message


def test_every_check_of_parts_is_here() -> None:
    from medloss.testing import checks_of

    checks = {c.name for role in ("box_loss", "detector") for c in checks_of(role)}  # type: ignore[arg-type]
    shared = {c.name for c in checks_of("loss")}
    assert checks - shared == BROKEN.keys()
