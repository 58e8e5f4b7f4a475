"""Losses in Keras 3 on the torch backend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

os.environ.setdefault("KERAS_BACKEND", "torch")  # before Keras is imported

import medloss

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras's and h5py's of numpy


@pytest.fixture
def keras() -> Any:
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    keras.utils.set_random_seed(0)
    return keras


@pytest.fixture
def build(keras: Any) -> Any:
    from medloss.integrations.keras import loss

    return loss


def arrays(channels: int = 3, axes: int = 3, seed: int = 0) -> tuple[Any, Any]:
    """Logits (B, *spatial, C) and labels (B, *spatial)."""
    generator = np.random.default_rng(seed)
    spatial = (6, 5, 4)[:axes]
    logits = generator.standard_normal((2, *spatial, channels)).astype(np.float32)
    return logits, generator.integers(0, max(channels, 2), (2, *spatial))


def first(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(array, -1, 1).copy())


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", ["dice_ce", "focal_tversky", "focal", "dice_focal"])
def test_values_are_those_of_medloss(build: Any, name: str, axes: int) -> None:
    logits, label = arrays(axes=axes)
    expected = medloss.loss(name, softmax=True)(first(logits), torch.from_numpy(label)[:, None])
    onehot = np.eye(3, dtype=np.float32)[label]
    ours = build(name, from_logits=True)
    for target in (label, label[..., None], label.astype(np.float32), label.astype(np.int32)):
        assert float(ours(target, logits)) == pytest.approx(expected.item(), rel=1e-6)
    assert float(ours(onehot, logits)) == pytest.approx(expected.item(), rel=1e-6)
    channels_first = build(name, from_logits=True, data_format="channels_first")
    moved = np.moveaxis(logits, -1, 1)
    for target in (label, label[:, None], np.moveaxis(onehot, -1, 1)):
        assert float(channels_first(target, moved)) == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("name", ["dice_ce", "focal_tversky", "focal", "binary_cross_entropy"])
def test_probabilities_are_the_default(build: Any, name: str) -> None:
    logits, label = arrays(channels=1)
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = medloss.loss(name, sigmoid=True)(
        first(logits.astype(np.float64)), torch.from_numpy(label)[:, None]
    )
    assert float(build(name)(label, probabilities)) == pytest.approx(expected.item(), rel=1e-6)
    assert float(build(name, from_logits=True)(label, logits)) == pytest.approx(
        expected.item(), rel=1e-5
    )
    with pytest.raises(ValueError, match=r"expected probabilities in \[0, 1\]"):
        build(name)(label, logits)


def test_independent_classes(build: Any) -> None:
    logits, _ = arrays()
    target = np.random.default_rng(1).integers(0, 2, logits.shape)
    expected = medloss.loss("dice_ce", sigmoid=True)(first(logits), first(target))
    got = build("dice_ce", from_logits="sigmoid")(target, logits)
    assert float(got) == pytest.approx(expected.item(), rel=1e-6)


def test_spacing(build: Any) -> None:
    logits, label = arrays()
    spacing_mm = (1.0, 2.0, 0.5)
    for name in ("boundary", "border_weighted_cross_entropy"):
        expected = medloss.loss(name, softmax=True)(
            first(logits), torch.from_numpy(label)[:, None], spacing_mm=spacing_mm
        )
        loss = build(name, from_logits=True, spacing_mm=spacing_mm)
        assert float(loss(label, logits)) == pytest.approx(expected.item(), rel=1e-6)
        assert loss.get_config()["spacing_mm"] == spacing_mm


def test_sample_weight_is_a_mask_of_voxels(build: Any) -> None:
    logits, label = arrays()
    mask = np.random.default_rng(1).integers(0, 2, label.shape).astype(np.float32)
    loss = build("dice_ce", from_logits=True)
    expected = float(
        medloss.loss("dice_ce", softmax=True)(
            first(logits), torch.from_numpy(label)[:, None], mask=torch.from_numpy(mask)[:, None]
        )
    )
    for weight in (mask, mask[..., None]):
        assert float(loss(label, logits, sample_weight=weight)) == pytest.approx(expected)
    for weight in (np.ones(2), np.ones((2, 1)), np.ones((2, 6, 5, 4, 3))):
        with pytest.raises(ValueError, match="sample_weight: expected a mask of voxels"):
            loss(label, logits, sample_weight=weight)
    with pytest.raises(ValueError, match=r"mask: expected values in \[0, 1\]"):
        loss(label, logits, sample_weight=2 * mask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"from_logits": "tanh"}, "from_logits: expected False, True"),
        ({"data_format": "last"}, "data_format: expected one of"),
        ({"softmax": True}, "softmax: from_logits says what y_pred is"),
        ({"reduction": "none"}, "reduction: expected 'mean' or 'sum'"),
        ({"smoth_nr": 1.0}, "no option 'smoth_nr'; did you mean smooth_nr"),
    ],
)
def test_options_that_cannot_be_meant(build: Any, options: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        build("dice", **options)


def test_shapes_that_cannot_be_meant(build: Any) -> None:
    logits, label = arrays()
    loss = build("dice", from_logits=True)
    for target in (label[:1], label[:, :-1], np.zeros((2, 6, 5, 4, 2)), label.ravel()):
        with pytest.raises(ValueError, match="y_true: expected integer labels"):
            loss(target, logits)
    with pytest.raises(ValueError, match=r"y_pred: expected \(B, H, W, C\)"):
        loss(label[0, 0], logits[0, 0])


def test_the_config_builds_the_same_loss(keras: Any, build: Any) -> None:
    logits, label = arrays()
    loss = build("tversky", fp_weight=0.2, fn_weight=0.8, weight=[1, 2, 3], from_logits=True)
    config = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert again.name == "tversky"
    assert float(again(label, logits)) == float(loss(label, logits))


def network(keras: Any, activation: str | None, channels: int = 2) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 8, 1)),
            layers.Conv3D(4, 3, padding="same", activation="relu"),
            layers.Conv3D(channels, 3, padding="same", activation=activation),
        ]
    )


def volumes() -> tuple[Any, Any]:
    """Cubes in noise."""
    generator = np.random.default_rng(0)
    label = np.zeros((6, 8, 8, 8), np.int32)
    for case in label:
        corner = generator.integers(0, 4, 3)
        case[tuple(slice(c, c + 4) for c in corner)] = 1
    image = label[..., None] + 0.2 * generator.standard_normal((*label.shape, 1))
    return image.astype(np.float32), label


@pytest.mark.parametrize(
    ("name", "activation", "channels", "options"),
    [
        ("dice_ce", "softmax", 2, {}),
        ("focal_tversky", None, 2, {"from_logits": True, "include_background": False}),
        ("bce_dice", "sigmoid", 1, {}),
        ("boundary", "softmax", 2, {"spacing_mm": (1.0, 1.0, 2.0)}),
    ],
)
def test_a_model_learns(
    keras: Any, build: Any, name: str, activation: str | None, channels: int, options: Any
) -> None:
    image, label = volumes()
    model = network(keras, activation, channels)
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss=build(name, **options))
    seen = model.fit(image, label, batch_size=3, epochs=5, verbose=0).history["loss"]
    assert np.isfinite(seen).all()
    assert seen[-1] < seen[0] - 0.02
    assert model.evaluate(image, label, verbose=0) == pytest.approx(seen[-1], abs=0.15)


def test_a_saved_model_keeps_its_loss(keras: Any, build: Any, tmp_path: Path) -> None:
    image, label = volumes()
    model = network(keras, "softmax")
    model.compile(optimizer="sgd", loss=build("dice_ce", include_background=False))
    model.fit(image, label, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.loss.get_config() == model.loss.get_config()
    expected = model.evaluate(image, label, verbose=0)
    assert again.evaluate(image, label, verbose=0) == pytest.approx(expected, rel=1e-6)


def test_mixed_precision_and_masked_voxels_in_fit(keras: Any, build: Any) -> None:
    image, label = volumes()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = network(keras, None)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    model.compile(optimizer="adam", loss=build("dice_ce", from_logits=True))
    mask = np.ones(label.shape, np.float32)
    seen = model.fit(image, label, sample_weight=mask, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(seen).all()
    assert seen[-1] < seen[0]


RAMP = {"schedule": "ramp", "start": 0.0, "end": 1.0, "steps": 4}


def scheduled(keras: Any, build: Any, **options: Any) -> Any:
    model = network(keras, "softmax")
    model.compile(optimizer="sgd", loss=build("dice_ce", lambda_ce=RAMP, **options))
    return model


def weight(model: Any) -> float:
    loss = model if hasattr(model, "_of_activation") else model.loss
    return loss._of_activation("softmax").term_weights["cross_entropy"]


@pytest.mark.parametrize("validated", [False, True])
def test_a_scheduled_weight_moves_with_the_callback(
    keras: Any, build: Any, validated: bool
) -> None:
    from medloss.integrations.keras import ScheduleCallback

    image, label = volumes()
    model = scheduled(keras, build)
    seen: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(weight(model)))
    model.fit(
        image,
        label,
        batch_size=3,
        epochs=3,
        verbose=0,
        validation_data=(image, label) if validated else None,
        callbacks=[ScheduleCallback(), watch],
    )
    assert seen == pytest.approx([0.0, 0.25, 0.5])


def test_a_training_that_goes_on_goes_on_with_its_weights(keras: Any, build: Any) -> None:
    from medloss.integrations.keras import ScheduleCallback

    image, label = volumes()
    model = scheduled(keras, build)
    model.fit(image, label, epochs=4, initial_epoch=3, verbose=0, callbacks=[ScheduleCallback()])
    assert weight(model) == pytest.approx(0.75)


@pytest.mark.parametrize("validated", [False, True])
def test_a_scheduled_weight_that_nothing_steps_is_refused(
    keras: Any, build: Any, validated: bool
) -> None:
    image, label = volumes()
    model = scheduled(keras, build)
    with pytest.raises(RuntimeError, match="cross_entropy has a schedule that nothing steps: give"):
        model.fit(
            image,
            label,
            epochs=2,
            verbose=0,
            validation_data=(image, label) if validated else None,
        )
    assert np.isfinite(model.evaluate(image, label, verbose=0)), "what trains nothing is let be"


def test_schedules_inside_other_losses_and_of_later_activations_are_stepped(build: Any) -> None:
    inner = {"name": "dice_ce", "lambda_ce": RAMP}
    nested = build("compound", terms=["focal", inner])
    with pytest.raises(RuntimeError, match="nothing steps"):
        nested(arrays()[1], torch.from_numpy(arrays()[0]).softmax(-1).requires_grad_())
    loss = build("dice_ce", from_logits=True, lambda_ce=RAMP)
    loss.step_schedule(2)
    loss.step_schedule()
    assert loss._of_activation("sigmoid").term_weights["cross_entropy"] == pytest.approx(0.75)
    assert weight(loss) == pytest.approx(0.75)


def test_the_callback_wants_a_loss_of_ours(keras: Any) -> None:
    from medloss.integrations.keras import ScheduleCallback

    image, label = volumes()
    model = network(keras, "softmax")
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="compiled with no loss of medloss"):
        model.fit(image, label, verbose=0, callbacks=[ScheduleCallback()])


WITHOUT = """
import sys
sys.modules["keras"] = None
from medloss.integrations.keras import loss
try:
    loss("dice")
except ImportError as error:
    print(error)
"""


def test_without_keras_the_error_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=120
    )
    assert "needs Keras 3 (the extra keras of medloss)" in done.stdout, done.stderr


def test_other_backends_are_refused(
    keras: Any, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match=r"Keras runs on jax; .* set KERAS_BACKEND"):
        build("dice")
