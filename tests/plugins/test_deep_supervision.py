"""One loss at several resolutions."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import monai.losses
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.networks.nets import DynUNet
from torch import Tensor, nn
from worked_inputs import f64, one_hot

import medloss
from medloss.compound.breakdown import as_columns
from medloss.integrations.loss_callback import visible_loss
from medloss.losses import DeepSupervisionLoss
from medloss.testing.scenes import make_scene, ready_maps
from medloss_compound.levels import nearest

SPACING_MM = (1.0, 2.0, 0.5)
SIZES = ((8, 6, 4), (4, 3, 2), (2, 2, 1))
NAMES = [r.name for r in medloss.list_losses() if r.name != "deep_supervision"]


def outputs_and_label(classes: int = 3) -> tuple[list[Tensor], Tensor]:
    scene = make_scene(classes, shape=SIZES[0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    lower = [
        torch.randn(2, classes, *size, generator=generator, dtype=torch.float64)
        for size in SIZES[1:]
    ]
    return [scene.logits, *lower], scene.target


def interpolated(label: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(label.double(), size, mode="nearest-exact").to(label.dtype)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=2, max_size=3))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_nearest_is_that_of_torch_for_any_dtype(shapes: list[tuple[int, int]]) -> None:
    whole, size = tuple(max(pair) for pair in shapes), tuple(min(pair) for pair in shapes)
    label = torch.arange(torch.Size(whole).numel()).view(1, 1, *whole)
    expected = interpolated(label, size)
    for dtype in (torch.int64, torch.int32, torch.float64):
        found = nearest(label.to(dtype), size)
        assert found.dtype == dtype
        assert torch.equal(found.long(), expected)


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, [4 / 7, 2 / 7, 1 / 7]),
        ({"weight_mode": "two"}, [1 / 2, 1 / 4, 1 / 4]),
        ({"weight_mode": "same"}, [1 / 3, 1 / 3, 1 / 3]),
        ({"skip_lowest": True}, [2 / 3, 1 / 3, 0]),
        ({"weights": [3, 0, 1, 9]}, [3 / 4, 0, 1 / 4]),
        ({"weights": [3, 0, 1], "normalize": False}, [3, 0, 1]),
        ({"normalize": False}, [1, 1 / 2, 1 / 4]),
    ],
)
def test_value_is_the_weighted_mean_of_the_levels(
    options: dict[str, Any], weights: list[float]
) -> None:
    outputs, label = outputs_and_label()
    inside = medloss.loss("dice_ce", softmax=True)
    at_levels = [
        inside(output, interpolated(label, size))
        for output, size in zip(outputs, SIZES, strict=True)
    ]
    expected = sum(w * value for w, value in zip(weights, at_levels, strict=True))
    loss = DeepSupervisionLoss("dice_ce", softmax=True, **options)
    torch.testing.assert_close(loss(outputs, label), expected)
    torch.testing.assert_close(loss(tuple(outputs), label), expected)
    named = dict(zip(("full", "half", "quarter"), outputs, strict=True))
    torch.testing.assert_close(loss(named, label), expected)
    torch.testing.assert_close(loss(outputs, one_hot(label, 3)), expected)
    seen = loss.breakdown()
    assert sum(term.weighted for term in seen.values()) == pytest.approx(float(expected))
    kept = [k for k, weight in enumerate(weights) if weight]
    assert list(seen) == [f"level_{k}/{t}" for k in kept for t in ("dice", "cross_entropy")]
    for k in kept:
        assert seen[f"level_{k}/dice"].weight == pytest.approx(weights[k])
    # one output, as in evaluation
    torch.testing.assert_close(loss(outputs[0], label), at_levels[0])
    torch.testing.assert_close(loss(outputs[:1], label), at_levels[0])


@pytest.mark.parametrize("axes", [2, 3])
def test_stacked_outputs_as_dynunet_gives(axes: int) -> None:
    scene = make_scene(3, shape=SIZES[0][:axes], dtype=torch.float64)
    stacked = torch.stack([scene.logits, scene.logits.flip(2), scene.logits.flip(3)], 1)
    loss = DeepSupervisionLoss("dice_ce", softmax=True)
    expected = loss(list(stacked.unbind(1)), scene.target)
    torch.testing.assert_close(loss(stacked, scene.target), expected)
    assert float(expected) != pytest.approx(float(loss(scene.logits, scene.target)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: monai.losses.DiceCELoss(softmax=True, to_onehot_y=True),
        lambda: monai.losses.TverskyLoss(softmax=True, to_onehot_y=True),
        lambda: monai.losses.FocalLoss(use_softmax=True, to_onehot_y=True),
    ],
)
@pytest.mark.parametrize("mode", ["exp", "two", "same"])
def test_it_takes_what_monai_takes(make: Callable[[], nn.Module], mode: str) -> None:
    """The same constructor, the same numbers without normalisation; and integer labels too."""
    outputs, label = outputs_and_label()
    floats = [output.float() for output in outputs]
    theirs = monai.losses.DeepSupervisionLoss(make(), mode)
    ours = DeepSupervisionLoss(make(), mode, normalize=False)
    torch.testing.assert_close(ours(floats, label.float()), theirs(floats, label.float()))
    torch.testing.assert_close(ours(floats, label), theirs(floats, label.float()))
    torch.testing.assert_close(ours(floats[0], label), theirs(floats[0], label))
    weights = [1.0, 0.3, 0.2]
    theirs = monai.losses.DeepSupervisionLoss(make(), weights=weights)
    ours = DeepSupervisionLoss(make(), weights=weights, normalize=False)
    torch.testing.assert_close(ours(floats, label), theirs(floats, label.float()))
    half = [output.half() for output in floats]
    torch.testing.assert_close(ours(half, label), theirs(half, label.float()))


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_works_at_every_level(name: str) -> None:
    """By the sum over levels of the loss on targets made by hand; at all levels where asked."""
    (record,) = (r for r in medloss.list_losses() if r.name == name)
    outputs, label = outputs_and_label(4 if name == "generalized_wasserstein_dice" else 3)
    try:
        inside = medloss.loss(name, **record.example)
        scene = make_scene(outputs[0].shape[1], shape=SIZES[0], dtype=torch.float64)
        maps = {k: v for k, v in ready_maps(scene).items() if k in record.needs}
        target = {"label": label, "spacing_mm": SPACING_MM, **maps}
        inside(outputs[0], target)
    except ValueError:  # its example is for another number of classes
        outputs, label = outputs_and_label(4)
        scene = make_scene(4, shape=SIZES[0], dtype=torch.float64)
        maps = {k: v for k, v in ready_maps(scene).items() if k in record.needs}
        target = {"label": label, "spacing_mm": SPACING_MM, **maps}
    expected: Any = 0
    for k, (output, size) in enumerate(zip(outputs, SIZES, strict=True)):
        ratio = [n / m for n, m in zip(SIZES[0], size, strict=True)]
        here = {
            "label": interpolated(label, size),
            "spacing_mm": tuple(s * r for s, r in zip(SPACING_MM, ratio, strict=True)),
            **{key: interpolated(value, size) for key, value in maps.items()},
        }
        expected = expected + 0.5**k / 1.75 * inside(output, here)
    leaves = [output.clone().requires_grad_() for output in outputs]
    everywhere = DeepSupervisionLoss(inside, boundary_levels=None)
    torch.testing.assert_close(everywhere(leaves, target), expected)
    loss = DeepSupervisionLoss(inside)
    value = loss(leaves, target)
    value.backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)
    if record.family == "boundary" or name in ("cl_dice", "skeleton_recall"):
        torch.testing.assert_close(value, inside(outputs[0], target))
        assert leaves[1].grad is not None
        assert (leaves[1].grad == 0).all()
    elif record.family != "topology" and not hasattr(inside, "spacing_mm"):
        torch.testing.assert_close(value, expected)


def test_boundary_terms_count_at_full_resolution_alone() -> None:
    outputs, label = outputs_and_label()
    terms = ["dice", "cross_entropy", "boundary"]
    inside = medloss.loss("compound", terms=terms, weights=[1, 1, 0.1], softmax=True)
    region = medloss.loss("dice_ce", softmax=True)
    target = {"label": label, "spacing_mm": SPACING_MM}
    expected = 4 / 7 * inside(outputs[0], target)
    for k in (1, 2):
        here = interpolated(label, SIZES[k])
        expected = expected + 0.5**k / 1.75 * region(outputs[k], here)
    loss = DeepSupervisionLoss(inside)
    torch.testing.assert_close(loss(outputs, target), expected)
    seen = loss.breakdown()
    assert [name for name in seen if "boundary" in name] == ["level_0/boundary"]
    assert seen["level_0/boundary"].weight == pytest.approx(0.4 / 7)
    two = DeepSupervisionLoss(inside, boundary_levels=2)
    two(outputs, target)
    names = [name for name in two.breakdown() if "boundary" in name]
    assert names == ["level_0/boundary", "level_1/boundary"]
    nested = {"name": "compound", "terms": [inside, "focal"]}
    deeper = DeepSupervisionLoss(nested, softmax=True)
    deeper(outputs, target)
    assert list(deeper.breakdown())[-2:] == ["level_2/CompoundLoss", "level_2/focal"]
    assert [each.name for each in deeper._last] == ["level_0", "level_1", "level_2"]
    marginal = DeepSupervisionLoss(medloss.losses.MarginalLoss(loss=inside))
    torch.testing.assert_close(marginal(outputs, target), expected)
    assert list(inside.losses) == terms  # left as it was


def test_spacing_grows_with_the_level() -> None:
    """An extent in mm is what it was: of the call, of a mapping, of a MetaTensor."""
    outputs, label = outputs_and_label()
    affine = torch.diag(f64([*SPACING_MM, 1.0]))
    loss = DeepSupervisionLoss("boundary", softmax=True, boundary_levels=None)
    expected = loss(outputs, label, spacing_mm=SPACING_MM)
    by_hand = medloss.loss("boundary", softmax=True)
    parts = [
        by_hand(output, interpolated(label, size), spacing_mm=spacing)
        for output, size, spacing in zip(
            outputs, SIZES, ((1, 2, 0.5), (2, 4, 1), (4, 6, 2)), strict=True
        )
    ]
    torch.testing.assert_close(expected, (4 * parts[0] + 2 * parts[1] + parts[2]) / 7)
    torch.testing.assert_close(loss(outputs, {"label": label, "spacing_mm": SPACING_MM}), expected)
    torch.testing.assert_close(loss(outputs, MetaTensor(label, affine=affine)), expected)
    fixed = DeepSupervisionLoss(
        "boundary", softmax=True, boundary_levels=None, spacing_mm=SPACING_MM
    )
    with pytest.raises(ValueError, match="that of BoundaryLoss is an option"):
        fixed(outputs, label)
    torch.testing.assert_close(fixed(outputs, label, spacing_mm=SPACING_MM), expected)
    only_full = DeepSupervisionLoss("boundary", softmax=True, spacing_mm=SPACING_MM)
    torch.testing.assert_close(only_full(outputs, label), parts[0])


def test_masks_ignored_labels_and_present_go_to_every_level() -> None:
    outputs, label = outputs_and_label()
    mask = torch.ones_like(label, dtype=torch.bool)
    mask[:, :, 4:] = False
    loss = DeepSupervisionLoss("dice_ce", softmax=True)
    expected = loss(outputs, label, mask=mask)
    torch.testing.assert_close(loss(outputs, {"label": label, "mask": mask}), expected)
    marked = torch.where(mask, label, 255).to(torch.uint8)
    ignoring = DeepSupervisionLoss("dice_ce", softmax=True, ignore_index=255)
    torch.testing.assert_close(ignoring(outputs, marked), expected)
    broken = [output.clone() for output in outputs]
    for output in broken:
        output[:, :, output.shape[2] // 2 :] = torch.nan
    torch.testing.assert_close(loss(broken, label, mask=mask), expected)
    known = [[True, True, False]] * 2
    marginal = DeepSupervisionLoss("marginal", softmax=True)
    value = marginal(outputs, label, present=known)
    by_hand = medloss.loss("marginal", softmax=True)
    parts = [
        by_hand(output, interpolated(label, size), present=known)
        for output, size in zip(outputs, SIZES, strict=True)
    ]
    torch.testing.assert_close(value, (4 * parts[0] + 2 * parts[1] + parts[2]) / 7)


def test_a_target_for_each_level_as_nnunet_hands_over() -> None:
    outputs, label = outputs_and_label()
    loss = DeepSupervisionLoss("dice_ce", softmax=True)
    targets: list[Any] = [interpolated(label, size) for size in SIZES]
    torch.testing.assert_close(loss(outputs, targets), loss(outputs, label))
    mappings = [{"label": target} for target in targets]
    torch.testing.assert_close(loss(outputs, mappings), loss(outputs, label))
    for wrong, extras in ((targets[:2], {}), (targets, {"spacing_mm": 1.0}), ([], {})):
        with pytest.raises(ValueError, match="target: expected"):
            loss(outputs, wrong, **extras)


def test_equal_to_nnunets_wrapper() -> None:
    wrapper = pytest.importorskip("nnunetv2.training.loss.deep_supervision")
    outputs, label = outputs_and_label()
    targets = [interpolated(label, size) for size in SIZES]
    inside = medloss.loss("dice_ce", softmax=True)
    weights = [2 / 3, 1 / 3, 0]
    theirs = wrapper.DeepSupervisionWrapper(inside, weights)(outputs, targets)
    ours = DeepSupervisionLoss(copy.deepcopy(inside), skip_lowest=True)(outputs, targets)
    torch.testing.assert_close(ours, theirs)


def test_schedules_and_measurements_go_by_the_first_level() -> None:
    outputs, label = outputs_and_label()
    outputs = [output.requires_grad_() for output in outputs]
    ramp = {"schedule": "ramp", "start": 0, "end": 1, "steps": 2}
    loss = DeepSupervisionLoss(
        {"name": "compound", "terms": ["dice", "cross_entropy"], "weights": [1, ramp]},
        softmax=True,
        gradient_share=True,
        forwards_per_step=1,
    )
    seen = []
    for _ in range(3):  # more than one forward for each step would raise
        loss(outputs, label)
        terms = loss.breakdown(training=True)
        seen.append(terms["level_2/cross_entropy"].weight)
        assert terms["level_0/dice"].gradient_norm is not None
        assert terms["level_0/dice"].gradient_norm > 0
        loss.eval()
        loss(-outputs[0], label)
        again = loss.breakdown(training=True)
        assert again["level_0/dice"].value == terms["level_0/dice"].value
        assert loss.breakdown()["level_0/dice"].value != terms["level_0/dice"].value
        assert list(loss.breakdown()) == ["level_0/dice", "level_0/cross_entropy"]
        assert "level_2/dice" in loss.breakdown(training=True)
        loss.train()
        loss.step_schedule()
    assert seen == pytest.approx([0, 0.5 / 7, 1 / 7])
    assert loss.state_dict()


def test_what_schedules_measure_is_the_first_level() -> None:
    """A term that is only there does not unbalance the others, nor does a lower level."""
    outputs, label = outputs_and_label()
    leaves = [output.requires_grad_() for output in outputs]
    compound = {
        "name": "compound",
        "terms": ["dice", {"name": "boundary", "spacing_mm": SPACING_MM}],
        "weights": [1, {"schedule": "equal_value", "start": 0.01}],
    }
    loss = DeepSupervisionLoss(compound, softmax=True)
    alone = medloss.loss(**compound, softmax=True)
    loss(leaves, label)
    alone(leaves[0], label)
    loss.step_schedule()
    alone.step_schedule()
    assert loss.loss.term_weights == alone.term_weights
    assert alone.term_weights["boundary"] != 0.01


def test_handlers_see_the_levels() -> None:
    outputs, label = outputs_and_label()
    loss = DeepSupervisionLoss("marginal", softmax=True)
    assert visible_loss(loss) is loss
    loss(outputs, label)
    assert "level_1/cross_entropy/weighted" in as_columns(loss.breakdown())
    plain = DeepSupervisionLoss(nn.MSELoss())
    plain.step_schedule()
    plain(outputs, one_hot(label, 3))
    assert list(plain.breakdown()) == ["level_0", "level_1", "level_2"]


def test_inside_a_compiled_step() -> None:
    outputs, label = outputs_and_label()
    loss = DeepSupervisionLoss("dice_ce", softmax=True)
    expected = loss(outputs, label)

    def step(outputs: list[Tensor], label: Tensor) -> Tensor:
        result: Tensor = loss([2 * output / 2 for output in outputs], label)
        return result

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while it compiles
        compiled = torch.compile(step, backend="eager")
        try:
            torch.testing.assert_close(compiled(outputs, label), expected)
            torch.testing.assert_close(
                torch.compile(loss, backend="eager")(outputs, label), expected
            )
        finally:
            torch.compiler.reset()


def test_monais_dynunet() -> None:
    torch.manual_seed(0)
    network = DynUNet(
        2, 1, 3, [3] * 4, [1, 2, 2, 2], [2] * 3, deep_supervision=True, deep_supr_num=2
    )
    outputs = network(torch.randn(1, 1, 16, 16))
    label = torch.randint(0, 3, (1, 1, 16, 16))
    assert outputs.ndim == 5
    loss = DeepSupervisionLoss("dice_ce", softmax=True)
    loss(outputs, label).backward()
    levels = {name.partition("/")[0] for name in loss.breakdown()}
    assert levels == {"level_0", "level_1", "level_2"}
    assert all(p.grad is not None for p in network.parameters())


def test_a_head_without_weight_still_has_a_gradient() -> None:
    outputs, label = outputs_and_label()
    leaves = [output.requires_grad_() for output in outputs]
    DeepSupervisionLoss("dice_ce", softmax=True, skip_lowest=True)(leaves, label).backward()
    assert leaves[2].grad is not None
    assert (leaves[2].grad == 0).all()
    assert leaves[0].grad is not None
    assert leaves[0].grad.any()


class _Supervised(nn.Module):
    """Two heads, of full and half resolution, while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv3d(1, 4, 3, padding=1)
        self.heads = nn.ModuleList(nn.Conv3d(4, 2, 1) for _ in range(2))

    def forward(self, image: Tensor) -> Any:
        body = self.body(image).relu()
        full = self.heads[0](body)
        return [full, self.heads[1](F.avg_pool3d(body, 2))] if self.training else full


