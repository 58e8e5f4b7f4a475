"""Every loss of MONAI: here under its name, with its places, defaults and numbers, or not, and why.

What is a defect there, with both values, stands in ``test_monai_parity``.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import monai.losses
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from torch import Tensor
from worked_inputs import one_hot

import medloss
import medloss.losses

THEIRS = {name: each for name, each in vars(monai.losses).items() if inspect.isclass(each)}
NOT_HERE = {
    "AUCMLoss": "of the classification of whole images",
    "BarlowTwinsLoss": "of embeddings",
    "BendingEnergyLoss": "of displacement fields",
    "BoxGIoULoss": "of boxes: medloss.detection.GIoULoss",
    "ContrastiveLoss": "of embeddings",
    "DiffusionLoss": "of displacement fields",
    "GlobalMutualInformationLoss": "of pairs of images",
    "JukeboxLoss": "of pairs of images",
    "LocalNormalizedCrossCorrelationLoss": "of pairs of images",
    "MaskedLoss": "every loss here takes a mask",
    "MultiScaleLoss": "of pairs of images",
    "PatchAdversarialLoss": "of discriminators",
    "PerceptualLoss": "of pairs of images",
    "SSIMLoss": "of pairs of images",
    "SURELoss": "of the reconstruction of images",
    "giou": "of boxes: medloss.detection.GIoULoss",
}
"""Why a class of ``monai.losses`` has no namesake."""

OTHER_DEFAULTS = {
    ("DeepSupervisionLoss", "loss"): "dice_ce",  # where MONAI has none
    ("GeneralizedWassersteinDiceLoss", "dist_matrix"): None,
    ("generalized_wasserstein_dice", "dist_matrix"): None,
    ("NACLLoss", "classes"): None,
    ("NACLLoss", "dim"): None,
    ("NACLLoss", "alpha"): None,  # that of lambda_penalty, 0.1 too
    ("TverskyLoss", "alpha"): None,  # that of fp_weight, 0.5 too
    ("TverskyLoss", "beta"): None,
}

GENERATOR = torch.Generator().manual_seed(0)
Z = 2 * torch.randn(2, 3, 6, 7, generator=GENERATOR)
Y = torch.randint(0, 3, (2, 1, 6, 7), generator=GENERATOR)
DISTANCES = torch.tensor([[0, 2, 2], [2, 0, 1.0], [2, 1, 0]])
WEIGHTS = torch.tensor([0.5, 2.0, 1.0])
ACTIVATED = (True, True, False, True, None)
INDEPENDENT = (True, True, True, False, None)
SMOOTH = (0.25, 0.5)

PLACES: dict[str, tuple[Any, ...]] = {
    "AsymmetricUnifiedFocalLoss": (True, 2, 0.2, 0.3, 0.6, "mean", None),
    "BoundaryLoss": (*ACTIVATED, "sum", True),
    "DeepSupervisionLoss": ("two", [0.5, 0.25]),
    "DiceCELoss": (
        False,
        *ACTIVATED[1:],
        True,
        False,
        "sum",
        *SMOOTH,
        True,
        WEIGHTS,
        0.5,
        2.0,
        0.1,
    ),
    "DiceFocalLoss": (
        *INDEPENDENT,
        True,
        False,
        "sum",
        *SMOOTH,
        False,
        1.0,
        WEIGHTS,
        0.5,
        2.0,
        0.3,
    ),
    "DiceLoss": (
        False,
        *ACTIVATED[1:],
        False,
        True,
        "sum",
        *SMOOTH,
        True,
        WEIGHTS[1:],
        False,
        None,
    ),
    "FocalLoss": (True, True, 3.0, 0.25, WEIGHTS, "sum", True, None),
    "GeneralizedDiceFocalLoss": (
        *(*INDEPENDENT, "simple", "mean", 0.0, 1e-12, True),
        *(1.0, WEIGHTS, 2.0, 0.5),
    ),
    "GeneralizedDiceLoss": (*ACTIVATED, "simple", "sum", 0.0, 0.0, True, False),
    "GeneralizedWassersteinDiceLoss": (DISTANCES, "GDL", "sum", *SMOOTH),
    "HausdorffDTLoss": (1.5, *ACTIVATED, "sum", True),
    "LogHausdorffDTLoss": (1.5, *ACTIVATED, "mean", True),
    "MCCLoss": (*ACTIVATED, "sum", *SMOOTH, True),
    "MaskedDiceLoss": (
        True,
        False,
        *INDEPENDENT[2:],
        True,
        False,
        "sum",
        *SMOOTH,
        True,
        WEIGHTS,
        False,
    ),
    "NACLLoss": (3, 2, 3, "gaussian", "l2", 0.3, 0.7),
    "SoftDiceclDiceLoss": (2, 0.3, *SMOOTH, 1e-3, *ACTIVATED, "mean"),
    "SoftclDiceLoss": (2, *SMOOTH, 1e-3, *ACTIVATED, "mean"),
    "TverskyLoss": (*ACTIVATED, 0.3, 0.6, "sum", *SMOOTH, True, False, None),
}
"""All that each class takes, by place, none of it its default where that can be told apart."""

ALSO: dict[str, dict[str, Any]] = {
    "BoundaryLoss": {"spacing_mm": "voxel", "convention": "kervadec"},
    "HausdorffDTLoss": {"spacing_mm": "voxel"},
    "LogHausdorffDTLoss": {"spacing_mm": "voxel"},
}
"""What brings MONAI's numbers beside."""


