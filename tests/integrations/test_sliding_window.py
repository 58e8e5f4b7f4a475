"""Windows stitched row by row have the bits of MONAI; labels and losses are those of the whole."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.engines import SupervisedEvaluator
from monai.inferers import SliceInferer, SlidingWindowInferer, sliding_window_inference
from torch import Tensor, nn

import medloss
from medloss.base import LossInParts
from medloss.integrations.sliding_window import SlidingWindowScore, stitch
from medloss.integrations.sliding_window.stitch import RowStitcher


def network(axes: int, classes: int = 4, channels: int = 1) -> nn.Module:
    """Convolutions with random weights, whose output depends on where a window begins."""
    torch.manual_seed(7)
    convolution = nn.Conv2d if axes == 2 else nn.Conv3d
    return nn.Sequential(
        convolution(channels, 3, 3, padding=1), nn.Tanh(), convolution(3, classes, 3, padding=1)
    ).eval()


def image(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(dtype)


def stitched(score: SlidingWindowScore, inputs: Tensor, net: Any, *args: Any) -> Tensor:
    """All rows put together; fails where rows are missing, twice, or out of order."""
    samples: list[list[Tensor]] = [[] for _ in inputs]
    ends = [0] * len(inputs)
    for rows in score.rows(inputs, net, *args):
        assert rows.where.start == ends[rows.sample]
        ends[rows.sample] = rows.where.stop
        assert rows.values.shape[2] == rows.where.stop - rows.where.start
        samples[rows.sample].append(rows.values.clone())
    return torch.cat([torch.cat(parts, 2) for parts in samples])


SHAPES = {
    "divides": ((1, 1, 16, 8, 8), (8, 4, 8)),
    "does not divide": ((1, 1, 19, 11, 13), (8, 6, 7)),
    "smaller than a window": ((1, 1, 5, 7, 13), (8, 8, 8)),
    "smaller along the rows alone": ((1, 1, 5, 17, 13), (8, 8, 8)),
    "smaller across the rows": ((1, 1, 21, 5, 6), (8, 8, 8)),
    "a window as large as the volume": ((1, 1, 9, 9, 9), (-1, 9, -1)),
    "two volumes": ((2, 1, 13, 9, 8), (5, 4, 4)),
    "one row": ((1, 1, 1, 9, 9), (4, 4, 4)),
    "windows of one row": ((1, 1, 6, 9, 9), (1, 5, 5)),
    "two axes": ((3, 1, 23, 14), (9, 8)),
}


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize(("shape", "roi"), SHAPES.values(), ids=SHAPES)
def test_stitching_has_monais_bits(
    shape: tuple[int, ...], roi: tuple[int, ...], overlap: float, mode: str
) -> None:
    inputs, net = image(*shape), network(len(roi))
    for sw_batch_size in (1, 4):
        options = {"sw_batch_size": sw_batch_size, "overlap": overlap, "mode": mode}
        with torch.no_grad():
            theirs = sliding_window_inference(inputs, roi, predictor=net, **options)
        ours = stitched(SlidingWindowScore(roi, **options), inputs, net)
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_stitching_has_monais_bits_whatever_the_windows(data: st.DataObject) -> None:
    axes = data.draw(st.sampled_from([2, 3]))
    shape = data.draw(st.tuples(*[st.integers(1, 14)] * axes))
    roi = data.draw(st.tuples(*[st.integers(1, 8)] * axes))
    overlap = data.draw(st.tuples(*[st.floats(0, 0.9)] * axes))
    options = {
        "sw_batch_size": data.draw(st.integers(1, 5)),
        "overlap": overlap,
        "mode": data.draw(st.sampled_from(["constant", "gaussian"])),
        "sigma_scale": data.draw(st.floats(0.05, 0.5)),
    }
    inputs, net = image(data.draw(st.integers(1, 2)), 1, *shape), network(axes)
    with torch.no_grad():
        theirs = sliding_window_inference(inputs, roi, predictor=net, **options)
    assert torch.equal(stitched(SlidingWindowScore(roi, **options), inputs, net), theirs)


@pytest.mark.parametrize("padding_mode", ["constant", "reflect", "replicate", "circular"])
def test_padding_is_monais(padding_mode: str) -> None:
    inputs, net = image(1, 1, 6, 5, 12), network(3)
    options = {"overlap": 0.5, "padding_mode": padding_mode}
    options |= {"cval": -2.5} if padding_mode == "constant" else {}
    with torch.no_grad():
        theirs = sliding_window_inference(inputs, (9, 8, 8), 2, net, **options)
    assert torch.equal(stitched(SlidingWindowScore((9, 8, 8), 2, **options), inputs, net), theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("mode", ["constant", "gaussian"])
def test_other_types_round_as_monais(dtype: torch.dtype, mode: str) -> None:
    inputs = image(1, 2, 11, 7, 6, dtype=dtype)
    options = {"overlap": 0.5, "mode": mode}
    theirs = sliding_window_inference(inputs, (5, 4, 4), 2, torch.tanh, **options)
    assert torch.equal(
        stitched(SlidingWindowScore((5, 4, 4), 2, **options), inputs, torch.tanh), theirs
    )


def test_channels_are_weighed_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stitch, "_GROUP_BYTES", 3 * 5 * 4 * 4 * 4)
    inputs, net = image(1, 1, 11, 7, 6), network(3, classes=7)
    options = {"overlap": 0.5, "mode": "gaussian"}
    with torch.no_grad():
        theirs = sliding_window_inference(inputs, (5, 4, 4), 2, net, **options)
    assert torch.equal(stitched(SlidingWindowScore((5, 4, 4), 2, **options), inputs, net), theirs)


def test_a_network_in_half_precision_is_weighed_as_monais() -> None:
    inputs = image(1, 2, 11, 7, 6)

    def half(x: Tensor) -> Tensor:
        return torch.tanh(x).half()

    options = {"overlap": 0.5, "mode": "gaussian"}
    theirs = sliding_window_inference(inputs, (5, 4, 4), 2, half, **options)
    ours = stitched(SlidingWindowScore((5, 4, 4), 2, **options), inputs, half)
    assert ours.dtype == theirs.dtype == torch.float32
    assert torch.equal(ours, theirs)


def test_buffered_stitching_of_monai_differs_by_rounding_alone() -> None:
    inputs, net = image(1, 1, 19, 11, 13), network(3)
    with torch.no_grad():
        theirs = SlidingWindowInferer(
            (8, 6, 7), 2, overlap=0.5, mode="gaussian", buffer_steps=1, buffer_dim=0
        )
        torch.testing.assert_close(
            stitched(SlidingWindowScore.like(theirs), inputs, net), theirs(inputs, net)
        )


def test_the_network_may_see_where_its_windows_lie() -> None:
    inputs = image(1, 1, 9, 8, 8)

    def at(x: Tensor, where: list[list[slice]], scale: float) -> Tensor:
        starts = torch.tensor([sum(s.start for s in each[2:]) for each in where])
        return x + scale * starts.view(-1, 1, 1, 1, 1)

    options = {"overlap": 0.5, "with_coord": True}
    theirs = sliding_window_inference(inputs, (4, 4, 4), 3, at, **options, scale=0.5)
    score = SlidingWindowScore((4, 4, 4), 3, **options)
    [*rows] = score.rows(inputs, at, scale=0.5)
    assert rows
    ours = torch.cat([r.values.clone() for r in score.rows(inputs, at, scale=0.5)], 2)
    assert torch.equal(ours, theirs)


def test_memory_is_rows_of_a_window_not_the_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[RowStitcher] = []
    before = RowStitcher.__init__

    def keep(self: RowStitcher, *args: Any) -> None:
        before(self, *args)
        made.append(self)

    monkeypatch.setattr(RowStitcher, "__init__", keep)
    inputs = image(1, 1, 40, 9, 8)
    SlidingWindowScore((4, 4, 4), overlap=0.5)(inputs, network(3, classes=6))
    assert [each.sums.shape for each in made] == [(6, 4, 9, 8)]


def test_a_label_map_is_the_argmax_of_monais_output() -> None:
    inputs, net = image(2, 1, 19, 11, 13), network(3)
    with torch.no_grad():
        theirs = sliding_window_inference(inputs, (8, 6, 7), 2, net, overlap=0.5)
    labels = SlidingWindowScore((8, 6, 7), 2, overlap=0.5)(inputs, net)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, theirs.argmax(1, keepdim=True).to(torch.uint8))


@pytest.mark.parametrize(("classes", "dtype"), [(256, torch.uint8), (257, torch.int16)])
def test_label_maps_have_the_narrowest_type(classes: int, dtype: torch.dtype) -> None:
    def last(x: Tensor) -> Tensor:
        return torch.nn.functional.pad(x, (0, 0, 0, 0, classes - 1, 0))

    labels = SlidingWindowScore((4, 4))(torch.ones(1, 1, 6, 5), last)
    assert labels.dtype == dtype
    assert labels.unique().tolist() == [classes - 1]


def test_independent_classes_overlap() -> None:
    inputs, net = image(1, 1, 12, 9, 8), network(3, classes=3)
    with torch.no_grad():
        theirs = sliding_window_inference(inputs, (5, 5, 5), 2, net, overlap=0.5)
    labels = SlidingWindowScore((5, 5, 5), 2, overlap=0.5, sigmoid=True, threshold=0.4)(inputs, net)
    assert torch.equal(labels, (theirs.sigmoid() >= 0.4).to(torch.uint8))
    assert labels.sum(1).max() > 1
    without = SlidingWindowScore((5, 5, 5), 2, overlap=0.5, threshold=0.1)(inputs, net)
    assert torch.equal(without, (theirs >= 0.1).to(torch.uint8))


def test_it_is_an_inferer_of_monais_engines() -> None:
    net, case = network(2), {"image": MetaTensor(image(1, 9, 8)), "label": torch.zeros(1, 9, 8)}
    case["image"].affine = torch.diag(torch.tensor([2.0, 3.0, 1.0]))
    batch = {key: value[None] for key, value in case.items()}
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[batch],
        network=net,
        inferer=SlidingWindowScore((4, 4), overlap=0.5),
        decollate=False,
    )
    evaluator.run()
    assert evaluator.state.output["pred"].shape == (1, 1, 9, 8)
    found = SlidingWindowScore((4, 4))(case["image"][None], net)
    assert isinstance(found, MetaTensor)
    assert torch.equal(found.affine, case["image"].affine)


@pytest.mark.parametrize("net_axes", [2, 3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dice", {"include_background": False}),
        ("generalized_dice", {}),
        ("tversky", {"fp_weight": 0.3}),
        ("mcc", {"reduction": "none"}),
        ("cross_entropy", {"weight": [1, 2, 3, 4]}),
        ("focal", {"gamma": 1.5}),
        ("dice_ce", {"ignore_index": 2}),
        ("unified_focal", {}),
        ("generalized_wasserstein_dice", {}),
        ("compound", {"terms": ["dice_ce", "focal"]}),
    ],
)
def test_losses_are_those_of_the_whole_volume(
    net_axes: int, name: str, options: dict[str, Any]
) -> None:
    spatial = (17, 10, 9)[:net_axes]
    inputs, net = image(1, 1, *spatial), network(net_axes)
    target = torch.randint(0, 4, (1, 1, *spatial), generator=torch.Generator().manual_seed(1))
    loss = medloss.loss(name, softmax=True, **options)
    score = SlidingWindowScore(5, 3, overlap=0.5, mode="gaussian", losses={name: loss})
    with torch.no_grad():
        whole = sliding_window_inference(inputs, 5, 3, net, overlap=0.5, mode="gaussian")
        found = score.score(inputs, net, target)
        torch.testing.assert_close(found.losses[name], loss(whole, target), rtol=1e-6, atol=1e-7)
    assert torch.equal(found.labels, whole.argmax(1, keepdim=True).to(torch.uint8))


def test_extras_of_the_target_are_cut_with_it() -> None:
    inputs, net, g = image(1, 1, 13, 8, 7), network(3), torch.Generator().manual_seed(1)
    target = {
        "label": (torch.rand(1, 4, 13, 8, 7, generator=g) > 0.5).float(),
        "mask": torch.rand(1, 1, 13, 8, 7, generator=g) > 0.3,
        "distance_map": torch.randn(1, 4, 13, 8, 7, generator=g),
        "present": torch.tensor([[True, False, True, True]]),
        "spacing_mm": (1.0, 2.0, 3.0),
    }
    losses = {
        "bce": medloss.loss("bce_dice", sigmoid=True),
        "boundary": medloss.loss("boundary", sigmoid=True),
    }
    score = SlidingWindowScore(5, overlap=0.4, losses=losses, threshold=0.5, sigmoid=True)
    with torch.no_grad():
        whole = sliding_window_inference(inputs, 5, 1, net, overlap=0.4)
        found = score.score(inputs, net, target)
        for name, loss in losses.items():
            torch.testing.assert_close(found.losses[name], loss(whole, target), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    "name",
    ["lovasz_softmax", "topk_cross_entropy", "boundary", "boundary_dou", "surface_dice", "nacl"],
)
def test_a_loss_that_is_no_function_of_sums_is_refused_by_name(name: str) -> None:
    loss = medloss.loss(name, softmax=True)
    score = SlidingWindowScore(4, losses={name: loss})
    target = {"label": torch.zeros(1, 1, 8, 8, 8, dtype=torch.long), "spacing_mm": "voxel"}
    with pytest.raises(ValueError, match=f"{type(loss).__name__}.* expected a function of class"):
        score.score(image(1, 1, 8, 8, 8), network(3), target)


def test_a_map_scaled_by_the_whole_volume_is_refused() -> None:
    """Its value on parts would be a number, and wrong."""
    loss = medloss.loss("region_wise", softmax=True)
    target = {"label": torch.zeros(1, 1, 6, 6, 6, dtype=torch.long), "spacing_mm": "voxel"}
    with pytest.raises(ValueError, match=r"RegionWiseLoss .* looks beyond a voxel"):
        LossInParts(loss).add(image(1, 4, 6, 6, 6), target, distance_map=image(1, 4, 6, 6, 6))


def test_parts_may_come_in_any_order_and_batches_of_samples() -> None:
    z, y = image(2, 3, 8, 6), torch.randint(0, 3, (2, 1, 8, 6))
    for batch, reduction in itertools.product((False, True), ("mean", "none")):
        loss = medloss.loss("dice", softmax=True, batch=batch, reduction=reduction)
        parts = LossInParts(loss)
        for rows in (slice(5, 8), slice(0, 2), slice(2, 5)):
            parts.add(z[:, :, rows], y[:, :, rows])
        torch.testing.assert_close(parts.value(), loss(z, y))


def test_sums_of_many_parts_do_not_drift() -> None:
    """In float32 they would: 4 million voxels of 0.1 in a thousand parts."""
    parts = LossInParts(medloss.loss("dice", batch=True, smooth_nr=0, smooth_dr=0))
    p, y = torch.full((1, 1, 64, 64), 0.1), torch.ones(1, 1, 64, 64, dtype=torch.long)
    for _ in range(1000):
        parts.add(p, y)
    assert parts.value().item() == pytest.approx(1 - 2 * 0.1 / 1.1, rel=1e-6)


def test_settings_of_a_monai_inferer_are_taken_over() -> None:
    theirs = SlidingWindowInferer(
        (6, 5), 3, overlap=(0.1, 0.7), mode="gaussian", sigma_scale=0.3, padding_mode="reflect"
    )
    inputs, net = image(1, 1, 14, 9), network(2)
    with torch.no_grad():
        assert torch.equal(
            stitched(SlidingWindowScore.like(theirs), inputs, net), theirs(inputs, net)
        )


REFUSED: dict[str, tuple[Any, str]] = {
    "overlap": (lambda x, n: SlidingWindowScore(4, overlap=1.0)(x, n), r"overlap: expected .*\[0"),
    "roi": (lambda x, n: SlidingWindowScore((4, 4))(x, n), "roi_size: expected 3 numbers"),
    "batch size": (lambda x, n: SlidingWindowScore(4, 0), "sw_batch_size: expected at least 1"),
    "sigmoid": (lambda x, n: SlidingWindowScore(4, sigmoid=True), "sigmoid: expected a threshold"),
    "one channel": (
        lambda x, n: SlidingWindowScore(4)(x, lambda w: w),
        "threshold: expected a number",
    ),
    "smaller output": (
        lambda x, n: SlidingWindowScore(4)(x, lambda w: w[..., ::2]),
        r"network: expected \[1, 'classes', 4, 4, 4\]",
    ),
    "condition": (
        lambda x, n: SlidingWindowScore(4)(x, n, condition=x),
        "condition: expected none",
    ),
    "two volumes": (
        lambda x, n: SlidingWindowScore(4).score(x.repeat(2, 1, 1, 1, 1), n, x),
        "inputs: expected one volume",
    ),
    "other label": (
        lambda x, n: SlidingWindowScore(4).score(x, n, x[:, :, :4]),
        "target: expected label of",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(image(1, 1, 6, 6, 6), network(3))


def test_what_is_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="inferer: expected a SlidingWindowInferer, got Slice"):
        SlidingWindowScore.like(SliceInferer(roi_size=(4, 4)))
    with pytest.raises(TypeError, match="loss: expected a loss of medloss, got Identity"):
        SlidingWindowScore(4, losses={"mine": nn.Identity()})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"network: expected one tensor .* got dict"):
        SlidingWindowScore(4)(image(1, 1, 6, 6), lambda w: {"pred": w})
    with pytest.raises(ValueError, match="expected batch False or True, got 'world'"):
        LossInParts(medloss.loss("dice", softmax=True, batch="world"))
    with pytest.raises(ValueError, match="value: expected a part first"):
        LossInParts(medloss.loss("dice", softmax=True)).value()
