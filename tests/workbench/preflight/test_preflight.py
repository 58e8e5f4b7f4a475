"""Each fault is found in a batch that has it, and in none that has not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from monai import losses as monai_losses
from torch import Tensor, nn
from workbench.preflight.scenes import found, labels, logits, overlapping

import medloss
from medloss.workbench.preflight import preflight

RAMP = {"schedule": "ramp", "steps": 3, "start": 1}
MONAI = {"softmax": True, "to_onehot_y": True}


def quiet(loss: nn.Module, input: Any, target: Any) -> list[tuple[str, str]]:
    report = preflight(loss, input, target)
    return [(f.severity, f.check) for f in report.findings if f.severity != "note"]


@pytest.mark.parametrize(
    "loss",
    [
        medloss.loss("dice_ce", softmax=True),
        medloss.loss("dice_ce", softmax=True, batch=True),
        medloss.loss("dice_focal", softmax=True),
        medloss.loss("focal_tversky", softmax=True),
        medloss.loss("cross_entropy", softmax=True, label_smoothing=0.1),
        medloss.loss(
            "dice_ce", softmax=True, lambda_ce={"schedule": "ramp", "steps": 3, "start": 1}
        ),
        monai_losses.DiceCELoss(**MONAI),
        monai_losses.DiceLoss(**MONAI),
        monai_losses.TverskyLoss(**MONAI),
        monai_losses.FocalLoss(to_onehot_y=True),
    ],
    ids=lambda loss: f"{type(loss).__module__.split('.')[0]}.{type(loss).__name__}",
)
def test_a_right_loss_gives_no_alarm(loss: nn.Module) -> None:
    assert quiet(loss, logits(), labels()) == []


def test_overlapping_classes_under_sigmoid_give_no_alarm() -> None:
    assert quiet(medloss.loss("dice_ce", sigmoid=True), logits(), overlapping()) == []
    assert quiet(medloss.loss("bce_dice", sigmoid=True), logits(1), (labels() > 0).float()) == []


def test_probabilities_into_a_loss_on_probabilities_give_no_alarm() -> None:
    assert quiet(medloss.loss("dice_ce"), logits().softmax(1), labels()) == []
    loss = monai_losses.DiceLoss(to_onehot_y=True)
    assert quiet(loss, logits().softmax(1), labels()) == []


def test_terms_are_those_of_the_equation() -> None:
    dice, entropy = medloss.loss("dice", softmax=True), medloss.loss("cross_entropy", softmax=True)
    x, y = logits(), labels()
    for loss in (
        medloss.loss("dice_ce", softmax=True, lambda_ce=0.25),
        monai_losses.DiceCELoss(**MONAI, lambda_ce=0.25),
    ):
        rows = preflight(loss, x, y).terms
        assert [row.name for row in rows] == ["dice", "cross_entropy"]
        assert [row.weight for row in rows] == pytest.approx([1, 0.25])
        assert [row.applied for row in rows] == ["softmax", "softmax"]
        for row, term, weight in zip(rows, (dice, entropy), (1, 0.25), strict=True):
            leaf = x.clone().requires_grad_()
            value = term(leaf, y)
            value.backward()
            assert leaf.grad is not None
            assert row.value == pytest.approx(float(value.detach()), rel=1e-5)
            assert row.gradient_norm == pytest.approx(weight * float(leaf.grad.norm()), rel=1e-4)
        assert sum(row.gradient_share for row in rows) == pytest.approx(1)


def test_what_no_module_computes_is_the_rest() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dice = monai_losses.DiceLoss(**MONAI)

        def forward(self, input: Tensor, target: Tensor) -> Tensor:
            entropy = nn.functional.cross_entropy(input, target[:, 0])
            return 2 * self.dice(input, target) + 3 * entropy

    x, y = logits(), labels()
    dice, rest = preflight(Mixed(), x, y).terms
    assert (dice.name, dice.weight, rest.name) == ("dice", pytest.approx(2), "rest")
    assert rest.value == pytest.approx(3 * float(nn.functional.cross_entropy(x, y[:, 0])), rel=1e-4)


def test_monais_softmax_cross_entropy_on_overlapping_classes_is_a_defect() -> None:
    report = preflight(monai_losses.DiceCELoss(sigmoid=True), logits(), overlapping())
    (finding,) = found(report, "activation", "defect")
    assert finding.terms == ("cross_entropy",)
    belongs = overlapping().sum(1)
    assert finding.evidence["voxels_of_several_classes"] == pytest.approx(
        float((belongs > 1).float().mean())
    )
    assert finding.evidence["voxels_of_no_class"] == pytest.approx(
        float((belongs == 0).float().mean())
    )
    several = 2 * math.log(2) * finding.evidence["voxels_of_several_classes"]
    assert finding.evidence["value_of_the_right_answer"]["cross_entropy"] == pytest.approx(several)


@pytest.mark.parametrize(
    "loss",
    [
        medloss.loss("dice_ce", softmax=True),
        monai_losses.DiceCELoss(**MONAI),
        monai_losses.DeepSupervisionLoss(monai_losses.DiceCELoss(**MONAI)),
    ],
    ids=["medloss", "monai", "wrapped"],
)
def test_a_softmax_applied_twice_is_a_defect(loss: nn.Module) -> None:
    report = preflight(loss, logits().softmax(1), labels())
    (finding,) = found(report, "double_activation", "defect")
    assert finding.terms == ("dice", "cross_entropy")
    evidence = finding.evidence
    assert evidence["loss_of_right_logits"] == pytest.approx(0, abs=1e-4)
    assert evidence["loss_of_right_probabilities"] > 0.5


def test_a_sigmoid_applied_twice_is_a_warning_where_nothing_proves_it() -> None:
    report = preflight(medloss.loss("dice_ce", sigmoid=True), logits().sigmoid(), overlapping())
    (finding,) = found(report, "double_activation")
    assert (finding.severity, finding.terms) == ("warning", ("dice", "cross_entropy"))


def test_logits_given_as_probabilities_are_a_defect() -> None:
    report = preflight(monai_losses.DiceLoss(to_onehot_y=True), logits(), labels())
    assert found(report, "activation", "defect")
    single = monai_losses.DiceLoss(softmax=True)  # ignored by MONAI with a warning
    report = preflight(single, logits(1), (labels() > 0).float())
    assert found(report, "activation", "defect")
    assert found(report, "warned")
    refused = preflight(medloss.loss("dice"), logits(), labels())
    (finding,) = found(refused, "refusal", "defect")
    assert "softmax=True" in finding.message
    assert refused.as_json()["value"] is None


def test_terms_that_read_one_output_in_two_ways_are_told() -> None:
    report = preflight(monai_losses.DiceFocalLoss(**MONAI), logits(), labels())
    (finding,) = found(report, "activation", "warning")
    assert finding.terms == ("dice", "focal")


def test_a_dead_term_is_a_defect() -> None:
    class Old(monai_losses.DiceCELoss):
        def bce(self, input: Tensor, target: Tensor) -> Tensor:
            return self.cross_entropy(input, target)  # of one channel: always 0

    report = preflight(Old(sigmoid=True), logits(1), (labels() > 0).float())
    (finding,) = found(report, "dead_term", "defect")
    assert finding.terms == ("cross_entropy",)
    assert finding.evidence["cross_entropy"] == {"value": 0.0, "gradient_norm": 0.0}


def test_a_weight_of_0_now_is_a_note() -> None:
    ramp = {"schedule": "ramp", "steps": 3}
    loss = medloss.loss("dice_ce", softmax=True, lambda_ce=ramp, forwards_per_step=1)
    report = preflight(loss, logits(), labels())
    (finding,) = found(report, "dead_term")
    assert (finding.severity, finding.terms) == ("note", ("cross_entropy",))
    assert loss.training, "the loss is left as it is"
    loss(logits().requires_grad_(), labels())


def test_a_term_that_is_drowned_is_a_warning() -> None:
    loss = medloss.loss("dice_ce", softmax=True, lambda_ce=1e-5)
    (finding,) = found(preflight(loss, logits(), labels()), "balance", "warning")
    assert finding.terms == ("cross_entropy",)


class Score(nn.Module):
    """A Dice score, which is no loss."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        p = input.sigmoid()
        return 2 * (p * target).sum() / (p.sum() + target.sum())


