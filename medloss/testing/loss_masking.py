"""Who has influence on a loss: what counts, and nothing that is masked, ignored or unknown."""

from __future__ import annotations

import torch

from medloss.testing.loss_subject import (
    LossSubject,
    demand_close,
    demand_same,
    value,
    value_and_gradient,
)
from medloss.testing.registry import contract, demand
from medloss.testing.scenes import SHAPE, Scene

KEPT = 4
"""Voxels of the last axis that a mask keeps."""


@contract("loss")
def samples_are_independent(subject: LossSubject) -> None:
    """The loss of a batch is the mean of the losses of its samples, and so is its gradient.

    Without ``batch=True`` what else is in the batch must not matter.
    """
    loss, scene = subject.build(), subject.scene()
    result, gradient = value_and_gradient(loss, scene)
    alone = [value_and_gradient(loss, one) for one in scene.samples()]
    demand_close(result, torch.stack([v for v, _ in alone]).mean(), "the value of the batch")
    demand_close(gradient, torch.cat([g for _, g in alone]) / 2, "the gradient of the batch")


@contract("loss")
def reductions_agree(subject: LossSubject) -> None:
    """``none`` gives one value for each class or voxel, ``mean`` is its mean, ``sum`` one number.

    Shapes: (B, C), (B, C, *spatial) or, for classes together, (B, 1) and (B, 1, *spatial).
    """
    scene = subject.scene()
    each = value(subject.build(reduction="none"), scene)
    channels = (1, subject.classes, subject.classes - 1)
    good = each.ndim >= 2 and each.shape[0] == 2 and each.shape[1] in channels
    good = good and each.shape[2:] in (torch.Size(), torch.Size(SHAPE))
    demand(good, f"with reduction='none' the shape is {list(each.shape)}")
    demand_close(value(subject.build(), scene), each.mean(), "the mean")
    total = value(subject.build(reduction="sum"), scene)
    demand(total.ndim == 0, f"with reduction='sum' the shape is {list(total.shape)}")


@contract("loss", excusable=False)
def masked_voxels_have_no_influence(subject: LossSubject) -> None:
    """What is in masked voxels changes nothing, not even NaN, and their gradient is 0.

    Labels there are ignored too; maps made of the labels are given ready, as the objects that they
    measure may well lie under the mask.
    """
    loss, scene = subject.build(), subject.ready_scene().given(mask=_half_mask())
    result, gradient = value_and_gradient(loss, scene)
    demand((gradient[..., KEPT:] == 0).all(), "masked voxels have a gradient")
    logits, labels = scene.logits.clone(), scene.target.clone()
    logits[..., KEPT:] = torch.nan
    other = Scene(logits, labels, scene.extras)
    demand_same(loss, other, (result, gradient), "with NaN in masked voxels")
    labels[..., KEPT:] = 0
    demand_same(loss, other, (result, gradient), "with other labels in masked voxels")


@contract("loss")
def mask_equals_cropping(subject: LossSubject) -> None:
    """Masking a part of the image gives what the rest of it gives on its own.

    A mean that counts masked voxels too becomes smaller the more of them there are.
    """
    loss, scene = subject.build(), subject.ready_scene()
    result, gradient = value_and_gradient(loss, scene.given(mask=_half_mask()))
    cropped, cropped_gradient = value_and_gradient(loss, scene.moved(lambda t: t[..., :KEPT]))
    demand_close(result, cropped, "the masked value")
    demand_close(gradient[..., :KEPT], cropped_gradient, "the masked gradient")


@contract("loss", excusable=False)
def ignore_index_equals_a_mask(subject: LossSubject) -> None:
    """Voxels of the label ``ignore_index`` count as masked ones."""
    scene = subject.ready_scene()
    marked = scene.target.clone()
    marked[:, :, 3:] = 255
    by_mask = value_and_gradient(subject.build(), scene.given(mask=marked != 255))
    ignoring = Scene(scene.logits, marked, scene.extras)
    demand_same(subject.build(ignore_index=255), ignoring, by_mask, "with ignore_index=255")


@contract("loss", excusable=False)
def nothing_left_gives_zero(subject: LossSubject) -> None:
    """With every voxel masked the value is 0 and the gradient is 0.

    A patch without annotation must not train anything, nor end the run.
    """
    scene = subject.scene().given(mask=torch.zeros(2, 1, *SHAPE))
    result, gradient = value_and_gradient(subject.build(), scene)
    demand(result == 0, f"the value is {float(result):.8g}")
    demand((gradient == 0).all(), "the gradient is not 0")


@contract("loss")
def unannotated_classes_have_no_influence(subject: LossSubject) -> None:
    """A class that ``present`` declares unknown changes nothing and has no gradient.

    Partially labelled data sets are joined this way. Seen with sigmoid, or with probabilities,
    where classes do not share a softmax.
    """
    if subject.classes < 2:
        return
    scene = subject.scene()
    last = subject.classes - 1
    labels = torch.where(scene.target == last, 0, scene.target)  # its voxels hold background
    scene = subject.scene(labels=labels)
    activation = "sigmoid" if subject.takes("sigmoid") else ""
    logits = scene.logits if activation else scene.logits.sigmoid()
    present = torch.ones(2, subject.classes, dtype=torch.bool)
    present[:, last] = False
    dense = Scene(logits, scene.one_hot(), scene.extras).given(present=present)
    loss = subject.build(activation=activation)
    result, gradient = value_and_gradient(loss, dense)
    demand((gradient[:, last] == 0).all(), "it has a gradient")
    changed = logits.clone()
    changed[:, last] = changed[:, last].flip(2)
    other = value(loss, Scene(changed, dense.target, dense.extras))
    demand_close(other, result, "with another prediction of it the value")
    if subject.classes == 2:
        return
    fewer = Scene(logits[:, :last], dense.target[:, :last], scene.extras)
    fewer = fewer.given(**{n: scene.extras[n][:, :last] for n in _class_maps(scene)})
    try:
        without = value(loss, fewer)
    except ValueError:  # options for one number of classes, such as one weight for each
        return
    demand_close(result, without, "the value")


def _half_mask() -> torch.Tensor:
    mask = torch.ones(2, 1, *SHAPE, dtype=torch.bool)
    mask[..., KEPT:] = False
    return mask


def _class_maps(scene: Scene) -> list[str]:
    return [name for name in ("distance_map", "skeleton") if name in scene.extras]
