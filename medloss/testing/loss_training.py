"""Training: MONAI's trainer, mixed precision and ``torch.compile``."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from medloss.testing.loss_calls import meta_tensor
from medloss.testing.loss_subject import LossSubject, demand_close, value, value_and_gradient
from medloss.testing.registry import contract, demand, load_monai
from medloss.testing.scenes import Scene


@contract("loss", excusable=False)
def autocast_changes_nothing(subject: LossSubject) -> None:
    """Inside ``torch.autocast`` the value is the same: sums must not fall to half precision."""
    loss, scene = subject.build(), subject.scene()
    expected = value(loss, scene)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = value(loss, scene)
    demand(
        torch.equal(inside, expected),
        f"inside the value is {float(inside):.8g}, outside {float(expected):.8g}",
    )


@contract("loss", excusable=False)
def monai_trainer_steps(subject: LossSubject) -> None:
    """MONAI's SupervisedTrainer makes a step with it that changes the network, in bfloat16 too.

    With MetaTensors as they come from a loader, and with a mapping as target.
    """
    for amp in (False, True):
        for as_mapping in (False, True):
            how = f"with {'a mapping' if as_mapping else 'MetaTensors'}, {'AMP' if amp else 'fp32'}"
            loss_value, moved = _trainer_step(subject, amp=amp, as_mapping=as_mapping)
            demand(loss_value.isfinite(), f"{how} the loss is {float(loss_value)}")
            demand(moved.isfinite().all(), f"{how} the network's weights became NaN")
            demand(moved.any(), f"{how} the network did not change")


@contract("loss", excusable=False)
def compiled_equals_eager(subject: LossSubject) -> None:
    """Under ``torch.compile`` value and gradient are the same; graph breaks are allowed."""
    scene = subject.scene()
    expected, expected_gradient = value_and_gradient(subject.build(), scene)
    log = logging.getLogger("torch._dynamo")
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while it compiles
        log.setLevel(logging.ERROR)  # graph breaks
        compiled = torch.compile(subject.build(), backend="aot_eager")
        try:
            result, gradient = value_and_gradient(compiled, scene)
        finally:
            log.setLevel(level)
            torch.compiler.reset()
    demand_close(result, expected, "the compiled value")
    demand_close(gradient, expected_gradient, "the compiled gradient")


class _Network(nn.Module):
    """One convolution, in bfloat16 where mixed precision is asked for."""

    def __init__(self, classes: int, *, amp: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(1, classes, 3, padding=1)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.convolution.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.amp = amp

    def forward(self, image: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.amp):
            logits: Tensor = self.convolution(image)
        return logits


def _trainer_step(subject: LossSubject, *, amp: bool, as_mapping: bool) -> tuple[Tensor, Tensor]:
    """The loss, and how far a step of the trainer moved the network's weights."""
    load_monai()
    from monai.engines.trainer import SupervisedTrainer

    scene = subject.scene(shape=(8, 7, 6))
    network = _Network(subject.classes, amp=amp)
    before = network.convolution.weight.detach().clone()
    loss = subject.build()

    def autocast_loss(prediction: Tensor, target: Any) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
            result: Tensor = loss(prediction, target)
        return result

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MONAI and ignite about torch's deprecations
        trainer = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=1,
            train_data_loader=[{"image": scene.logits[:, :1], "label": scene.target}],
            network=network,
            optimizer=torch.optim.SGD(network.parameters(), 0.1),
            loss_function=autocast_loss,
            prepare_batch=_batches(scene, as_mapping=as_mapping),
            decollate=False,
        )
        trainer.run()
    moved = network.convolution.weight.detach() - before
    return torch.as_tensor(trainer.state.output["loss"]).detach(), moved


def _batches(scene: Scene, *, as_mapping: bool) -> Callable[..., tuple[Tensor, Any]]:
    def prepare(batch: Any, device: Any, non_blocking: bool, **_: Any) -> tuple[Tensor, Any]:
        image, label = batch["image"], batch["label"]
        if as_mapping:
            return image, {"label": label, **scene.extras}
        needed = scene.given(spacing_mm=None).extras  # what the loss cannot do without
        label = meta_tensor(label)
        return meta_tensor(image), {"label": label, **needed} if needed else label

    return prepare
