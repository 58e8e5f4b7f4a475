"""MONAI dictionary transform that makes tubed skeletons of labels, once per volume.

A tubed skeleton is the centre line of an object, thickened to a tube that stays inside the object.
Losses on thin structures ask for its recall. Thinning is slow and belongs to the data: put the
transform where ``medloss.integrations.transforms.DistanceMapd`` belongs, after whatever resamples
the label and before whatever crops it.

    {"_target_": "medloss.integrations.skeletons.SkeletonMapd", "keys": "label", "classes": 3}

scikit-image thins; the extra ``skeleton`` brings it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from numpy.typing import NDArray
from torch import Tensor

from medloss.integrations.transforms import MapOfLabeld, class_masks, parse_classes
from medloss.objects.skeletons import skeletonize, tubed_skeleton


class SkeletonMapd(MapOfLabeld):
    r"""Tubed skeleton of each class of a label.

    Formula:
        T_c = { v in object c : |v − s|₁ <= tube_radius for some voxel s of the skeleton }.

    Args:
        keys: of the labels: integer labels (1, \*spatial), or one channel for each class, 2D or 3D.
        classes: of integer labels: how many there are, background included, or which ones, in the
            order of the network's channels. By default the channels of the label; a single channel
            is then a mask.
        map_keys: where the maps go, one for each key; (C, \*spatial) uint8 each, 1 on the tubes.
        tube_radius: how far a tube reaches from the skeleton, in steps from voxel to voxel across
            faces; 0 is the skeleton alone, 2 is the paper's.
        each_class: whether every class is thinned by itself. ``False`` thins all classes together
            and cuts the tube where they meet, as the paper does: cheaper, and where a vessel runs
            through two labels its skeleton does not end between them.
        include_background: whether class 0 of several has a skeleton; its map is empty otherwise.
        allow_missing_keys: leave out keys that an item lacks.

    Raises:
        ImportError: scikit-image is not installed.
        ValueError: options that cannot be meant.

    Example:
        >>> label = torch.zeros(1, 5, 9, dtype=torch.int64)
        >>> label[:, 1:4, 1:8] = 1
        >>> item = SkeletonMapd(keys="label", classes=2, tube_radius=0)({"label": label})
        >>> item["skeleton"][1].nonzero().tolist()
        [[1, 6], [2, 1], [2, 2], [2, 3], [2, 4], [2, 5]]

    Source:
        Kirchhoff 2024, arXiv:2404.03010 (skeleton recall).
    """

    def __init__(
        self,
        keys: KeysCollection,
        classes: int | Sequence[int] | None = None,
        map_keys: KeysCollection = "skeleton",
        tube_radius: int = 2,
        each_class: bool = True,
        include_background: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, map_keys, allow_missing_keys)
        skeletonize()  # that it is missing should be known before the first item
        self.classes = parse_classes(classes)
        if not isinstance(tube_radius, int) or isinstance(tube_radius, bool) or tube_radius < 0:
            raise ValueError(
                f"tube_radius: expected a whole number of voxels from 0 on, got {tube_radius!r}"
            )
        if include_background and not each_class:
            raise ValueError(
                "include_background: expected False with each_class=False: thinned together, "
                "background and objects fill the volume"
            )
        self.tube_radius, self.each_class = tube_radius, each_class
        self.include_background = include_background

    def map_of(self, label: Any, name: str = "label") -> Tensor:
        r"""Tubed skeletons of a label, (C, \*spatial) uint8."""
        masks = class_masks(label, self.classes, name)
        objects = masks.cpu().numpy()
        tubes = np.zeros(objects.shape, np.uint8)
        background = None if len(objects) == 1 or self.include_background else self._background()
        counted = [index for index in range(len(objects)) if index != background]
        if self.each_class:
            for index in counted:
                tubes[index] = tubed_skeleton(objects[index], self.tube_radius)
        elif counted:
            together: NDArray[np.bool_] = np.logical_or.reduce(objects[counted])
            tubes[counted] = objects[counted] & tubed_skeleton(together, self.tube_radius)
        return torch.from_numpy(tubes).to(masks.device)

    def _background(self) -> int | None:
        """The channel that is background; there may be none among chosen classes."""
        if self.classes is None:
            return 0
        return self.classes.index(0) if 0 in self.classes else None
