"""Labels and whole-volume losses of one image, from the rows of a sliding window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import to_affine_nd
from numpy.typing import NDArray
from torch import Tensor

from medloss.base import LossInParts
from medloss.evaluation.losses import LossChoice
from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.stored import PATIENT, CaseError
from medloss.integrations.bundle.postprocessing import PREDICTION, Decision
from medloss.integrations.bundle.regrid import GridPiece, OntoGrid
from medloss.integrations.bundle.settings import BundleInference
from medloss.integrations.decision import decide_array
from medloss.integrations.sliding_window.labels import decide


class WholeLosses:
    """Losses of a case, from pieces of its probabilities.

    Args:
        choices: the losses.
        reference: label map on the grid of the pieces.
        ignored: where voxels do not count.
    """

    def __init__(
        self, choices: Sequence[LossChoice], reference: Image, ignored: NDArray[np.bool_] | None
    ) -> None:
        labels = reference.labels()
        self.target = labels if ignored is None else np.where(ignored, 0, labels)
        self.ignored, self.spacing_mm = ignored, reference.spacing_mm
        try:
            self.parts = {choice.column: LossInParts(choice.loss) for choice in choices}
        except (TypeError, ValueError) as error:
            raise CaseError(str(error)) from error

    def add(self, piece: GridPiece) -> None:
        """Take in the probabilities of some voxels.

        Raises:
            CaseError: the reference has other voxels, or a loss cannot be had from parts.
        """
        device = piece.values.device
        target = {"label": _batch(self.target[piece.where].astype(np.int64)).to(device)}
        if self.ignored is not None:
            target["mask"] = _batch(~self.ignored[piece.where]).to(device)
        for column, part in self.parts.items():
            try:
                part.add(piece.values[None], target, spacing_mm=self.spacing_mm)
            except (TypeError, ValueError) as error:
                raise CaseError(f"{column}: {error}") from error

    def values(self) -> Iterator[tuple[str, float]]:
        """Column and value of every loss.

        Raises:
            CaseError: a loss is no number.
        """
        for column, part in self.parts.items():
            value = part.value()
            if value.numel() != 1:
                raise CaseError(
                    f"{column} gives {value.numel()} values, not one; drop its reduction"
                )
            yield column, float(value)


def predict(
    bundle: BundleInference, image: MetaTensor, path: Path, losses: WholeLosses | None = None
) -> Image:
    r"""Labels of an image on the grid of its file.

    Args:
        bundle: network, windows, and how labels are made.
        image: (C, \*spatial), as the bundle's transforms give it.
        path: what the prediction is called.
        losses: to be told the probabilities.

    Raises:
        CaseError: the image was turned or sheared by the transforms, or has another grid than the
            reference of the losses.
    """
    axes = image.ndim - 1
    affine = to_affine_nd(axes, np.asarray(image.meta["original_affine"], dtype=np.float64))
    shape = tuple(int(n) for n in image.meta["spatial_shape"])[:axes]
    if losses is not None and losses.target.shape != shape:
        raise CaseError(
            f"prediction and reference differ in shape: {list(shape)} against "
            f"{list(losses.target.shape)}"
        )
    labels: Tensor | None = None
    decoding = bundle.decision.decoding
    for piece in _pieces(bundle, image, affine, shape):
        if losses is not None:
            if bundle.decision.threshold is not None and len(piece.values) > 1:
                raise CaseError(
                    f"{path}: a loss needs classes that exclude one another, and the "
                    f"{len(piece.values)} channels of this bundle are independent; leave out --loss"
                )
            losses.add(piece)
        if decoding is None:
            found = decide(piece.values[None], threshold=bundle.decision.threshold)[0]
        else:  # which needs all voxels of the volume
            found = piece.values.float()
        if labels is None:
            labels = torch.zeros((found.shape[0], *shape), dtype=found.dtype)
        labels[(slice(None), *piece.where)] = found.cpu()
    if labels is None:
        raise CaseError(f"{path}: the image has no voxels")
    if decoding is not None:
        try:
            decided = decide_array(labels.numpy(), decoding, bundle.decision.channels)
            labels = torch.from_numpy(decided)
        except ValueError as error:
            raise CaseError(f"{path}: {error}") from error
    labels = _after(bundle.decision, labels, affine, image)
    whole = to_affine_nd(3, affine)
    spacing_mm = tuple(float(size) for size in np.linalg.norm(whole[:3, :axes], axis=0))
    space = _space(image)
    if len(labels) == 1:
        return Image(path, labels[0].numpy(), spacing_mm, whole, space=space, decided=True)
    channels = labels.movedim(0, -1).numpy()
    return Image(
        path, channels, spacing_mm, whole, probabilities=True, independent=True, space=space
    )


def _space(image: MetaTensor) -> str:
    """MONAI makes up a place for a NIfTI file without one; its meta data still has the codes."""
    codes = [image.meta.get(name) for name in ("sform_code", "qform_code")]
    return "" if all(code is not None and int(code) <= 0 for code in codes) else PATIENT


def _pieces(
    bundle: BundleInference, image: MetaTensor, affine: NDArray[np.float64], shape: tuple[int, ...]
) -> Iterator[GridPiece]:
    decision, onto = bundle.decision, None
    for rows in bundle.score.rows(_on_device(bundle, image), _network(bundle)):
        values = decision.activate(rows.values)[0]
        if onto is None:
            seen = to_affine_nd(len(shape), np.asarray(image.affine, dtype=np.float64))
            try:
                onto = OntoGrid(
                    np.linalg.solve(seen, affine),
                    image.shape[1:],
                    shape,
                    outside=_outside(decision, len(values)),
                    nearest=decision.nearest,
                )
            except ValueError as error:
                raise CaseError(
                    f"the bundle's transforms turn the image against its file: {error}"
                ) from error
        yield from onto.add(values)


def _network(bundle: BundleInference) -> Any:
    if not bundle.amp:
        return bundle.network

    def mixed(data: Tensor) -> Any:
        with torch.autocast(bundle.device.type):
            return bundle.network(data)

    return mixed


def _on_device(bundle: BundleInference, image: MetaTensor) -> Tensor:
    plain: Tensor = image.as_tensor()[None].to(bundle.device)
    return plain


def _outside(decision: Decision, classes: int) -> list[float]:
    """Beyond what the network saw there is background."""
    if decision.threshold is None:
        return [1.0] + [0.0] * (classes - 1)
    return [0.0 if decision.activation == "sigmoid" else -np.inf] * classes


def _after(
    decision: Decision, labels: Tensor, affine: NDArray[np.float64], image: MetaTensor
) -> Tensor:
    """The label map after the bundle's transforms of it."""
    if not decision.after:
        return labels
    item: Any = {PREDICTION: MetaTensor(labels, affine=torch.from_numpy(affine)), "image": image}
    for transform in decision.after:
        item = transform(item)
    made: Tensor = torch.as_tensor(item[PREDICTION])
    if made.shape[1:] != labels.shape[1:]:
        raise CaseError(
            f"the bundle's postprocessing makes a label map of {list(made.shape[1:])} voxels "
            f"from one of {list(labels.shape[1:])}"
        )
    made = made.as_tensor() if isinstance(made, MetaTensor) else made
    return made.to(labels.dtype)


def _batch(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))[None, None]