@pytest.mark.parametrize("inside", ["medloss.losses.DiceCELoss", "monai.losses.DiceCELoss"])
def test_a_bundle_trains_with_it(inside: str) -> None:
    torch.manual_seed(0)
    image = F.interpolate(torch.rand(2, 1, 4, 4, 4), scale_factor=2)  # alike at both levels
    config = {
        "loss": {
            "_target_": "medloss.losses.DeepSupervisionLoss",
            "loss": {"_target_": inside, "softmax": True, "to_onehot_y": True},
        },
        "network": _Supervised(),
        "optimizer": {
            "_target_": "torch.optim.Adam",
            "params": "$@network.parameters()",
            "lr": 0.1,
        },
        "trainer": {
            "_target_": "SupervisedTrainer",
            "device": torch.device("cpu"),
            "max_epochs": 20,
            "train_data_loader": [{"image": image, "label": (image > 0.5).float()}],
            "network": "@network",
            "optimizer": "@optimizer",
            "loss_function": "@loss",
            "decollate": False,
        },
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MONAI and ignite about torch's deprecations
        parser = ConfigParser(config)
        parser.parse()
        trainer = parser.get_parsed_content("trainer")
        losses: list[float] = []
        trainer.add_event_handler(
            "ITERATION_COMPLETED", lambda engine: losses.append(float(engine.state.output["loss"]))
        )
        trainer.run()
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight_mode": "linear"}, "weight_mode: expected one of"),
        ({"weights": [1, -1]}, "weights: expected finite numbers of at least 0"),
        ({"boundary_levels": 0}, "boundary_levels: expected a number from 1 on"),
        ({"loss": None}, "loss: expected a name"),
        ({"loss": nn.MSELoss(), "softmax": True}, "softmax: expected none beside a loss that is"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        DeepSupervisionLoss(**options)


def test_calls_that_cannot_be_meant() -> None:
    outputs, label = outputs_and_label()

    def refused(words: str, input: Any, target: Any = label, **options: Any) -> None:
        extras = options.pop("extras", {})
        inside = options.pop("loss", medloss.losses.DiceLoss(softmax=True))
        with pytest.raises((ValueError, TypeError), match=words):
            DeepSupervisionLoss(inside, **options)(input, target, **extras)

    refused("input: expected a tensor, or several", None)
    refused("input: expected at least one output", [])
    refused("input: expected tensors, got NoneType at level_1", [outputs[0], None])
    refused("input: expected the highest resolution first", outputs[::-1])
    refused("weights: expected 3, one for each level, got 2", outputs, weights=[1, 1])
    refused("got none for level_1, level_2", outputs, weights={"level_0": 1})
    refused("weights: expected a level with a weight above 0", outputs, weights=[0, 0, 0])
    refused("target: expected .* to match input", outputs, label[..., 1:, :, :])
    refused("did you mean 'mask'", outputs, {"label": label, "maks": label})
    refused("mask: given twice", outputs, {"label": label, "mask": label}, extras={"mask": label})
    refused("target: expected .*'label'.* did you mean 'label'", outputs, {"lable": label})
    stack = torch.stack([outputs[0][..., 0]] * 3, 1)  # it might be a volume
    refused("target: expected .* to match input", stack, one_hot(label[..., 0], 3))
    refused("mask: expected a torch.Tensor", outputs, {"label": label, "mask": [1]})
    refused("mask: MSELoss of another library", outputs, loss=nn.MSELoss(), extras={"mask": label})
    unreduced = medloss.losses.FocalLoss(reduction="none")
    refused("reduction: expected 'mean' or 'sum'", outputs, loss=unreduced)
    with pytest.raises(RuntimeError, match="breakdown: expected a forward pass"):
        DeepSupervisionLoss("dice").breakdown()