def test_a_score_in_place_of_a_loss_is_a_defect() -> None:
    report = preflight(Score(), logits(), overlapping())
    (finding,) = found(report, "direction", "defect")
    assert finding.evidence["cosine_of_the_loss"] > 0.05


def test_values_that_are_no_numbers_are_a_defect() -> None:
    class Broken(nn.Module):
        def forward(self, input: Tensor, target: Tensor) -> Tensor:
            return input.softmax(1)[:, 1:].sub(2).log().mean() + 0 * target.sum()

    assert found(preflight(Broken(), logits(), labels()), "finite", "defect")


def test_what_is_no_loss_is_refused() -> None:
    class Detached(nn.Module):
        def forward(self, input: Tensor, target: Tensor) -> Tensor:
            return input.detach().mean()

    (finding,) = found(preflight(Detached(), logits(), labels()), "refusal", "defect")
    assert "no gradient" in finding.message
    with pytest.raises(TypeError, match="loss: expected a torch module, got function"):
        preflight(lambda x, y: x, logits(), labels())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="label: expected"):
        preflight(Detached(), logits(), labels()[:, 0, :, 1:])


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (labels() * 4, "outside 0 to 2 (the input has 3 channels): 4, 8"),
        (labels() - 1, "outside 0 to 2 (the input has 3 channels): -1"),
        (labels() * 0.7, "are fractions, such as 0.7"),
        (labels() * math.nan, "NaN or infinite"),
        (labels()[..., 1:], "no output has the size of the label"),
    ],
)
def test_labels_that_are_no_classes_are_a_defect(label: Tensor, words: str) -> None:
    findings = found(
        preflight(monai_losses.DiceCELoss(**MONAI), logits(), label), "labels", "defect"
    )
    assert any(words in finding.message for finding in findings)


