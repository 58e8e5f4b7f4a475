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

import abc
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils import ensure_tuple, ensure_tuple_rep
from monai.utils.enums import TraceKeys
from torch import Tensor

from medloss.distance import (
    Convention,
    Empty,
    check_map_options,
    connected_components,
    signed_distance,
)
from medloss.objects.spacing import SpacingLike, affine_spacing

DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}

_EXACT = frozenset(
    {
        *("Flip", "AxisFlip", "Rotate90", "Orientation", "Transpose"),
        *("Crop", "SpatialCrop", "CenterSpatialCrop", "CenterScaleCrop", "ScaleCrop"),
        *("SpatialCropSamples", "WeightedCrop", "CropForeground", "CropByPosNegLabel"),
        *("CropByLabelClasses", "CropForegroundSamples"),
    }
)
"""Transforms that move voxels without making new ones, by MONAI's name without Rand and d."""


class MapOfLabeld(MapTransform, abc.ABC):  # type: ignore[misc]
    r"""A map for each label of an item; which one, its kinds say by :meth:`map_of`.

    Args:
        keys: of the labels.
        map_keys: where the maps go, one for each key.
        allow_missing_keys: leave out keys that an item lacks.
    """

    def __init__(
        self, keys: KeysCollection, map_keys: KeysCollection, allow_missing_keys: bool
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.map_keys = ensure_tuple_rep(map_keys, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with a map for each key.

        Raises:
            ValueError: a label, or options, that no map can be made with.
            TypeError: a label that is no tensor.
        """
        item = dict(data)
        for key, map_key in self.key_iterator(item, self.map_keys):
            item[map_key] = _like(item[key], self.map_of(item[key], str(key)))
        return item

    @abc.abstractmethod
    def map_of(self, label: Any, name: str = "label") -> Tensor:
        """The map of one label."""


class DistanceMapd(MapOfLabeld):
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
        super().__init__(keys, map_keys, allow_missing_keys)
        check_map_options(convention, empty)
        self.classes = parse_classes(classes)
        self.convention, self.empty, self.spacing_mm = convention, empty, spacing_mm
        self.dtype = dtype if isinstance(dtype, torch.dtype) else DTYPES.get(dtype)
        if self.dtype not in DTYPES.values():
            raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")

    def map_of(self, label: Any, name: str = "label") -> Tensor:
        r"""Map of a label, (C, \*spatial)."""
        masks = class_masks(label, self.classes, name)
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


class ComponentMapd(MapOfLabeld):
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
        super().__init__(keys, map_keys, allow_missing_keys)
        self.each_class, self.connectivity = each_class, connectivity
        self.include_background = include_background

    def map_of(self, label: Any, name: str = "label") -> Tensor:
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
                _check_history(batchdata[key], key)
        moved = {
            name: batchdata[key].to(device=device, non_blocking=non_blocking, **options)
            for name, key in {"label": self.label, **{key: key for key in self.extras}}.items()
            if key in batchdata
        }
        image = batchdata[self.image].to(device=device, non_blocking=non_blocking, **options)
        return image, moved


def parse_classes(classes: Any) -> tuple[int, ...] | None:
    """Labels of the classes, from how many or which ones there are; None for the label's channels.

    Raises:
        ValueError: it is neither.
    """
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


def class_masks(label: Any, classes: tuple[int, ...] | None, name: str) -> Tensor:
    r"""A mask for each class of a label, (C, \*spatial).

    Raises:
        ValueError: it has labels that are none of the classes.
        TypeError: it is no tensor.
    """
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


def _check_history(made: Any, name: str) -> None:
    """Raise if a map was resampled or padded after it was made.

    A distance stretched by a zoom is still what it was in mm, an interpolated skeleton is none, and
    what padding adds to a map is 0, which is no distance. MONAI writes down what its spatial
    transforms do; the elastic ones it does not, so that those cannot be refused here.

    Args:
        made: the map of an item or of a batch; without meta data nothing is known of it.
        name: for the error text.

    Raises:
        ValueError: names the transform.
    """
    if not isinstance(made, MetaTensor):
        return
    for operation in _operations(made.applied_operations):
        kind = str(operation.get(TraceKeys.CLASS_NAME, ""))
        if not operation.get(TraceKeys.DO_TRANSFORM, True):
            continue
        if re.sub(r"^Rand|(d|D|Dict)$", "", kind) not in _EXACT:
            raise ValueError(
                f"{name}: {kind} was applied to a map that was made before; expected flips, "
                f"rotations by 90 degrees and crops alone. Make the map after it, or leave "
                f"{name!r} out of its keys"
            )


def _operations(found: Any) -> Iterator[Mapping[Any, Any]]:
    """Of an item they are a list, of a batch a list for each item."""
    for each in found if isinstance(found, list | tuple) else ():
        if isinstance(each, Mapping):
            yield each
        else:
            yield from _operations(each)
