"""Losses for Keras 3 on its torch backend.

    import os
    os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported
    from medloss.integrations.keras import loss
    model.compile(optimizer="adam", loss=loss("focal_tversky"))

A saved model that was compiled with such a loss is loaded after this module has been imported.
Weights with a schedule are stepped by :class:`ScheduleCallback`, which ``fit`` has to be given.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal

from torch import Tensor

import medloss
from medloss.base import SegmentationLoss
from medloss.integrations.loss_callback import scheduled_terms, step_schedules
from medloss.objects.spacing import SpacingLike

try:
    _keras: Any = importlib.import_module("keras")
    _why_not = ""
except ImportError as error:  # Keras, or the package of the backend that it is set to
    _keras, _why_not = None, f"{type(error).__name__}: {error}"

_Base: Any = _keras.losses.Loss if _keras else object
_Callback: Any = _keras.callbacks.Callback if _keras else object
DataFormat = Literal["channels_last", "channels_first"]
DATA_FORMATS = ("channels_last", "channels_first")


def loss(
    name: str,
    *,
    from_logits: bool | Literal["softmax", "sigmoid"] = False,
    data_format: DataFormat = "channels_last",
    spacing_mm: SpacingLike | None = None,
    **options: Any,
) -> KerasLoss:
    """A loss of medloss as a ``keras.losses.Loss``.

    Args:
        name: in the registry: ``"dice_ce"``; with options as for ``medloss.loss``.
        from_logits: whether ``y_pred`` is logits instead of probabilities; ``True`` means a softmax
            over several channels and a sigmoid of a single one, ``"sigmoid"`` independent classes.
        data_format: ``"channels_last"``: (B, H, W, C) or (B, H, W, D, C); or ``"channels_first"``.
        spacing_mm: size of a voxel, for losses on distances: a number, or one for each axis.
        options: of the loss.

    Raises:
        ImportError: Keras cannot be imported.
        RuntimeError: Keras runs on another backend than torch.
        ValueError: options that cannot be meant.
    """
    return KerasLoss(
        name, from_logits=from_logits, data_format=data_format, spacing_mm=spacing_mm, **options
    )


class KerasLoss(_Base):  # type: ignore[misc]
    r"""A loss of medloss as a ``keras.losses.Loss``; :func:`loss` tells its options.

    ``y_true`` is integer labels, with the shape of ``y_pred`` less its channels or with a single
    channel, or has the channels of ``y_pred``. ``sample_weight`` is a mask of voxels with values in
    [0, 1]; a weight for each sample is refused, as region losses are no sums over samples.
    """

    def __init__(
        self,
        loss: str,
        *,
        from_logits: bool | Literal["softmax", "sigmoid"] = False,
        data_format: DataFormat = "channels_last",
        spacing_mm: SpacingLike | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        _check_keras()
        if from_logits not in (False, True, "softmax", "sigmoid"):
            raise ValueError(
                f"from_logits: expected False, True, 'softmax' or 'sigmoid', got {from_logits!r}"
            )
        if data_format not in DATA_FORMATS:
            raise ValueError(f"data_format: expected one of {DATA_FORMATS}, got {data_format!r}")
        for option in ("softmax", "sigmoid", "other_act"):
            if option in options:
                raise ValueError(f"{option}: from_logits says what y_pred is, got {option} too")
        if options.get("reduction", "mean") not in ("mean", "sum"):
            raise ValueError(f"reduction: expected 'mean' or 'sum', got {options['reduction']!r}")
        super().__init__(name=name or loss, reduction=None)  # a loss of medloss reduces by itself
        self.loss, self.options = loss, options
        self.from_logits, self.data_format = from_logits, data_format
        self.spacing_mm = spacing_mm
        self._built: dict[str, Any] = {}
        self._step: int | None = None  # nobody has stepped the schedules
        self._of_activation("sigmoid" if from_logits == "sigmoid" else "softmax")  # fail now

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Value of the loss.

        Raises:
            ValueError: shapes, labels or values that cannot be meant.
            RuntimeError: it trains, and nothing steps its schedules.
        """
        to_tensor = _keras.ops.convert_to_tensor
        prediction: Tensor = self._channels_first(to_tensor(y_pred))
        label = self._target(to_tensor(y_true), prediction)
        mask = None
        if sample_weight is not None:
            mask = self._mask(to_tensor(sample_weight), prediction)
        if prediction.is_meta:  # Keras asks for the shape alone
            return prediction.new_empty(())
        activation = self.from_logits
        if activation is True or activation is False:
            activation = "softmax" if prediction.shape[1] > 1 else "sigmoid"
        made = self._of_activation(activation)
        if prediction.requires_grad and self._step is None and scheduled_terms(made):
            raise RuntimeError(
                f"the weight of {', '.join(scheduled_terms(made))} has a schedule that nothing "
                f"steps: give fit() callbacks=[medloss.integrations.keras.ScheduleCallback()], or "
                f"call step_schedule(epoch) of the loss as each epoch begins"
            )
        return made(prediction, label, mask=mask, spacing_mm=self.spacing_mm)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Value of the loss without a mask."""
        return self(y_true, y_pred)

    def step_schedule(self, step: int | None = None) -> None:
        """Go to a step of the schedules, counted from 0; without a number to the next.

        Raises:
            ValueError: ``step`` is no whole number from 0 on.
        """
        step = (self._step or 0) + 1 if step is None else step
        for made in self._built.values():
            step_schedules(made, step)
        self._step = step

    def get_config(self) -> dict[str, Any]:
        """What :meth:`from_config` builds the loss from."""
        return {
            "loss": self.loss,
            "from_logits": self.from_logits,
            "data_format": self.data_format,
            "spacing_mm": self.spacing_mm,
            "name": self.name,
            **self.options,
        }

    def _of_activation(self, activation: str) -> Any:
        """The loss that this activation needs; built once."""
        if activation not in self._built:
            given = {activation: True} if self.from_logits else {}
            made = medloss.loss(self.loss, **self.options, **given)
            if not isinstance(made, SegmentationLoss):
                raise ValueError(f"loss: expected one of a single y_pred, got {self.loss}")
            if not self.from_logits and made.default_activation != "probabilities":
                made = medloss.loss(self.loss, **self.options, other_act=_as_it_is)
            if self._step is not None:
                step_schedules(made, self._step)
            self._built[activation] = made
        return self._built[activation]

    def _channels_first(self, tensor: Tensor) -> Tensor:
        if tensor.ndim not in (4, 5):
            shapes = {
                "channels_last": "(B, H, W, C) or (B, H, W, D, C)",
                "channels_first": "(B, C, H, W) or (B, C, H, W, D)",
            }
            raise ValueError(
                f"y_pred: expected {shapes[self.data_format]}, got {list(tensor.shape)}"
            )
        return tensor if self.data_format == "channels_first" else tensor.movedim(-1, 1)

    def _target(self, label: Tensor, prediction: Tensor) -> Tensor:
        batch, classes, *spatial = prediction.shape
        if list(label.shape) == [batch, *spatial]:
            return label[:, None]
        channels = [[batch, 1, *spatial], [batch, classes, *spatial]]
        if label.ndim == prediction.ndim:
            label = self._channels_first(label)
            if list(label.shape) in channels:
                return label
        raise ValueError(
            f"y_true: expected integer labels {[batch, *spatial]}, or 1 or {classes} channels "
            f"({self.data_format}), got {list(label.shape)}"
        )

    def _mask(self, weight: Tensor, prediction: Tensor) -> Tensor:
        batch, _, *spatial = prediction.shape
        if list(weight.shape) == [batch, *spatial]:
            return weight[:, None]
        if weight.ndim == prediction.ndim:
            mask = self._channels_first(weight)
            if list(mask.shape) == [batch, 1, *spatial]:
                return mask
        raise ValueError(
            f"sample_weight: expected a mask of voxels {[batch, *spatial]}, got "
            f"{list(weight.shape)}; samples cannot be weighted, for classes there is 'weight'"
        )


class ScheduleCallback(_Callback):  # type: ignore[misc]
    """Steps the schedules of a model's losses as each epoch begins.

        model.fit(volumes, labels, epochs=50, callbacks=[ScheduleCallback()])

    ``fit(initial_epoch=10)`` goes on where a training was; what a schedule has measured
    (``equal_value``, ``equal_gradient_norm``) is not in Keras's files and starts anew.
    """

    def __init__(self) -> None:
        _check_keras()
        super().__init__()

    def on_train_begin(self, logs: Any = None) -> None:
        """Look for the losses.

        Raises:
            ValueError: none of them is one of medloss.
        """
        found = [x for x in _keras.tree.flatten(self.model.loss) if isinstance(x, KerasLoss)]
        if not found:
            raise ValueError("ScheduleCallback: the model is compiled with no loss of medloss")
        self.losses = found

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Bring every schedule to this epoch."""
        for each in self.losses:
            each.step_schedule(epoch)


def _as_it_is(probabilities: Tensor) -> Tensor:
    return probabilities


def _check_keras() -> None:
    if _keras is None:
        raise ImportError(
            "medloss.integrations.keras needs Keras 3 (the extra keras of medloss) on the torch "
            f"backend (KERAS_BACKEND=torch): {_why_not}"
        )
    backend = _keras.backend.backend()
    if backend != "torch":
        raise RuntimeError(
            f"Keras runs on {backend}; losses of medloss are torch: set KERAS_BACKEND=torch "
            "before Keras is imported"
        )


if _keras is not None:
    _keras.saving.register_keras_serializable("medloss")(KerasLoss)
