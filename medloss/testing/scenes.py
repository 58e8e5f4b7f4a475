"""Small inputs for losses: logits, blobs of labels, and the maps that some losses need."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from scipy import ndimage
from torch import Tensor

from medloss.distance import signed_distance
from medloss.objects.spacing import parse_spacing
from medloss.testing.registry import SPACING_MM, load_monai

SHAPE = (6, 5, 7)
"""Different along each axis, so that a mixed-up axis is seen."""


@dataclass(frozen=True)
class Scene:
    """What a loss is called with.

    Args:
        logits: (B, C, *spatial).
        target: whatever the loss takes as target.
        extras: keywords of the call.
    """

    logits: Tensor
    target: Any
    extras: Mapping[str, Any] = field(default_factory=dict)

    def given(self, **extras: Any) -> Scene:
        """The same with other keywords; ``None`` takes one away."""
        kept = {k: v for k, v in {**self.extras, **extras}.items() if v is not None}
        return replace(self, extras=kept)

    def moved(self, move: Callable[[Tensor], Tensor], spacing_mm: Any = None) -> Scene:
        """The same with every tensor moved, and the spacing where it moves too."""
        extras = {k: move(v) if isinstance(v, Tensor) else v for k, v in self.extras.items()}
        scene = Scene(move(self.logits), move(self.target), extras)
        return scene if spacing_mm is None else scene.given(spacing_mm=spacing_mm)

    def images(self, move: Callable[[Tensor], Tensor]) -> Scene:
        """The same with every image moved; what is one number a class stays."""
        return self.moved(lambda tensor: move(tensor) if tensor.ndim > 2 else tensor)

    def shaped(self, shape: tuple[int, ...]) -> Scene:
        """The same voxels, (B, C, *shape); ``(-1,)`` puts them in a line."""
        return self.images(lambda tensor: tensor.reshape(*tensor.shape[:2], *shape))

    def samples(self) -> list[Scene]:
        """The samples of the batch, each alone."""
        each = (slice(b, b + 1) for b in range(len(self.logits)))
        return [self.moved(operator.itemgetter(part)) for part in each]

    def one_hot(self) -> Tensor:
        """The index target as one channel for each class, in the dtype of the logits."""
        return one_hot(self.target, self.logits.shape[1]).to(self.logits)


def make_scene(
    classes: int,
    *,
    batch: int = 2,
    shape: tuple[int, ...] = SHAPE,
    scale: float = 2.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Scene:
    """Random logits and blobs of every class, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(batch, classes, *shape, generator=generator)
    noise = torch.randn(batch, max(classes, 2), *shape, generator=generator)
    smooth = ndimage.uniform_filter(noise.numpy(), size=(1, 1, *[3] * len(shape)))
    labels = torch.from_numpy(smooth).argmax(1, keepdim=True)
    return Scene(logits.to(dtype), labels, {"spacing_mm": SPACING_MM[: len(shape)]})


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(B, 1, *spatial) class indices as (B, C, *spatial); a single class is itself."""
    if classes == 1:
        return labels
    return torch.cat([labels == c for c in range(classes)], 1)


def ready_maps(scene: Scene) -> dict[str, Tensor]:
    """Every map that a loss may be given, made from the labels of a scene.

    The skeleton is the ridge of the distance inside each object: thin, inside, and equal for a
    flipped image, which is all that the checks need.
    """
    batch, classes, *spatial = scene.logits.shape
    masks = one_hot(scene.target, classes).bool()
    spacing = parse_spacing(scene.extras["spacing_mm"], batch=batch, axes=len(spatial))
    distance = signed_distance(masks, spacing)
    inside = (-distance).clamp_min(0).numpy()
    highest = ndimage.maximum_filter(inside, size=(1, 1, *[3] * len(spatial)))
    ridge = torch.from_numpy(inside == highest) & masks
    numbered = [torch.from_numpy(ndimage.label(y > 0)[0]) for y in scene.target[:, 0].numpy()]
    return {
        "distance_map": distance,
        "skeleton": ridge.float(),
        "components": torch.stack(numbered)[:, None].long(),
    }


def meta_tensor(tensor: Tensor, spacing_mm: Sequence[float] = SPACING_MM) -> Any:
    """The tensor as MONAI's loader hands it over, with a spacing."""
    load_monai()
    from monai.data.meta_tensor import MetaTensor

    affine = torch.diag(torch.tensor([*spacing_mm, 1.0], dtype=torch.float64))
    return MetaTensor(tensor, affine=affine)