def same(ours: Any, theirs: Any, input: Tensor, target: Tensor) -> None:
    """Equal value and gradient."""
    found = []
    for loss in (ours, theirs):
        leaf = input.clone().requires_grad_()
        value = loss(leaf, target)
        value.sum().backward()
        found.append((value.detach().double().reshape(-1), leaf.grad))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-5, atol=1e-6)


def test_every_class_of_monai_is_here_or_it_is_said_why_not() -> None:
    assert {*THEIRS} - {*dir(medloss.losses)} == {*NOT_HERE}
    assert {name for name in THEIRS if name.endswith("Loss")} - {*NOT_HERE} == {*PLACES}
    assert medloss.losses.dice_ce is medloss.losses.DiceCELoss
    for name in {*THEIRS} - {*NOT_HERE}:  # one loss under all of its names
        full = THEIRS[name].__name__
        assert getattr(medloss.losses, name) is getattr(medloss.losses, full), name


@pytest.mark.parametrize("name", sorted({*THEIRS} - {*NOT_HERE}))
def test_places_and_defaults_are_those_of_monai(name: str) -> None:
    theirs = inspect.signature(THEIRS[name]).parameters.values()
    ours = inspect.signature(getattr(medloss.losses, name)).parameters
    first = [p.name for p in ours.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert first == [parameter.name for parameter in theirs]
    for parameter in theirs:
        plain = getattr(parameter.default, "value", parameter.default)  # of an enumeration
        expected = OTHER_DEFAULTS.get((name, parameter.name), plain)
        assert ours[parameter.name].default == expected, parameter.name


@pytest.mark.parametrize("name", PLACES)
def test_places_mean_what_they_mean_in_monai(name: str) -> None:
    places, input, target = PLACES[name], Z, Y
    pair = [getattr(module, name) for module in (medloss.losses, monai.losses)]
    if name == "DeepSupervisionLoss":
        inside = monai.losses.DiceLoss(softmax=True, to_onehot_y=True)
        outputs = [Z, Z[..., ::2, ::2]]
        values = [
            make(inside, *places, **more)(outputs, Y.float())
            for make, more in zip(pair, ({"normalize": False}, {}), strict=True)
        ]
        torch.testing.assert_close(*values)
        return
    if name == "AsymmetricUnifiedFocalLoss":
        input, target = Z[:, :2].softmax(1), (Y > 0).long()
    if name == "NACLLoss":
        target = Y[:, 0]
    ours, theirs = pair[0](*places, **ALSO.get(name, {})), pair[1](*places)
    if name == "MaskedDiceLoss":
        mask, target = torch.rand(1, 1, 6, 7, generator=GENERATOR) > 0.3, one_hot(Y, 3).float()
        ours, theirs = (lambda z, y, loss=loss: loss(z, y, mask.float()) for loss in (ours, theirs))
    same(ours, theirs, input, target)


BUNDLES: list[tuple[str, dict[str, Any]]] = [
    ("DiceLoss", {"softmax": True, "to_onehot_y": True, "include_background": False}),
    ("DiceCELoss", {"softmax": True, "to_onehot_y": True, "squared_pred": True, "batch": True}),
    ("DiceFocalLoss", {"sigmoid": True, "to_onehot_y": True, "smooth_nr": 0, "squared_pred": True}),
    ("FocalLoss", {"to_onehot_y": True, "use_softmax": True}),
    ("TverskyLoss", {"softmax": True, "to_onehot_y": True, "alpha": 0.3, "beta": 0.7}),
    (
        "GeneralizedDiceLoss",
        {"softmax": True, "to_onehot_y": True, "smooth_nr": 0, "smooth_dr": 0},
    ),
    (
        "GeneralizedDiceFocalLoss",
        {"sigmoid": True, "to_onehot_y": True, "smooth_nr": 0, "smooth_dr": 1e-12},
    ),
    ("HausdorffDTLoss", {"softmax": True, "to_onehot_y": True}),
]


@pytest.mark.parametrize(("name", "options"), BUNDLES, ids=[name for name, _ in BUNDLES])
def test_the_target_of_a_bundle_may_be_exchanged(name: str, options: dict[str, Any]) -> None:
    losses = [
        ConfigParser({"loss": {"_target_": f"{of}.losses.{name}", **options}}).get_parsed_content(
            "loss"
        )
        for of in ("medloss", "monai")
    ]
    assert [type(loss).__module__.split(".")[0] for loss in losses] != ["monai", "monai"]
    same(*losses, Z, MetaTensor(Y, affine=torch.eye(4)[:3, :3]))


@pytest.mark.parametrize("input", [Z, Z[..., None], Z[:, :, 0], Z[..., None, None]])
@pytest.mark.parametrize("name", ["DiceLoss", "GeneralizedDiceLoss", "TverskyLoss", "FocalLoss"])
def test_values_that_are_not_reduced_have_monais_shape(name: str, input: Tensor) -> None:
    target = Y.reshape(2, 1, 6, 7, *[1] * (input.ndim - 4))
    target = target[(slice(None), slice(None), *(0 for _ in range(4 - input.ndim)))]
    options: dict[str, Any] = {"to_onehot_y": True, "reduction": "none"}
    options["use_softmax" if name == "FocalLoss" else "softmax"] = True
    keepdim = {"keepdim": True} if name in ("DiceLoss", "GeneralizedDiceLoss") else {}
    ours = getattr(medloss.losses, name)(**options, **keepdim)(input, target)
    assert ours.shape == getattr(monai.losses, name)(**options)(input, target).shape


def test_axes_that_are_kept_go_with_maps_of_voxels() -> None:
    options = {"softmax": True, "reduction": "none", "keepdim": True}
    for loss in ("dice", "dice_ce", "generalized_wasserstein_dice", "cl_dice"):
        value = medloss.loss(loss, **options)(Z, Y)
        assert value.ndim == 4
        assert math.prod(torch.broadcast_shapes(value.shape, Z.shape)) == Z.numel()
    assert medloss.loss("dice", softmax=True, keepdim=True)(Z, Y).ndim == 0


@pytest.mark.parametrize(
    "name", ["dice_ce", "cross_entropy", "boundary", "cl_dice", "lovasz_softmax"]
)
def test_integers_may_be_without_their_channel(name: str) -> None:
    options = {"spacing_mm": 1.0} if name == "boundary" else {}
    loss = medloss.loss(name, softmax=True, **options)
    torch.testing.assert_close(loss(Z, Y[:, 0]), loss(Z, Y))
    torch.testing.assert_close(loss(Z, {"label": Y[:, 0], "mask": Y > 0}), loss(Z, Y, mask=Y > 0))
    for wrong in (Y[:, 0].float(), Y[:1, 0], Y[:, 0, 1:]):
        with pytest.raises(AssertionError, match="target: expected") as refused:
            loss(Z, wrong)
        assert isinstance(refused.value, ValueError)


def test_deep_supervision_takes_integers_without_their_channel() -> None:
    loss = medloss.losses.DeepSupervisionLoss("dice_ce", softmax=True)
    outputs = [Z, Z[..., ::2, ::2]]
    torch.testing.assert_close(loss(outputs, Y[:, 0]), loss(outputs, Y))
    volume, labels = Z[..., None].repeat(1, 1, 1, 1, 2), Y[..., None].repeat(1, 1, 1, 1, 2)
    torch.testing.assert_close(loss(volume, labels[:, 0]), loss(volume, labels))  # no stack


@pytest.mark.parametrize("name", ["dice", "dice_ce", "unified_focal", "hausdorff_dt", "nacl"])
def test_a_single_channel_has_no_background_to_leave_out(name: str) -> None:
    """Value, gradient and breakdown of the loss with it, and the option stays as it was."""
    options: dict[str, Any] = {"sigmoid": True}
    options |= {"spacing_mm": 1.0} if name == "hausdorff_dt" else {}
    with_it = medloss.loss(name, **options, include_background=True)
    without = medloss.loss(name, **options, include_background=False)
    y = (Y > 0).long()
    for _ in range(2):  # the second time, where nothing need be decided
        with pytest.warns(UserWarning, match="include_background=False has no effect") as told:
            without(Z[:, :1], y)
        assert len(told) == 1
        with pytest.warns(UserWarning, match="no effect"):
            same(without, with_it, Z[:, :1], y)
    assert without.include_background is False
    if name == "dice_ce":
        assert without.breakdown() == with_it.breakdown()
    if name != "nacl":
        several = medloss.loss(name, **options, include_background=False)
        both = torch.cat([1 - y, y], 1)
        torch.testing.assert_close(without(Z[:, :2], both), several(Z[:, :2], both))


def test_a_term_without_background_beside_one_with_it() -> None:
    terms = ["dice", {"name": "hausdorff_dt", "spacing_mm": 1.0}]
    loss = medloss.loss("compound", sigmoid=True, terms=terms)
    with pytest.warns(UserWarning, match="HausdorffDTLoss: include_background=False has no"):
        value = loss(Z[:, :1], (Y > 0).long())
    each = [term.value for term in loss.breakdown().values()]
    assert float(value) == pytest.approx(sum(each), rel=1e-6)


def test_one_hot_of_a_single_channel_is_told() -> None:
    with pytest.warns(UserWarning, match="DiceLoss: to_onehot_y=True has no effect"):
        medloss.losses.DiceLoss(sigmoid=True, to_onehot_y=True)(Z[:, :1], (Y > 0).long())


def test_options_of_nacl_that_cannot_be_meant() -> None:
    nacl = medloss.losses.NACLLoss
    assert nacl(3, 2).softmax
    assert not nacl(3, 2, sigmoid=True).softmax
    assert nacl(3, 2, alpha=0.3).lambda_penalty == 0.3
    for places, words in (
        ((4, 2), "classes: expected 3, as the input has, got 4"),
        ((3, 3), "dim: expected 2, as the input has, got 3"),
    ):
        with pytest.raises(ValueError, match=words):
            nacl(*places)(Z, Y)
    for options, words in (
        ({"kernel_size": 4}, "kernel_size: expected an odd number"),
        ({"sigma": 2.0}, "sigma: expected 1.0, as kernel_ops='mean' makes no use"),
        ({"kernel_ops": "gaussian", "kernel_size": 5}, "kernel_size: expected 3, as"),
        ({"kernel_ops": "gaussian", "sigma": 0.0}, "sigma: expected more than 0"),
        ({"alpha": 0.3, "lambda_penalty": 0.2}, "alpha: it is MONAI's name of lambda_penalty"),
    ):
        with pytest.raises(ValueError, match=words):
            nacl(**options)


def test_weights_of_volumes_in_wasserstein_dice() -> None:
    """GDL: one-hot labels, a mask and a class that was not annotated, by hand."""
    p, y = Z.softmax(1), Y[:, 0]
    mask = torch.rand(y.shape, generator=torch.Generator().manual_seed(1)) > 0.3
    matrix = DISTANCES / 2
    matrix[:, 1] = 0  # what is predicted of a class that was not annotated costs nothing
    value = 0.0
    for one_p, one_y, one_mask in zip(p, y, mask, strict=True):
        counts = torch.tensor([float(((one_y == c) & one_mask & (c != 1)).sum()) for c in range(3)])
        above = below = 0.0
        for c in (0, 2):
            here = (one_y == c) & one_mask
            w = torch.einsum("k,kn->n", matrix[c], one_p[:, here])
            above += float(((1 - w) / (1 + counts[c])).sum())
            below += float(((2 - w) / (1 + counts[c])).sum())
        value += (1 - (2 * above + 1e-5) / (below + 1e-5)) / 2
    loss = medloss.losses.GeneralizedWassersteinDiceLoss(DISTANCES, "GDL")
    given = {"mask": mask[:, None], "present": torch.tensor([[True, False, True]] * 2)}
    assert float(loss(Z, Y, **given)) == pytest.approx(value, abs=1e-6)
    dense = one_hot(Y, 3).float()
    assert float(loss(Z, dense, **given)) == pytest.approx(value, abs=1e-6)
