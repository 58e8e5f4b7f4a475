"""Losses on thin, small and many structures: worked values, identities, guards."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import medloss
from medloss.base import LossInParts
from medloss.distance import connected_components
from medloss.integrations.skeletons import SkeletonMapd

EXACT: dict[str, Any] = {"smooth_nr": 0, "smooth_dr": 0}


def bar(ndim: int = 2) -> tuple[Tensor, Tensor]:
    """Input K, and K3: a bar with a gap."""
    g = torch.zeros(1, 1, *[7] * (ndim - 1), 9, dtype=torch.float64)
    g[(..., *[slice(2, 5)] * (ndim - 1), slice(None))] = 1
    p = 0.1 + 0.8 * g
    p[(..., *[slice(2, 5)] * (ndim - 1), 4)] = 0.2
    return p, g


def lesions() -> tuple[Tensor, Tensor, Tensor]:
    """Input L: probability, target, numbers of two lesions."""
    numbers = torch.zeros(1, 1, 6, 8, dtype=torch.int64)
    numbers[..., 1, 1], numbers[..., 2:5, 4:7] = 1, 2
    p = torch.full(numbers.shape, 0.05, dtype=torch.float64)
    p[..., 1, 1], p[..., 2:5, 4:7], p[..., 5, 0] = 0.1, 0.9, 0.6
    return p, (numbers > 0).double(), numbers


def volume(seed: int = 0, classes: int = 3, shape: tuple[int, ...] = (7, 6, 8)) -> Any:
    """Logits and scattered small objects."""
    generator = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(2, classes, *shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4 * classes, (2, 1, *shape), generator=generator)
    return z, torch.where(labels < classes, labels, 0)


def only(part: str) -> dict[str, float]:
    """Weights of ``blob`` and ``cc_dice_ce`` that leave one of their terms."""
    return {"lambda_global": float(part == "global"), "lambda_instances": float(part != "global")}


class TestClDice:
    @pytest.mark.parametrize("ndim", [2, 3])
    @pytest.mark.parametrize("iterations", [3, 10])
    def test_worked_values(self, ndim: int, iterations: int) -> None:
        p, g = bar(ndim)
        loss = medloss.loss("cl_dice", iterations=iterations, **EXACT)
        assert float(loss(p, g)) == pytest.approx(0.09756097561, abs=1e-11)
        if ndim == 2:
            smooth = medloss.loss("cl_dice", iterations=iterations)
            assert float(smooth(p, g)) == pytest.approx(0.086956521739, abs=1e-12)

    def test_is_monais_for_one_class(self) -> None:
        from monai.losses.cldice import SoftclDiceLoss

        z, y = volume(classes=1)
        p = z.sigmoid()
        theirs = SoftclDiceLoss(iter_=4, smooth=1e-20, reduction="none")(p, y)
        ours = medloss.loss("cl_dice", iterations=4, reduction="none")(p, y)[:, 0]
        torch.testing.assert_close(ours, theirs)

    def test_gradient_is_that_of_plain_pooling(self) -> None:
        from monai.losses.cldice import SoftclDiceLoss

        z, y = volume(classes=1)
        gradients = []
        for loss in (medloss.loss("cl_dice"), SoftclDiceLoss(smooth=1e-20)):
            leaf = z.clone().requires_grad_()
            loss(leaf.sigmoid(), y).backward()
            gradients.append(leaf.grad)
        torch.testing.assert_close(*gradients)

    def test_classes_are_not_pooled(self) -> None:
        z, y = volume()
        loss = medloss.loss("cl_dice", softmax=True, reduction="none")
        together = loss(z, y)
        for c in range(3):
            alone = medloss.loss("cl_dice", reduction="none")(
                z.softmax(1)[:, c : c + 1], (y == c).double()
            )
            torch.testing.assert_close(together[:, c : c + 1], alone)

    def test_a_saturated_prediction_shares_its_gradient_evenly(self) -> None:
        """Where voxels are equal no neighbour is preferred: what is symmetric stays so."""
        p, g = bar()
        leaf = p.clone().requires_grad_()
        medloss.loss("cl_dice")(leaf, g).backward()
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad, leaf.grad.flip(2))
        torch.testing.assert_close(leaf.grad, leaf.grad.flip(3))

    def test_ready_skeleton_is_the_one_that_counts(self) -> None:
        p, g = bar()
        soft = torch.zeros_like(g)
        soft[..., 3, :] = 1  # what the soft skeleton of g is
        loss = medloss.loss("cl_dice")
        expected = loss(p, g)
        for dtype in (torch.uint8, torch.bool, torch.float32):
            torch.testing.assert_close(loss(p, g, skeleton=soft.to(dtype)), expected)
        soft[..., 3, 4] = 0  # without the voxel of the gap nothing is missed
        assert float(loss(p, g, skeleton=soft)) < float(expected)

    def test_blind_to_an_empty_target(self) -> None:
        p = torch.full((1, 1, 5, 5), 0.9, dtype=torch.float64, requires_grad=True)
        value = medloss.loss("cl_dice")(p, torch.zeros_like(p))
        value.backward()
        assert p.grad is not None
        assert (float(value.detach()), float(p.grad.abs().max())) == (0, 0)
        unsmoothed = medloss.loss("cl_dice", **EXACT)(p.detach(), torch.zeros_like(p))
        assert float(unsmoothed) == 1

    def test_mixed_with_dice(self) -> None:
        z, y = volume()
        options = {"softmax": True, "include_background": False}
        smooth = {"smooth_nr": 1, "smooth_dr": 1}
        dice = medloss.loss("dice", **options, **smooth)(z, y)
        cl_dice = medloss.loss("cl_dice", iterations=2, **options)(z, y)
        both = medloss.loss("dice_cl_dice", alpha=0.3, iterations=2, **options)
        torch.testing.assert_close(both(z, y), 0.7 * dice + 0.3 * cl_dice)
        assert list(both.breakdown()) == ["dice", "cl_dice"]


class TestSkeletonRecall:
    def test_worked_values(self) -> None:
        p, g = bar()
        loss = medloss.loss("skeleton_recall", **EXACT)
        line = SkeletonMapd(keys="label", tube_radius=0)({"label": g[0]})["skeleton"][None]
        tube = SkeletonMapd(keys="label")({"label": g[0]})["skeleton"][None]
        assert tube.sum() == 26
        assert float(loss(p, g, skeleton=line)) == pytest.approx(0.1875, abs=1e-12)
        assert float(loss(p, {"label": g, "skeleton": tube})) == pytest.approx(
            0.180769230769, abs=1e-12
        )

    @pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
    def test_by_class_and_dtype(self, activation: str) -> None:
        z, y = volume()
        g = torch.cat([y == c for c in range(3)], 1)
        skeleton = g & (torch.rand(y.shape, generator=torch.Generator().manual_seed(1)) < 0.5)
        p = z.softmax(1) if activation == "softmax" else z.sigmoid()
        space = (2, 3, 4)
        expected = 1 - (p * skeleton).sum(space) / skeleton.sum(space)
        loss = medloss.loss("skeleton_recall", **{activation: True}, reduction="none", **EXACT)
        for dtype in (torch.bool, torch.uint8, torch.int64, torch.float32):
            for target in (y, g.double()):
                got = loss(z, target, skeleton=skeleton.to(dtype))
                torch.testing.assert_close(got, expected)

    def test_absent_class_costs_nothing(self) -> None:
        z, y = volume()
        z.requires_grad_()
        for smooth in ({}, EXACT):
            loss = medloss.loss("skeleton_recall", softmax=True, **smooth)
            value = loss(z, y, skeleton=torch.zeros_like(z))
            value.backward()
            assert z.grad is not None
            assert (float(value.detach()), float(z.grad.abs().max())) == (0, 0)

    def test_shares_the_pass_of_what_stands_beside_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from medloss.base import targets

        calls = []
        original = targets.class_sums
        monkeypatch.setattr(
            targets, "class_sums", lambda *a, **k: calls.append(a[2]) or original(*a, **k)
        )
        z, y = volume()
        terms = ["dice", "cross_entropy", "skeleton_recall"]
        loss = medloss.loss("compound", terms=terms, softmax=True)
        loss(z, y, skeleton=torch.ones_like(z))
        assert len(calls) == 1

    def test_adds_up_over_parts_of_a_volume(self) -> None:
        z, y = volume()
        skeleton = torch.cat([y == c for c in range(3)], 1).to(torch.uint8)
        loss = medloss.loss("compound", terms=["dice_ce", "skeleton_recall"], softmax=True)
        parts = LossInParts(loss)
        for rows in (slice(0, 3), slice(3, None)):
            parts.add(z[:, :, rows], y[:, :, rows], skeleton=skeleton[:, :, rows])
        torch.testing.assert_close(parts.value(), loss(z, y, skeleton=skeleton))

    def test_wants_skeletons(self) -> None:
        z, y = volume()
        for name in ("skeleton_recall", "compound"):
            options = {"terms": ["dice", "skeleton_recall"]} if name == "compound" else {}
            with pytest.raises(ValueError, match=r"skeleton: expected .*SkeletonMapd makes it"):
                medloss.loss(name, softmax=True, **options)(z, y)
        with pytest.raises(ValueError, match="skeleton: expected"):
            medloss.loss("skeleton_recall", softmax=True)(z, y, skeleton=y)


class TestInstances:
    @pytest.mark.parametrize(
        ("name", "loss", "expected"),
        [
            ("global", {"name": "dice", **EXACT}, 0.205811138015),
            ("blob", {"name": "dice", **EXACT}, 0.557508735276),
            ("blob", "cross_entropy", 0.105624469735),
            ("cells", {"name": "dice", **EXACT}, 0.514823857691),
            ("cells", "cross_entropy", 0.162542405158),
        ],
    )
    @pytest.mark.parametrize("ready", [True, False])
    def test_worked_values(self, name: str, loss: Any, expected: float, ready: bool) -> None:
        p, g, numbers = lesions()
        regions = {"regions": "cells", "spacing_mm": 1.0} if name == "cells" else {}
        built = medloss.loss("blob", loss=loss, **only(name), **regions)
        extras = {"components": 7 * numbers} if ready else {}
        assert float(built(p, g, **extras)) == pytest.approx(expected, abs=1e-12)

    def test_defaults(self) -> None:
        p, g, _ = lesions()
        both = medloss.loss("blob", loss={"name": "dice", **EXACT})
        assert float(both(p, g)) == pytest.approx(0.969131011305, abs=1e-12)
        value = medloss.loss("cc_dice_ce", spacing_mm=1.0, **EXACT)(p, g)
        dice_ce = medloss.loss("dice_ce", **EXACT)(p, g)
        expected = float(dice_ce) + 0.514823857691 + 0.162542405158
        assert float(value) == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("regions", ["blob", "cells"])
    @pytest.mark.parametrize("inside", ["dice_ce", "tversky", "focal"])
    def test_sums_by_region_equal_masks(self, regions: str, inside: str) -> None:
        """Each region on its own, by masks, class against rest: what the fast way must equal."""
        from scipy.ndimage import distance_transform_edt

        z, y = volume()
        spacing = (1.0, 2.0, 0.7)
        loss = medloss.loss(
            "blob", loss=inside, softmax=True, regions=regions, spacing_mm=spacing, **only("")
        )
        as_it_is = {"other_act": torch.nn.Identity()} if inside == "focal" else {}
        single = medloss.loss(inside, **as_it_is)
        p, values = z.softmax(1), []
        for b in range(2):
            for c in (1, 2):
                g = y[b, 0] == c
                numbers = connected_components(g[None].numpy())
                numbered = range(1, numbers.max() + 1)
                mm = [distance_transform_edt(numbers != k, spacing) for k in numbered]
                nearest = np.round(mm, 9).argmin(0) + 1  # the first of those that are as near
                of = []
                for k in numbered:
                    keep = (numbers == 0) | (numbers == k)
                    if regions == "cells":
                        keep = nearest == k
                    mask = torch.from_numpy(keep)[None, None]
                    of.append(single(p[b : b + 1, c : c + 1], g[None, None].double(), mask=mask))
                values.append(torch.stack(of).mean())
        torch.testing.assert_close(loss(z, y), torch.stack(values).mean())

    @pytest.mark.parametrize("regions", ["blob", "cells"])
    def test_losses_beyond_sums_go_object_by_object(self, regions: str) -> None:
        """Lovász sorts: it is evaluated in every region, and its gradient is right."""
        p, g, _ = lesions()
        z = p.logit().requires_grad_()
        options = {"sigmoid": True, "regions": regions, "spacing_mm": 1.0, **only("")}
        loss = medloss.loss("blob", loss="lovasz_softmax", **options)
        assert torch.autograd.gradcheck(lambda x: loss(x, g), (z,))
        narrow = medloss.loss("blob", loss="lovasz_softmax", max_components=1, **options)
        with pytest.raises(ValueError, match="components: expected at most max_components=1"):
            narrow(z, g)
        on_sums = medloss.loss("blob", loss="dice", max_components=1, **options)
        assert float(on_sums(z, g).detach()) > 0  # sums know no limit

    def test_nearest_object_in_millimetres(self) -> None:
        """A false positive belongs to another lesion where slices are thick."""
        g = torch.zeros(1, 1, 7, 9, dtype=torch.float64)
        g[..., 0, 4] = g[..., 4, 8] = 1
        p = 0.9 * g + 0.05
        p[..., 3, 4] = 0.9  # 3 voxels down from one, 4 to the left and 1 up from the other
        loss = medloss.loss("blob", loss="dice", regions="cells", **only(""))
        assert float(loss(p, g, spacing_mm=1.0)) != float(loss(p, g, spacing_mm=(3.0, 1.0)))
        with pytest.raises(ValueError, match="spacing_mm: expected the size of a voxel"):
            loss(p, g)

    def test_without_objects_the_image_alone_counts(self) -> None:
        z, y = volume()
        y = torch.zeros_like(y)
        z.requires_grad_()
        for name in ("blob", "cc_dice_ce"):
            loss = medloss.loss(name, softmax=True, lambda_global=1.0, spacing_mm=1.0)
            torch.testing.assert_close(loss(z, y), medloss.loss("dice_ce", softmax=True)(z, y))
            assert loss.breakdown()["global"].value > 0
            instances = medloss.loss(name, softmax=True, lambda_global=0, spacing_mm=1.0)(z, y)
            instances.backward()
            assert z.grad is not None
            assert float(instances.detach()) == 0
            assert not z.grad.any()

    def test_objects_under_the_mask_are_none(self) -> None:
        p, g, numbers = lesions()
        mask = torch.ones_like(numbers)
        mask[..., :2, :] = 0  # the small lesion
        loss = medloss.loss("blob", loss="dice", **only(""))
        cut = loss(p[..., 2:, :], g[..., 2:, :])
        torch.testing.assert_close(loss(p, g, mask=mask), cut)
        torch.testing.assert_close(loss(p, g, mask=mask, components=numbers), cut)

    def test_small_lesions_count_like_large_ones(self) -> None:
        """The gradient on a missed lesion of one voxel, beside that of plain Dice."""
        p, g, _ = lesions()
        pull = []
        for name, options in (("dice", {}), ("blob", {"loss": "dice", "lambda_global": 1.0})):
            leaf = p.clone().requires_grad_()
            medloss.loss(name, **options)(leaf, g).backward()
            assert leaf.grad is not None
            pull.append(-float(leaf.grad[..., 1, 1]))
        assert pull[1] > 4 * pull[0]

    def test_given_components_may_join_what_touches_not(self) -> None:
        p, g, numbers = lesions()
        loss = medloss.loss("blob", loss={"name": "dice", **EXACT}, **only(""))
        joined = loss(p, g, components=(numbers > 0).long())
        plain = medloss.loss("dice", **EXACT)(p, g)
        torch.testing.assert_close(joined, plain)

    @pytest.mark.parametrize(
        ("components", "words"),
        [
            (lambda n: n[0], r"components: expected \[1, 1, 6, 8\]"),
            (lambda n: -n, "components: expected whole numbers"),
            (lambda n: n + 0.5, "components: expected whole numbers"),
            (lambda n: n.numpy(), "components: expected a torch.Tensor"),
        ],
    )
    def test_components_that_cannot_be_meant(self, components: Any, words: str) -> None:
        p, g, numbers = lesions()
        with pytest.raises((ValueError, TypeError), match=words):
            medloss.loss("blob", loss="dice")(p, g, components=components(numbers))

    def test_class_weights_and_unannotated_classes(self) -> None:
        z, y = volume()
        each = []
        for weight in ([1.0, 1.0, 0.0], [1.0, 0.0, 1.0]):
            options = {"loss": "dice", "weight": weight, **only("")}
            each.append(medloss.loss("blob", softmax=True, **options)(z, y))
        both = medloss.loss("blob", loss="dice", softmax=True, **only(""))
        torch.testing.assert_close(each[0] + each[1], both(z, y))
        present = torch.tensor([[True, True, False]] * 2)
        torch.testing.assert_close(both(z, y, present=present), 2 * each[0])

    def test_a_built_loss_lends_its_options(self) -> None:
        z, y = volume()
        inside = medloss.losses.TverskyLoss(softmax=True, fp_weight=0.3, fn_weight=0.7)
        built = medloss.losses.BlobLoss(loss=inside)
        assert built.softmax
        by_name = medloss.loss(
            "blob", softmax=True, loss={"name": "tversky", "fp_weight": 0.3, "fn_weight": 0.7}
        )
        torch.testing.assert_close(built(z, y), by_name(z, y))
        torch.testing.assert_close(copy.deepcopy(built)(z, y), by_name(z, y))

    def test_schedules_inside_serve_both_terms(self) -> None:
        ramp = {"schedule": "ramp", "start": 0.0, "end": 1.0, "steps": 2}
        z, y = volume()
        loss = medloss.loss(
            "blob", softmax=True, loss={"name": "dice_ce", "lambda_ce": ramp}, **only("")
        )
        dice = medloss.loss("blob", softmax=True, loss="dice", **only(""))(z, y)
        torch.testing.assert_close(loss(z, y), dice)
        loss.step_schedule(2)
        whole = medloss.loss("blob", softmax=True, loss="dice_ce", **only(""))(z, y)
        torch.testing.assert_close(loss(z, y), whole)

    def test_at_lower_resolutions_the_image_alone_counts(self) -> None:
        z, y = volume(shape=(8, 8, 8))
        loss = medloss.loss("deep_supervision", loss="blob", softmax=True)
        outputs = [z, torch.nn.functional.avg_pool3d(z, 2)]
        assert float(loss(outputs, y)) > 0
        assert list(loss.breakdown()) == ["level_0/global", "level_0/instances", "level_1/global"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("cl_dice", {"iterations": -1}, "iterations: expected a whole number"),
        ("cl_dice", {"iterations": 2.5}, "iterations: expected a whole number"),
        ("dice_cl_dice", {"alpha": 1.5}, r"alpha: expected a number in \[0, 1\]"),
        ("blob", {"regions": "spheres"}, "regions: expected one of"),
        ("blob", {"max_components": 0}, "max_components: expected a whole number"),
        ("blob", {"connectivity": 4}, "connectivity: expected"),
        ("blob", {"loss": torch.nn.MSELoss()}, "loss: expected a loss of medloss"),
        ("cc_dice_ce", {"lambda_global": -1}, "global: expected a weight of at least 0"),
    ],
)
def test_options_that_cannot_be_meant(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        medloss.loss(name, **options)


def test_gradients_by_finite_differences() -> None:
    z, y = (each[:1] for each in volume(shape=(2, 3, 2)))
    skeleton = (torch.cat([y == c for c in range(3)], 1)).to(torch.uint8)
    for name, extras in (
        ("cl_dice", {}),
        ("dice_cl_dice", {}),
        ("skeleton_recall", {"skeleton": skeleton}),
        ("blob", {}),
        ("cc_dice_ce", {"spacing_mm": (1.0, 2.0, 0.5)}),
    ):
        loss = medloss.loss(name, softmax=True)

        def value(x: Tensor, loss: Any = loss, extras: Any = extras) -> Tensor:
            result: Tensor = loss(x, y, **extras)
            return result

        assert torch.autograd.gradcheck(value, (z.clone().requires_grad_(),)), name


def test_nothing_is_kept_for_the_backward_pass_of_cl_dice() -> None:
    """Beside the probabilities: were each pooling kept, it would be many volumes."""
    z, y = volume(shape=(12, 12, 12))
    z.requires_grad_()
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        medloss.loss("cl_dice", softmax=True, iterations=20)(z, y)
    large = {t.data_ptr() for t in kept if t.is_floating_point() and t.numel() >= z.numel()}
    assert len(large) <= 2


class TestInverseSizes:
    """Weights inside the region of each object."""

    CELLS: ClassVar[dict[str, Any]] = {
        "lambda_global": 0,
        "spacing_mm": 1.0,
        "sigmoid": True,
        **EXACT,
    }

    def test_worked_values(self) -> None:
        p, g, _ = lesions()
        ce = medloss.loss("cc_dice_ce", lambda_dice=0, size_exponent=1, **self.CELLS)
        z = p.logit().requires_grad_()
        value = ce(z, g)
        value.backward()
        assert z.grad is not None
        assert float(value.detach()) == pytest.approx(0.643079432169, abs=1e-12)
        assert float(z.grad[..., 1, 1]) == pytest.approx(-0.225, abs=1e-12)
        assert float(z.grad[..., 5, 0]) == pytest.approx(0.0107142857143, abs=1e-12)
        dice = medloss.loss("cc_dice_ce", lambda_ce=0, size_exponent=1, **self.CELLS)
        expected = (0.831831831832 + 0.076923076923) / 2
        assert float(dice(p.logit(), g)) == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("regions", ["blob", "cells"])
    @pytest.mark.parametrize("options", [{"size_exponent": 1.0}, {"size_exponent": 0.4}])
    def test_they_are_a_mask_with_these_weights(
        self, regions: str, options: dict[str, float]
    ) -> None:
        """Of each object the loss inside, by a mask made here."""
        p, g, numbers = lesions()
        near = torch.ones_like(numbers)
        for y, x in np.ndindex(6, 8):
            far = [(numbers[0, 0] == k).nonzero() - torch.tensor([y, x]) for k in (1, 2)]
            near[..., y, x] = 1 + int((far[1] ** 2).sum(1).min() < (far[0] ** 2).sum(1).min())
        power = options["size_exponent"]
        expected = []
        inner = {"name": "dice_ce", **EXACT}
        for k in (1, 2):
            object_ = numbers == k
            region = object_ | (numbers == 0) if regions == "blob" else near == k
            sizes = [int((region & which).sum()) for which in (object_, ~object_)]
            weight = torch.where(object_, sizes[0] ** -power, sizes[1] ** -power).double() * region
            weight /= weight.max()  # of a mask; a mean has the scale twice
            expected.append(medloss.loss("dice_ce", **EXACT)(p, g, mask=weight))
        loss = medloss.loss(
            "blob", loss=inner, regions=regions, lambda_global=0, spacing_mm=1.0, **options
        )
        torch.testing.assert_close(loss(p, g), torch.stack(expected).mean())

    def test_a_loss_that_is_on_no_sums_has_the_same_weights(self) -> None:
        p, g, _ = lesions()
        options = {"lambda_global": 0, "spacing_mm": 1.0, "size_exponent": 0.7}
        for regions in ("blob", "cells"):
            values = [
                float(medloss.loss("blob", loss=each, regions=regions, **options)(p, g))
                for each in (
                    "dice",
                    {"name": "compound", "terms": ["dice", TWICE], "weights": [1, 0]},
                )
            ]
            assert values[0] == pytest.approx(values[1])

    def test_false_positives_of_a_small_object_become_cheap(self) -> None:
        """Weighted Dice is 1 − 2 TP / (2 TP + FN + (w_R / w_C) FP)."""
        p, g, _ = lesions()
        tp, fn, fp = (float((x * y).sum()) for x, y in ((p, g), (1 - p, g), (p, 1 - g)))
        one = g.long()
        loss = medloss.loss(
            "blob", loss={"name": "dice", **EXACT}, lambda_global=0, size_exponent=1
        )
        share = float(g.sum() / (1 - g).sum())
        found = float(loss(p, g, components=one))
        assert found == pytest.approx(1 - 2 * tp / (2 * tp + fn + share * fp))

    def test_the_largest_weight_may_be_bounded(self) -> None:
        p, g, _ = lesions()
        ce = {"lambda_dice": 0, "size_exponent": 1, **self.CELLS}
        free = float(medloss.loss("cc_dice_ce", **ce)(p.logit(), g))
        assert float(medloss.loss("cc_dice_ce", max_size_weight=8, **ce)(p.logit(), g)) == free
        cut = float(medloss.loss("cc_dice_ce", max_size_weight=2, **ce)(p.logit(), g))
        # Only the first cell has more: 15 voxels, one of them the object.
        object_, rest = 2 * -np.log(0.1), 15 / 28 * (-13 * np.log(0.95) - np.log(0.4))
        first = (object_ + rest) / (2 + 7.5)
        assert cut == pytest.approx((first + 0.078326905023) / 2)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"size_exponent": -1}, "size_exponent: expected at least 0"),
            ({"max_size_weight": 10}, "beside a size_exponent above 0"),
            ({"size_exponent": 1, "max_size_weight": 0.5}, "max_size_weight: expected at least 1"),
        ],
    )
    def test_contradictions_are_refused(self, options: dict[str, Any], message: str) -> None:
        for name in ("blob", "cc_dice_ce"):
            with pytest.raises(ValueError, match=message):
                medloss.loss(name, **options)

    @pytest.mark.parametrize(
        "inside", ["surface_dice", {"name": "compound", "terms": ["dice", "hausdorff_erosion"]}]
    )
    def test_losses_whose_voxels_have_no_weight_are_refused(self, inside: Any) -> None:
        medloss.loss("blob", loss=inside)
        with pytest.raises(ValueError, match="size_exponent: expected 0 for"):
            medloss.loss("blob", loss=inside, size_exponent=0.5)


TWICE = {"name": "cl_dice"}
"""A term of weight 0 that is no function of class sums."""
