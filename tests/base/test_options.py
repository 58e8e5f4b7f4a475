"""Options by place and name: what MONAI takes means the same here, or is refused."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import monai.losses
import numpy as np
import pytest
import torch

import medloss
from medloss.base import RegionLoss, options
from medloss.offers.host import host

CLASSES = {o.record.attribute: o.load() for o in host().losses if o.record.name != "compound"}


def test_the_first_place_of_a_metric_is_no_number() -> None:
    with pytest.raises(TypeError, match="include_background: expected True or False"):
        medloss.metrics.PanopticQualityMetric(3)


@pytest.mark.parametrize("name", CLASSES)
def test_every_option_is_what_its_annotation_says(name: str) -> None:
    kind = CLASSES[name]
    for option, parameter in inspect.signature(kind).parameters.items():
        annotation = str(parameter.annotation)
        wrong: list[Any] = []
        if annotation == "bool":
            wrong = ["false", "yes", 1, 0.0, None, [True]]
        elif annotation.split(" ")[0] == "float":
            wrong = ["1", True, float("nan"), float("inf"), {1}]
        elif annotation.split(" ")[0] == "int":
            wrong = ["1", True, 1.5]
        for value in wrong:
            # of a number out of bounds the part that takes it may speak
            whose = "" if isinstance(value, float) else f"{option}: "
            with pytest.raises((TypeError, ValueError), match=f"{whose}expected"):
                kind(**{option: value})


def test_positional_words_are_no_flags() -> None:
    for given in (("yes", "no"), ("false",)):
        with pytest.raises(TypeError, match="include_background: expected True or False, got"):
            medloss.losses.DiceCELoss(*given)


def test_scalars_of_numpy_are_numbers_and_flags() -> None:
    loss = medloss.losses.DiceLoss(softmax=np.True_, smooth_nr=np.float32(1), weight=np.ones(3))
    assert loss.softmax is True
    assert type(loss.smooth_nr) is float
    assert medloss.loss("focal", gamma=torch.tensor(2.0)).gamma == 2


def test_places_and_names_of_ones_own_loss() -> None:
    @options
    class OwnLoss(RegionLoss):
        """A loss of somebody."""

        strength: float = 1.0

    assert OwnLoss(False, strength=2).strength == 2
    for wrong, words in (
        ({"strengh": 1}, "no option 'strengh'; did you mean strength"),
        ({"strength": "2"}, "strength: expected a finite number, got '2'"),
    ):
        with pytest.raises(TypeError, match=words):
            OwnLoss(**wrong)
    with pytest.raises(TypeError, match="include_background given twice"):
        OwnLoss(True, include_background=True)
    with pytest.raises(TypeError, match=r"expected include_background, .* by place"):
        OwnLoss(True, False, False, False, None, 3.0)


def test_names_of_input_and_target_of_monai() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, 6, 7, generator=generator)
    y = torch.randint(0, 3, (2, 1, 1, 7), generator=generator).expand(2, 1, 6, 7).contiguous()
    for name in ("SoftclDiceLoss", "SoftDiceclDiceLoss"):
        named = {"to_onehot_y": True, "softmax": True}
        expected = getattr(monai.losses, name)(**named)(z, y)
        found = getattr(medloss.losses, name)(**named)(y_pred=z, y_true=y)
        torch.testing.assert_close(found, expected)
    nacl = medloss.losses.NACLLoss(3, 2)
    torch.testing.assert_close(nacl(inputs=z, targets=y[:, 0]), nacl(z, y))
    with pytest.raises(TypeError, match="y_true: it is target; expected one of them"):
        medloss.losses.SoftclDiceLoss(softmax=True)(z, target=y, y_true=y)
    with pytest.raises(ValueError, match="dist_matrix: it is MONAI's name"):
        medloss.losses.GeneralizedWassersteinDiceLoss(
            dist_matrix=[[0, 1], [1, 0]], distances=[[0, 1], [1, 0]]
        )


def test_a_star_brings_the_classes_and_medloss_no_torch() -> None:
    code = (
        "import sys, medloss; assert 'torch' not in sys.modules\n"
        "from medloss.losses import *\n"
        "assert DiceLoss(softmax=True).softmax and SoftclDiceLoss\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
