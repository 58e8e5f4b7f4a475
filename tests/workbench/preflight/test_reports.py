"""Reports that explain themselves, on batches as MONAI's loaders make them."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.losses import DiceCELoss
from monai.transforms import Compose
from rich.console import Console
from torch import Tensor, nn
from workbench.preflight.scenes import found, labels, logits

import medloss
from medloss.workbench.preflight import preflight
from medloss.workbench.preflight.fractions import explain_fractions
from medloss.workbench.preflight.report import HalfRow
from medloss.workbench.preflight.terminal import show
from medloss.workbench.preflight.variations import check_precision

AFFINE = torch.diag(torch.tensor([1.0, 1.0, 2.5, 1.0]))
BOTH = ["image", "label"]


@pytest.fixture(autouse=True)
def _plain_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops of these types would have to be compiled first."""
    monkeypatch.setenv("MEDLOSS_BACKEND", "reference")


def case(number: int = 0) -> dict[str, Any]:
    label = labels(batch=1)[0].float().roll(number, 1)
    image = MetaTensor(label + 0.1, affine=AFFINE, meta={"filename_or_obj": f"{number}.nii"})
    return {
        "image": image,
        "label": MetaTensor(label, affine=AFFINE, meta={"note": f"case {number}"}),
    }


def loader(*steps: Any, size: int = 1) -> Any:
    return DataLoader(Dataset([case(0), case(1)], Compose(list(steps))), batch_size=size)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", ["dice_ce", "boundary"])
def test_batches_of_metatensors_give_no_alarm(size: int, name: str) -> None:
    batch = next(iter(loader(size=size)))
    network = nn.Conv3d(1, 3, 3, padding=1)
    report = preflight(medloss.loss(name, softmax=True), network(batch["image"]), batch["label"])
    alarms = [f"{one.check}: {one.message}" for one in found(report, "batch", "warning")]
    assert not alarms
    assert not found(report, "refusal")
    assert all(term.batch is not None for term in report.terms)


FRACTIONS: dict[str, tuple[list[tuple[str, dict[str, Any]]], list[str]]] = {
    "zoom without a mode": (
        [("RandZoomd", {"min_zoom": 0.7, "max_zoom": 0.8, "prob": 0.01})],
        ["RandZoomd interpolates the key 'label' (mode 'area'); give it mode=['bilinear', 'near"],
    ),
    "two of them": (
        [
            ("RandAffined", {"rotate_range": 0.5, "prob": 0.01}),
            ("RandFlipd", {"prob": 1.0}),
            ("Rand3DElasticd", {"sigma_range": (1, 2), "magnitude_range": (9, 10), "prob": 0.1}),
        ],
        ["RandAffined interpolates", "Rand3DElasticd interpolates"],
    ),
    "another kind": ([("ScaleIntensityd", {})], ["ScaleIntensityd does, to the key 'label'"]),
    "right": ([("RandZoomd", {"mode": ["area", "nearest"], "prob": 1.0})], []),
}


@pytest.mark.parametrize(("steps", "words"), FRACTIONS.values(), ids=FRACTIONS)
def test_fractions_are_explained_by_what_makes_them(
    steps: list[tuple[str, dict[str, Any]]], words: list[str]
) -> None:
    import monai.transforms

    made = [getattr(monai.transforms, name)(keys=BOTH, **options) for name, options in steps]
    batches = loader(*made)
    batch = next(iter(batches))
    before = [dict(vars(one)) for one in made if hasattr(one, "prob")]
    told = explain_fractions(batches, batch, batch["label"])
    assert len(told) == len(words), told
    assert all(word in one for word, one in zip(words, told, strict=True)), told
    assert [one["prob"] for one in before] == [one.prob for one in made if hasattr(one, "prob")]


class OneHalf(nn.Module):
    """Overflows in 16 bits."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return (input * 30000.0).square().mean() / 1e9


def test_a_value_that_is_no_number_is_told_so() -> None:
    report = preflight(OneHalf(), logits(), labels())
    messages = [one.message for one in found(report, "precision")]
    assert messages
    assert "value not finite" in messages[0]
    assert not any("nan%" in message for message in messages)


def test_a_value_may_be_right_where_its_gradient_is_none() -> None:
    report = preflight(DiceCELoss(softmax=True, to_onehot_y=True), logits(), labels())
    del report
    rows = {"a": HalfRow(1.0, 0.5, math.nan, False)}

    class Around:
        amp = False

    class Trial:
        around = Around()
        batch = type("B", (), {"logits": logits()})

    (finding,) = check_precision(Trial(), "float16", rows)  # type: ignore[arg-type]
    assert "value off by 50.0%, gradient not finite" in finding.message


def test_a_report_on_105_classes_is_short() -> None:
    wide, label = torch.randn(1, 105, 12, 12, 12), labels(batch=1)
    report = preflight(medloss.loss("dice_ce", softmax=True), wide, label)
    file = io.StringIO()
    show(report, Console(file=file, width=100))
    text = " ".join(file.getvalue().split())
    assert "3 of 105 classes are there" in text
    assert "class 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 92 more" in text
    assert len(text) < 1500
    assert len(report.as_json()["classes"]) == 105
