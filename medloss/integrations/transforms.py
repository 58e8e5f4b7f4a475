"""MONAI dictionary transforms that make the maps of losses, once per volume, before cropping.

Maps belong to the data: made of the whole volume, they say in a patch what lies beyond it, and cost
nothing in the training loop. Put them after whatever resamples the label and before whatever crops
it; flips, rotations by 90 degrees and crops then carry them exactly. ``PrepareTargets`` refuses a
map that was padded, zoomed or rotated otherwise; elastic transforms leave no trace in MONAI.

In a bundle config:

    {"_target_": "medloss.integrations.transforms.DistanceMapd", "keys": "label", "classes": 3}

and ``"prepare_batch": {"_target_": "medloss.integrations.transforms.PrepareTargets"}`` in the
trainer, which hands the maps of a batch to the loss.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils import ensure_tuple, ensure_tuple_rep
from torch import Tensor

from medloss.distance import (
    Convention,
    Empty,
    check_map_options,
    connected_components,
    signed_distance,
)
from medloss.integrations.map_history import check_history
from medloss.objects.spacing import SpacingLike, affine_spacing

DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}


class DistanceMapd(MapTransform):  # type: ignore[misc]
    r"""Signed distance map of each class of a label, in mm.

    Args:
        keys: of the labels: integer labels (1, \*spatial), or one channel for each class.
        classes: of integer labels: how many there are, background included, or which ones, in the
            order of the network's channels. By default the channels of the label; a single channel
            is then a mask.
        map_keys: where the maps go, one for each key; (C, \*spatial) each.
        convention: where the map is zero, see ``medloss.distance.signed_distance``; losses have
            their own default: ``"surface"`` for ``boundary``, ``"symmetric"`` for the others.
        empty: map of a class that is empty or fills the volume.
        spacing_mm: size of a voxel; by default that of the MetaTensor.
        dtype: ``"float32"``, or ``"float16"`` for half the memory and a precision of 1/2000.
        allow_missing_keys: leave out keys that an item lacks.

    Raises:
        ValueError: options that cannot be meant.

    Example:
        >>> label = MetaTensor([[[0, 0, 1, 1, 0]]], affine=torch.diag(torch.tensor([1, 2, 1, 1.0])))
        >>> item = DistanceMapd(keys="label", classes=2)({"label": label})
        >>> item["distance_map"].as_tensor()[1]
        tensor([[ 3.,  1., -1., -1.,  1.]])
    """

    def __init__(
        self,
        keys: KeysCollection,
        classes: int | Sequence[int] | None = None,
        map_keys: KeysCollection = "distance_map",
        convention: Convention = "surface",
        empty: Empty = "distance_to_border",
        spacing_mm: SpacingLike | None = None,
        dtype: str | torch.dtype = "float32",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        check_map_options(convention, empty)
        self.classes = _classes(classes)
        self.map_keys = ensure_tuple_rep(map_keys, len(self.keys))
        self.convention, self.empty, self.spacing_mm = convention, empty, spacing_mm
        self.dtype = dtype if isinstance(dtype, torch.dtype) else DTYPES.get(dtype)
        if self.dtype not in DTYPES.values():
            raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with a map for each key.

        Raises:
            ValueError: labels that are none of the classes, or no spacing.
            TypeError: a label that is no tensor.
        """
        item = dict(data)
        for key, map_key in self.key_iterator(item, self.map_keys):
            item[map_key] = _like(item[key], self.map_of(item[key], str(key)))
        return item

    def map_of(self, label: Any, name: str = "label") -> Tensor:
        r"""Map of a label, (C, \*spatial)."""
        masks = _masks(label, self.classes, name)
        wide = torch.float64 if self.dtype == torch.float64 else torch.float32
        made = signed_distance(
            masks[None],
            _spacing(label, self.spacing_mm, name),
            convention=self.convention,
            empty=self.empty,
            dtype=wide,
        )[0]
        if self.dtype == torch.float16:
            largest = torch.finfo(torch.float16).max
            made = made.clamp_(-largest, largest).half()
        return made


