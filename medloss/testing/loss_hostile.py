"""NaN, infinity, labels that are nowhere, nothing at all: an answer that shows it, or an error."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from medloss.testing.loss_subject import LossSubject, demand_pair, value_and_gradient
from medloss.testing.loss_symmetries import chosen
from medloss.testing.registry import ContractError, contract, demand, demand_refused
from medloss.testing.scenes import Scene

FORBIDDEN = -1e4
LARGEST_MM = 1e100
"""Of a voxel; its square is finite."""
SENTINELS = (-100, -1, 255, 256, -999, 65536)
NARROW = (torch.uint8, torch.int8, torch.int16, torch.uint16)
BACKENDS = ("", "chunked", "reference")


@contract("loss", excusable=False)
def nan_is_told(subject: LossSubject) -> None:
    """NaN in logits, probabilities, labels, mask or maps gives NaN or an error, in every reduction.

    Comparisons with NaN are False, so that a clamp or a choice turns it into a healthy number, and
    a run that has diverged goes on.
    """
    for name, scene, activation in _with_nan(subject):
        for reduction in ("mean", "sum", "none"):
            for batch in (False, True):
                try:
                    loss = subject.build(activation=activation, reduction=reduction, batch=batch)
                    value, gradient = value_and_gradient(loss, scene)
                except (ValueError, TypeError):
                    continue
                where = f"with NaN in {name}, reduction={reduction!r} and batch={batch}"
                demand(not value.isfinite().all(), f"{where} the value is {value.flatten()[:4]}")
                demand(not gradient.isfinite().all(), f"{where} the gradient is finite")


@contract("loss", excusable=False)
def infinity_is_answered(subject: LossSubject) -> None:
    """Infinite and huge values in any argument end in a value or an error in words."""
    scene = subject.crossed[0]
    for extreme in (torch.inf, -torch.inf, 1e300, -1e300):
        for name, changed in _everywhere(scene, extreme):
            for backend in BACKENDS:
                try:
                    with chosen(backend):
                        value_and_gradient(subject.build(), changed)
                except (ValueError, TypeError) as error:
                    demand(str(error), f"{extreme:g} in {name} is refused without a word")


@contract("loss")
def forbidden_classes_cost_nothing(subject: LossSubject) -> None:
    """A class forbidden by logits of minus infinity, which no voxel has, is one of logits of -1e4.

    Networks forbid classes that a site does not annotate; 0 times infinity is NaN.
    """
    if subject.classes < 3:
        return
    last = subject.classes - 1
    scene = subject.crossed[0]
    labels = torch.where(scene.target == last, 0, scene.target)
    scene = subject.ready_scene(shape=scene.target.shape[2:], dtype=torch.float64, labels=labels)
    for target in (labels, scene.one_hot()):
        for backend in BACKENDS:
            with chosen(backend):
                answers = []
                for low in (FORBIDDEN, -torch.inf):
                    logits = scene.logits.clone()
                    logits[:, last] = low
                    answers.append(subject.answer(Scene(logits, target, scene.extras)))
            if answers[0] is not None and answers[1] is not None:
                demand_pair(answers[1], answers[0], "of a forbidden class")


@contract("loss", excusable=False)
def sentinels_keep_their_meaning(subject: LossSubject) -> None:
    """An ``ignore_index`` that the labels' dtype cannot hold ignores nothing; one it holds, all.

    A cast wraps: -100 becomes 156 in a byte, and 256 becomes background.
    """
    scene = subject.crossed[0]
    plain = value_and_gradient(subject.build(), scene)
    for sentinel in SENTINELS:
        marked = scene.target.clone()
        marked[:, :, 1:] = sentinel
        ignored = subject.answer(Scene(scene.logits, marked, scene.extras), ignore_index=sentinel)
        for dtype in NARROW:
            info = torch.iinfo(dtype)
            holds = info.min <= sentinel <= info.max
            labels = (marked if holds else scene.target).to(dtype)
            other = Scene(scene.logits, labels, scene.extras)
            found = subject.answer(other, ignore_index=sentinel)
            expected = ignored if holds else plain
            if found is not None and expected is not None:
                demand_pair(found, expected, f"of {dtype} labels and ignore_index={sentinel}")


@contract("loss", excusable=False)
def labels_beyond_the_classes_are_refused(subject: LossSubject) -> None:
    """A label that is no class is refused for every dtype, and never becomes another class."""
    scene = subject.crossed[0]
    classes = max(subject.classes, 2)
    beyond = {
        torch.int16: (classes, -1, 256 + 1),
        torch.int32: (65536, -256),
        torch.int64: (1 << 32, -(1 << 62), (1 << 62) + 1),
        torch.uint8: (255,),
        torch.uint16: (256, 65535),
        torch.uint32: (1 << 31,),
        torch.float32: (float(1 << 40), torch.inf, torch.nan),
    }
    for dtype, wrong in beyond.items():
        for label in wrong:
            labels = scene.target.to(dtype).clone()
            labels[0, 0, 0, 0, 0] = label
            demand_refused(
                functools.partial(subject.build(), scene.logits, labels, **scene.extras),
                "target",
                f"{label} in {dtype} is refused as",
                f"the label {label} in {dtype} is taken for {classes} classes",
            )


@contract("loss", excusable=False)
def empty_batches_give_zero(subject: LossSubject) -> None:
    """A batch without samples, or an image without voxels, gives 0 and no NaN, in any reduction."""
    scene = subject.crossed[0]
    empties = {
        "no sample": scene.moved(lambda t: t[:0]).given(spacing_mm=1.0),
        "no voxel": scene.moved(lambda t: t[..., :0]),
    }
    for what, empty in empties.items():
        for reduction in ("mean", "sum"):
            for batch in (False, True):
                loss = subject.build(reduction=reduction, batch=batch)
                where = f"with {what}, reduction={reduction!r} and batch={batch}"
                try:
                    value, _ = value_and_gradient(loss, empty)
                except ValueError as error:
                    if what == "no voxel":
                        continue
                    raise ContractError(f"{where} it says: {error}") from error
                demand(value == 0, f"{where} the value is {float(value):.6g}")


def _with_nan(subject: LossSubject) -> Iterator[tuple[str, Scene, str]]:
    """Which argument has a NaN, the scene, and the activation."""
    scene = subject.crossed[0]
    own = subject.activation
    # A voxel that every loss reads: of the last class, on its skeleton.
    last = (scene.target[-1, 0] == max(subject.classes - 1, 1)) & (
        scene.extras["skeleton"][-1, -1] > 0
    )
    voxel = tuple(last.nonzero()[0].tolist())

    def spoiled(tensor: Tensor) -> Tensor:
        changed = tensor.double()
        changed[(-1, -1, *voxel)] = torch.nan
        return changed

    yield "the logits", Scene(spoiled(scene.logits.clone()), scene.target, scene.extras), own
    probabilities = scene.logits.softmax(1) if subject.classes > 1 else scene.logits.sigmoid()
    yield "probabilities", Scene(spoiled(probabilities), scene.target, scene.extras), ""
    dense = scene.one_hot().clone()
    yield "the target", Scene(scene.logits, spoiled(dense), scene.extras), own
    yield "the mask", scene.given(mask=spoiled(torch.ones_like(scene.target).double())), own
    for need in subject.record.needs:
        if need != "components":
            yield need, scene.given(**{need: spoiled(scene.extras[need].clone())}), own


def _everywhere(scene: Scene, extreme: float) -> Iterator[tuple[str, Scene]]:
    def changed(tensor: Tensor) -> Tensor:
        tensor = tensor.double().clone()
        tensor[0, 0, 1, 1, 1] = extreme
        return tensor

    yield "the logits", Scene(changed(scene.logits), scene.target, scene.extras)
    yield "the labels", Scene(scene.logits, changed(scene.target), scene.extras)
    yield "a target", Scene(scene.logits, changed(scene.one_hot()), scene.extras)
    yield "the mask", scene.given(mask=changed(torch.ones_like(scene.target)))
    yield "spacing_mm", scene.given(spacing_mm=(1.0, min(abs(extreme), LARGEST_MM), 1.0))
    for name in ("distance_map", "skeleton"):
        yield name, scene.given(**{name: changed(scene.extras[name])})
