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
SHARED = sorted(name for name in dir(medloss.losses) if hasattr(monai.losses, name))
VALUES: dict[str, Any] = {
    "include_background": False,
    "to_onehot_y": True,
    "sigmoid": True,
    "softmax": False,
    "other_act": None,
    "reduction": "sum",
    "smooth_nr": 0.25,
    "smooth_dr": 0.5,
    "batch": True,
    "weight": [0.5, 2.0],
    "squared_pred": True,
    "jaccard": True,
    "soft_label": True,
    "gamma": 3.0,
    "alpha": 0.25,
    "beta": 0.75,
    "lambda_dice": 0.5,
    "lambda_ce": 2.0,
    "lambda_focal": 2.0,
    "lambda_gdl": 0.5,
    "label_smoothing": 0.0,
    "ignore_index": 7,
    "use_softmax": True,
    "w_type": "simple",
    "dist_matrix": [[0, 1.0], [1.0, 0]],
    "weighting_mode": "default",
    "iter_": 2,
    "smooth": 1e-3,
    "num_classes": 2,
    "delta": 0.6,
    "weight_mode": "two",
    "weights": [1.0],
    "loss": "dice",
}


@pytest.mark.parametrize("name", SHARED)
def test_places_are_those_of_monai_or_refused(name: str) -> None:
    """Every prefix of MONAI's places: the same options as by name, or an error."""
    ours, places = getattr(medloss.losses, name), []
    for parameter in inspect.signature(getattr(monai.losses, name)).parameters.values():
        places.append(parameter.name)
        values = dict(VALUES)
        if name in ("GeneralizedDiceLoss", "MCCLoss"):
            values["weight"] = None
        if name == "AsymmetricUnifiedFocalLoss":
            values["weight"] = 0.25
        given = [values.get(place) for place in places]
        try:
            by_place = ours(*given)
        except TypeError:
            continue
        by_name = ours(**dict(zip(places, given, strict=True)))
        assert repr(by_place) == repr(by_name), places


def test_the_places_that_were_found_wrong() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, 5, 6, generator=generator)
    y = torch.randint(0, 3, (2, 1, 5, 6), generator=generator)
    places = (True, True, 3.0)
    expected = monai.losses.FocalLoss(*places)(z, y)
    torch.testing.assert_close(medloss.losses.FocalLoss(*places)(z, y), expected)
    distances = torch.tensor([[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]])
    expected = monai.losses.GeneralizedWassersteinDiceLoss(distances)(z, y)
    torch.testing.assert_close(
        medloss.losses.GeneralizedWassersteinDiceLoss(distances)(z, y), expected
    )
    for name, given in (("HausdorffDTLoss", 2.0), ("LogHausdorffDTLoss", 2.0), ("NACLLoss", 3)):
        with pytest.raises(TypeError, match=f"{name}: expected names, got 1 without"):
            getattr(medloss.losses, name)(given)
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


def test_names_of_monai_lead_somewhere() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, 6, 7, generator=generator)
    y = torch.randint(0, 3, (2, 1, 1, 7), generator=generator).expand(2, 1, 6, 7).contiguous()
    for name in ("SoftclDiceLoss", "SoftDiceclDiceLoss"):
        for places in ((), (2, 0.5, 0.5) if name == "SoftDiceclDiceLoss" else (2, 0.5)):
            named = {"to_onehot_y": True, "softmax": True}
            expected = getattr(monai.losses, name)(*places, **named)(z, y)
            found = getattr(medloss.losses, name)(*places, **named)(y_pred=z, y_true=y)
            torch.testing.assert_close(found, expected)
    p, one = z[:, :2].softmax(1), (y > 0).long()
    both = torch.cat([1 - one, one], 1).float()
    for places in ((), (False, 2, 0.2, 0.3, 0.6)):
        expected = monai.losses.AsymmetricUnifiedFocalLoss(*places)(p, both)
        found = medloss.losses.AsymmetricUnifiedFocalLoss(*places)(y_pred=p, y_true=one)
        torch.testing.assert_close(found, expected)
    mask = (torch.rand(2, 1, 6, 7, generator=generator) > 0.5).float()
    expected = monai.losses.MaskedDiceLoss()(p, both, mask)
    torch.testing.assert_close(medloss.losses.MaskedDiceLoss()(p, one, mask), expected)
    named = {"to_onehot_y": True, "sigmoid": True, "smooth_nr": 0.0, "smooth_dr": 1e-12}
    expected = monai.losses.GeneralizedDiceFocalLoss(gamma=1.0, lambda_gdl=2, **named)(z, y)
    found = medloss.losses.GeneralizedDiceFocalLoss(gamma=1.0, lambda_gdl=2, **named)(z, y)
    torch.testing.assert_close(found, expected)
    with pytest.raises(TypeError, match="'classes'; the input tells"):
        medloss.losses.NACLLoss(classes=3, dim=2)
    with pytest.raises(TypeError, match="'alpha'; it is lambda_penalty"):
        medloss.loss("nacl", alpha=0.1)
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