class ComponentMapd(MapTransform):  # type: ignore[misc]
    r"""Numbered connected components of a label: the instances that some losses count.

    Args:
        keys: of the labels: integer labels (1, \*spatial), or one channel for each class.
        map_keys: where the maps go, one for each key; (1, \*spatial) int64 each, 0 where there is
            no object.
        each_class: whether objects of two classes that touch are two objects.
        connectivity: along how many axes neighbours may differ: 1 across faces, 2 across edges too,
            3 across corners too; by default as many as there are.
        include_background: whether channel 0 of several holds objects; label 0 never does.
        allow_missing_keys: leave out keys that an item lacks.

    Example:
        >>> item = ComponentMapd(keys="label")({"label": torch.tensor([[[1, 1, 0, 1, 2]]])})
        >>> item["components"]
        tensor([[[1, 1, 0, 2, 3]]])
    """

    def __init__(
        self,
        keys: KeysCollection,
        map_keys: KeysCollection = "components",
        each_class: bool = True,
        connectivity: int | None = None,
        include_background: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.map_keys = ensure_tuple_rep(map_keys, len(self.keys))
        self.each_class, self.connectivity = each_class, connectivity
        self.include_background = include_background

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with numbered components for each key.

        Raises:
            TypeError: a label that is no tensor.
            ValueError: a connectivity beyond the number of axes.
        """
        item = dict(data)
        for key, map_key in self.key_iterator(item, self.map_keys):
            item[map_key] = _like(item[key], self.components_of(item[key], str(key)))
        return item

    def components_of(self, label: Any, name: str = "label") -> Tensor:
        r"""Components of a label, (1, \*spatial)."""
        plain = _plain(label, name)
        if plain.shape[0] == 1:
            masks = [plain[0] == value for value in _values(plain) if value != 0]
        else:
            masks = list(plain[0 if self.include_background else 1 :] > 0.5)
        if not masks:
            return torch.zeros_like(plain[:1], dtype=torch.int64)
        objects = torch.stack(masks).cpu()
        if not self.each_class:
            objects = objects.any(0, keepdim=True)
        numbered = connected_components(objects.numpy(), self.connectivity)
        return torch.from_numpy(numbered)[None].to(plain.device)


class PrepareTargets:
    """A ``prepare_batch`` that hands a loss its maps: the target becomes a mapping.

    Args:
        extras: keys of the batch that go into the mapping beside ``label``, where they are there.
        image: key of the network's input.
        label: key of the label.

    Example:
        >>> batch = {"image": torch.ones(1), "label": torch.zeros(1), "mask": torch.ones(1)}
        >>> PrepareTargets()(batch)
        (tensor([1.]), {'label': tensor([0.]), 'mask': tensor([1.])})
    """

    def __init__(
        self,
        extras: Sequence[str] = ("mask", "present", "distance_map", "skeleton", "components"),
        image: str = "image",
        label: str = "label",
    ) -> None:
        self.extras, self.image, self.label = ensure_tuple(extras), image, label

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **options: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Input and target of a batch, on the device.

        Raises:
            ValueError: a map was resampled or padded after it was made.
        """
        for key in self.extras:
            if key != "mask" and key in batchdata:
                check_history(batchdata[key], key)
        moved = {
            name: batchdata[key].to(device=device, non_blocking=non_blocking, **options)
            for name, key in {"label": self.label, **{key: key for key in self.extras}}.items()
            if key in batchdata
        }
        image = batchdata[self.image].to(device=device, non_blocking=non_blocking, **options)
        return image, moved


def _classes(classes: Any) -> tuple[int, ...] | None:
    if classes is None:
        return None
    whole = isinstance(classes, int) and not isinstance(classes, bool)
    listed = tuple(range(classes)) if whole else tuple(ensure_tuple(classes))
    if (
        not listed
        or not all(isinstance(each, int) for each in listed)
        or len(set(listed)) < len(listed)
    ):
        raise ValueError(f"classes: expected a number or different labels, got {classes!r}")
    return listed


def _plain(label: Any, name: str) -> Tensor:
    if not isinstance(label, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(label).__name__}")
    plain: Tensor = label.as_tensor() if isinstance(label, MetaTensor) else label
    if plain.ndim not in (3, 4):
        raise ValueError(f"{name}: expected (C, H, W) or (C, H, W, D), got {list(plain.shape)}")
    return plain


def _values(plain: Tensor) -> list[float]:
    found: list[float] = np.unique(plain.cpu().numpy()).tolist()
    return found


def _masks(label: Any, classes: tuple[int, ...] | None, name: str) -> Tensor:
    """A mask for each class, (C, *spatial)."""
    plain = _plain(label, name)
    if classes is None or plain.shape[0] > 1:
        if classes is not None and plain.shape[0] != len(classes):
            raise ValueError(
                f"{name}: expected 1 channel or {len(classes)}, one for each of the classes, "
                f"got {plain.shape[0]}"
            )
        if plain.numel() and bool(plain.max() > 1):
            raise ValueError(
                f"classes: expected them for the integer labels of {name}, got {classes!r}"
                if plain.shape[0] == 1
                else f"{name}: expected masks in its {plain.shape[0]} channels, got values above 1"
            )
        return plain > 0.5
    masks = torch.stack([plain[0] == label_value for label_value in classes])
    if not bool(masks.any(0).all()):
        others = sorted(set(_values(plain)) - set(classes))
        raise ValueError(f"{name}: expected labels out of {list(classes)}, got {others} too")
    return masks


def _spacing(label: Any, given: SpacingLike | None, name: str) -> Any:
    if given is not None:
        return given
    if not isinstance(label, MetaTensor):
        raise ValueError(
            f"spacing_mm: expected the size of a voxel, as {name} is no MetaTensor, got none; "
            "'voxel' asks for voxel units"
        )
    (spacing_mm,) = affine_spacing([label.pixdim.tolist()], batch=1, axes=label.ndim - 1)
    return spacing_mm


def _like(label: Any, made: Tensor) -> Tensor:
    """The map with the meta data of its label, so that spatial transforms treat both alike."""
    if not isinstance(label, MetaTensor):
        return made
    result: Any = MetaTensor(made).copy_meta_from(label)
    # What came before was done to the label; a map's own history begins here.
    result.applied_operations = []
    plain: Tensor = result
    return plain