def test_ignored_labels_are_none_of_these() -> None:
    label = labels()
    label[:, :, 0] = 255
    loss = medloss.loss("dice_ce", softmax=True, ignore_index=255)
    assert quiet(loss, logits(), label) == []


def test_whole_float_labels_are_a_note() -> None:
    report = preflight(monai_losses.DiceCELoss(**MONAI), logits(), labels().float())
    assert [f.severity for f in found(report, "labels")] == ["note"]


def test_absent_classes_are_told() -> None:
    loss = medloss.loss("dice_ce", softmax=True)
    (finding,) = found(preflight(loss, logits(4), labels()), "classes", "warning")
    assert finding.evidence["absent"] == [3]
    partly = labels()
    partly[1] = partly[1].clamp(max=1)
    (finding,) = found(preflight(loss, logits(), partly), "classes")
    assert (finding.severity, finding.evidence["samples"]) == ("note", {2: 1})
    report = preflight(loss, logits(), labels() * 0)
    assert "background only" in found(report, "classes", "warning")[0].message


def test_what_an_empty_patch_teaches() -> None:
    blind = monai_losses.GeneralizedDiceLoss(**MONAI, include_background=False)
    report = preflight(blind, logits(), labels())
    assert found(report, "empty_patch", "warning")
    assert report.terms[0].empty is not None
    assert report.terms[0].empty.teaches == "nothing"
    seeing = preflight(medloss.loss("cross_entropy", softmax=True), logits(), labels())
    assert not found(seeing, "empty_patch")
    assert seeing.terms[0].empty is not None
    assert seeing.terms[0].empty.teaches == "less foreground"


def test_half_precision_that_overflows_is_a_warning() -> None:
    big, label = logits(edge=64, batch=1), labels(edge=64, batch=1)
    report = preflight(monai_losses.DiceLoss(**MONAI), big, label)
    (finding,) = found(report, "precision", "warning")
    assert finding.message.startswith("float16")
    assert not report.terms[0].halves["float16"].good
    assert report.terms[0].halves["bfloat16"].good
    ours = preflight(medloss.loss("dice", softmax=True), big, label)
    assert all(half.good for half in ours.terms[0].halves.values())


@pytest.mark.parametrize("batch", [1, 2])
def test_pooling_over_the_batch_is_told(batch: int) -> None:
    x, y = logits(batch=batch), labels(batch=batch)

    def over(**options: Any) -> list[str]:
        rows = preflight(medloss.loss("dice", softmax=True, **options), x, y).terms
        return [row.batch.over for row in rows if row.batch is not None]

    assert over() == ["mean"]
    assert over(batch=True) == ["pooled"]
    assert over(reduction="sum") == ["sum"]


def test_a_mapping_as_target_and_ready_maps() -> None:
    loss = medloss.loss("compound", terms=["dice", "boundary"], softmax=True)
    target = {"label": labels(), "spacing_mm": [[1.0, 1.0, 2.0]] * 2, "mask": labels() >= 0}
    report = preflight(loss, logits(), target)
    assert [row.name for row in report.terms] == ["dice", "boundary"]
    assert report.defects == 0


def test_deep_supervision_has_one_term_for_each_resolution() -> None:
    x = logits()
    loss = monai_losses.DeepSupervisionLoss(monai_losses.DiceCELoss(**MONAI))
    report = preflight(loss, [x, x[:, :, ::2, ::2, ::2]], labels().float())
    assert [(row.name, row.weight) for row in report.terms] == [("loss[0]", 1.0), ("loss[1]", 0.5)]
    assert report.defects == 0


def test_cost_and_json() -> None:
    report = preflight(medloss.loss("dice_ce", softmax=True), logits(), labels())
    assert report.cost is not None
    assert report.cost.seconds > 0
    told = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert told["counts"] == {"defect": 0, "warning": 0, "note": len(report.findings)}
    assert [row["name"] for row in told["terms"]] == ["dice", "cross_entropy"]


@pytest.mark.parametrize("name", ["dice_ce", "boundary"])
@pytest.mark.parametrize("mapping", [False, True])
def test_a_batch_of_one_with_its_place_is_no_refusal(name: str, mapping: bool) -> None:
    """As a loader collates it: the two samples that are tried have a voxel size each."""
    from monai.data import MetaTensor
    from monai.data.utils import list_data_collate

    affine = torch.diag(torch.tensor([1.0, 2.0, 3.0, 1.0], dtype=torch.float64))
    one = MetaTensor(torch.randint(0, 3, (1, 8, 8, 8)), affine=affine)
    batch = list_data_collate([{"label": one}])["label"]
    loss = medloss.loss(name, softmax=True)
    x = torch.randn(1, 3, *one.shape[1:], generator=torch.Generator().manual_seed(0))
    report = preflight(loss, x, {"label": batch} if mapping else batch)
    assert found(report, "batch", "warning") == []
