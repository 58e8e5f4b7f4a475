r"""Labels from probabilities as MONAI post transforms: expected Dice, or a threshold a channel.

In the place of ``AsDiscreted`` with ``argmax`` or ``threshold``, behind ``Activationsd`` and
``Invertd``:

    {"_target_": "medloss.integrations.decision.DiceOptimald", "keys": "pred"}
    {
        "_target_": "medloss.integrations.decision.AsDiscreteByThresholdsd",
        "keys": "pred",
        "thresholds": "$@bundle_root + '/models/thresholds.json'"
    }

and :class:`FindThresholds` in that place on validation data writes the file.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.networks.utils import one_hot
from monai.transforms.transform import MapTransform, Transform
from monai.utils.type_conversion import convert_to_dst_type
from numpy.typing import NDArray

from medloss.decision import LEAST_CHANCE, Decoding, write_thresholds
from medloss.decision.expected_dice import Method
from medloss.evaluation.reading.stored import Channels
from medloss.evaluation.reading.values import ROUNDING
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.thresholds import (
    ClassInCase,
    Tried,
    check_metric,
    described,
    first_thresholds,
)
from medloss.objects.spacing import SpacingLike, affine_spacing, parse_spacing
from medloss.scoring import EmptyPolicy
from medloss.scoring.presets import DEFAULT_PRESET

__all__ = [
    "AsDiscreteByThresholds",
    "AsDiscreteByThresholdsd",
    "DiceOptimal",
    "DiceOptimald",
    "FindThresholds",
]


class DecideLabels(Transform):  # type: ignore[misc]
    r"""Labels of an item, (C, \*spatial), in two or three spatial axes or any other number.

    Args:
        decoding: how.
        channels: ``"exclusive"``, the background first, gives a label map (1, \*spatial);
            ``"independent"`` a mask for each channel. A single channel is a mask either way.
        to_onehot: of a label map, the number of channels that it becomes, as of ``AsDiscrete``.
    """

    def __init__(
        self, decoding: Decoding, channels: Channels = "exclusive", to_onehot: int | None = None
    ) -> None:
        if channels not in ("exclusive", "independent"):
            raise ValueError(f"channels: expected exclusive or independent, got {channels!r}")
        if to_onehot is not None and (type(to_onehot) is not int or to_onehot < 2):
            raise ValueError(f"to_onehot: expected a number of classes, got {to_onehot!r}")
        if to_onehot is not None and channels == "independent":
            raise ValueError("to_onehot: independent channels are masks already, got a number")
        self.decoding, self.channels, self.to_onehot = decoding, channels, to_onehot

    def __call__(self, img: Any, mask: Any = None) -> Any:
        r"""Its labels, of the kind, device and meta data of ``img``, as ``AsDiscrete`` gives them.

        Args:
            img: probabilities, (C, \*spatial).
            mask: (1, \*spatial), true where voxels count: the others are decided by the same
                thresholds, and have no part in these.

        Raises:
            ValueError: values that are no probabilities, or another number of channels than there
                are thresholds for.
        """
        found: Any = torch.from_numpy(decide_array(_array(img), self.decoding, self.channels, mask))
        if self.to_onehot is not None:
            found = one_hot(found, num_classes=self.to_onehot, dim=0)
        made, *_ = convert_to_dst_type(found, img, dtype=torch.float32)
        return made


def decide_array(
    values: NDArray[Any], decoding: Decoding, channels: Channels, mask: Any = None
) -> NDArray[Any]:
    r"""Labels of an array of probabilities, (C, \*spatial): one map, or a mask for each channel.

    Raises:
        ValueError: as :class:`DecideLabels`.
    """
    counted = None
    if mask is not None:
        counted = _array(mask)[0] != 0
        if counted.shape != values.shape[1:]:
            raise ValueError(f"mask: expected {[1, *values.shape[1:]]}, got {[1, *counted.shape]}")
    own = list(values)
    cuts = decoding.cuts(own, exclusive=channels == "exclusive", counted=counted)
    if cuts is None:
        likeliest: NDArray[Any] = values.argmax(0).astype(np.min_scalar_type(len(values) - 1))
        return likeliest[None]
    if channels == "independent":
        return np.stack([cuts.mask(each, number) for number, each in enumerate(own)])
    return cuts.labels(own)[None]


def _array(img: Any) -> NDArray[Any]:
    """Probabilities as numpy has them; from a GPU they come here."""
    plain = img.as_tensor() if isinstance(img, MetaTensor) else img
    if isinstance(plain, torch.Tensor):
        plain = plain.detach()
        plain = (plain.float() if plain.dtype == torch.bfloat16 else plain).cpu().numpy()
    array: NDArray[Any] = np.asarray(plain)
    if array.ndim < 2:
        raise ValueError(f"img: expected (C, *spatial), got {list(array.shape)}")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 1.0)
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # which NaN is not either
        raise ValueError(
            f"img: expected probabilities, which Activations with softmax or sigmoid makes, got "
            f"values from {low:g} to {high:g}"
        )
    return array


class DecideLabelsd(MapTransform):  # type: ignore[misc]
    """Dictionary form of :class:`DecideLabels`.

    Args:
        keys: of the probabilities.
        decide: what makes their labels.
        mask_key: of the voxels that count, in the item; ``None`` for all.
        allow_missing_keys: leave out keys that an item lacks.
    """

    def __init__(
        self,
        keys: KeysCollection,
        decide: DecideLabels,
        mask_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.decide, self.mask_key = decide, mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with labels in the place of probabilities.

        Raises:
            ValueError: as :class:`DecideLabels`.
            KeyError: the item has no mask.
        """
        item = dict(data)
        mask = None if self.mask_key is None else item[self.mask_key]
        for key in self.key_iterator(item):
            try:
                item[key] = self.decide(item[key], mask)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from error
        return item


class DiceOptimal(DecideLabels):
    r"""The labels of largest expected Dice, each class by itself.

    Args:
        channels: as :class:`DecideLabels`.
        method: ``"exact"``, ``"rma"``, or ``"auto"``: exact for objects of up to 20 expected
            voxels.
        least_chance: a class of which no voxel is as probable is left out.
        to_onehot: as :class:`DecideLabels`.

    Example:
        >>> p = torch.tensor([[0.45, 0.4, 0.35, 0.3, 0.1, 0.05]])
        >>> DiceOptimal()(torch.cat([1 - p, p]))
        tensor([[1., 1., 1., 1., 0., 0.]])
    """

    def __init__(
        self,
        channels: Channels = "exclusive",
        method: Method = "auto",
        least_chance: float = LEAST_CHANCE,
        to_onehot: int | None = None,
    ) -> None:
        decoding = Decoding(kind="dice", method=method, least_chance=least_chance)
        super().__init__(decoding, channels, to_onehot)


class DiceOptimald(DecideLabelsd):
    """Dictionary form of :class:`DiceOptimal`.

    Args:
        keys: of the probabilities.
        channels: and the next three: as :class:`DiceOptimal`.
        method: see there.
        least_chance: see there.
        to_onehot: see there.
        mask_key: of the voxels that count, in the item; ``None`` for all.
        allow_missing_keys: leave out keys that an item lacks.
    """

    def __init__(
        self,
        keys: KeysCollection,
        channels: Channels = "exclusive",
        method: Method = "auto",
        least_chance: float = LEAST_CHANCE,
        to_onehot: int | None = None,
        mask_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        decide = DiceOptimal(channels, method, least_chance, to_onehot)
        super().__init__(keys, decide, mask_key, allow_missing_keys)


class AsDiscreteByThresholds(DecideLabels):
    r"""Labels by a threshold for each channel.

    Of exclusive classes the one counts whose p / threshold is the largest and at least 1, else the
    background.

    Args:
        thresholds: a file of ``medloss thresholds`` or :class:`FindThresholds`, or a number for
            each channel; of several exclusive ones the first is the background's, and not used.
        channels: as :class:`DecideLabels`.
        to_onehot: likewise.

    Example:
        >>> AsDiscreteByThresholds([0, 0.3])(torch.tensor([[0.6, 0.8], [0.4, 0.2]]))
        tensor([[1., 0.]])
    """

    def __init__(
        self,
        thresholds: str | os.PathLike[str] | Sequence[float],
        channels: Channels = "exclusive",
        to_onehot: int | None = None,
    ) -> None:
        if isinstance(thresholds, str | os.PathLike):
            decoding = Decoding.of_file(Path(thresholds))
        else:
            decoding = Decoding(kind="thresholds", thresholds=tuple(thresholds))
        super().__init__(decoding, channels, to_onehot)


class AsDiscreteByThresholdsd(DecideLabelsd):
    """Dictionary form of :class:`AsDiscreteByThresholds`.

    Args:
        keys: of the probabilities.
        thresholds: and the next two: as :class:`AsDiscreteByThresholds`.
        channels: see there.
        to_onehot: see there.
        allow_missing_keys: leave out keys that an item lacks.
    """

    def __init__(
        self,
        keys: KeysCollection,
        thresholds: str | os.PathLike[str] | Sequence[float],
        channels: Channels = "exclusive",
        to_onehot: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        decide = AsDiscreteByThresholds(thresholds, channels, to_onehot)
        super().__init__(keys, decide, None, allow_missing_keys)


class FindThresholds(MapTransform):  # type: ignore[misc]
    r"""Finds the threshold of each class on validation data, and writes the file of them.

    It stands in two places of an evaluator's configuration, as one object: among the
    postprocessing, behind ``Activationsd`` and ``Invertd`` and before labels are made, where it
    takes in each item and passes it on as it is; and among the handlers, where it writes the file
    when all items have been seen.

    It sees each item once, so that a metric of counts (Dice) is taken at a hundred thresholds, and
    any other one at eleven. What the thresholds gain is not told here, as the items that they were
    found on cannot tell it: ``medloss thresholds`` tells it on saved probabilities.

    Args:
        keys: of the probabilities, one.
        label_key: of the reference: integer labels (1, \*spatial), or masks of as many channels.
        path: of the JSON file; one of an earlier epoch or run is replaced.
        metric: a metric of ``medloss list``, with options as of the command.
        channels: as :class:`DiceOptimal`.
        ignore_label: voxels with this label in the reference do not count.
        spacing_mm: size of a voxel; by default that of the MetaTensor.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "thresholds.json"
        >>> find = FindThresholds("pred", "label", path)
        >>> p = torch.tensor([[[0.7, 0.4, 0.2]]])
        >>> item = {"pred": torch.cat([1 - p, p]), "label": torch.tensor([[[1, 1, 0]]])}
        >>> find(item) == item
        True
        >>> find.write()
        (0.0, 0.4)
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str,
        path: str | os.PathLike[str],
        metric: str = "dice",
        channels: Channels = "exclusive",
        ignore_label: int | None = None,
        spacing_mm: SpacingLike | None = None,
    ) -> None:
        super().__init__(keys)
        if len(self.keys) != 1:
            raise ValueError(f"keys: expected one, got {list(self.keys)}")
        if channels not in ("exclusive", "independent"):
            raise ValueError(f"channels: expected exclusive or independent, got {channels!r}")
        self.label_key, self.path, self.channels = label_key, Path(path), channels
        self.ignore_label, self.spacing_mm = ignore_label, spacing_mm
        self.metric = choose_metric(parse_request(metric))
        check_metric(self.metric)
        self.tried: list[Tried] = []

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        """Take in an item, and give it back.

        Raises:
            ValueError: probabilities and reference do not fit each other.
        """
        key = self.keys[0]
        chances, label = _array(data[key]), data[self.label_key]
        reference, ignored = self._reference(label, len(chances), chances.shape[1:])
        spacing_mm = self._spacing(label)
        exclusive = self.channels == "exclusive"
        first = 1 if exclusive and len(chances) > 1 else 0
        if not self.tried:
            higher = self.metric.record.better == "higher"
            alone = exclusive and len(chances) == 1
            self.tried = [
                Tried(n if exclusive and not alone else n + 1, n, higher)
                for n in range(first, len(chances))
            ]
        if [each.channel for each in self.tried] != [*range(first, len(chances))]:
            raise ValueError(f"{key}: expected the channels of other items, got {len(chances)}")
        grid = first_thresholds(self.metric)
        for each in self.tried:
            here = ClassInCase(chances[each.channel], reference[each.channel], spacing_mm, ignored)
            metric = self.metric.for_label(each.label, "")
            found = here.values(grid, metric, EmptyPolicy(), DEFAULT_PRESET)
            for threshold, value in zip(grid, found.tolist(), strict=True):
                each.values.setdefault(threshold, []).append(value)
            each.present.append(bool(here.reference.any()))
        return data

    def attach(self, engine: Any) -> None:
        """Listen to an ignite engine: begin anew with each of its runs, and write at its end."""
        from ignite.engine import Events

        engine.add_event_handler(Events.STARTED, lambda _: self.tried.clear())
        engine.add_event_handler(Events.COMPLETED, lambda _: self.write())

    def write(self) -> tuple[float, ...]:
        """Write the file, of the items of all ranks; the thresholds, one for each channel.

        Raises:
            ValueError: no item came, or no reference has one of the classes.
        """
        tried = _of_all_ranks(self.tried)
        if not tried:
            raise ValueError("FindThresholds: expected items before the end, got none")
        for each in tried:
            if not any(each.present):
                raise ValueError(
                    f"{self.label_key}: expected the label {each.label} in some item, got it in "
                    f"none, so that no threshold can be found for it"
                )
        exclusive = self.channels == "exclusive"
        thresholds = [each.best() for each in tried]
        content = {
            "thresholds": [0.0] * tried[0].channel + thresholds,
            **described(tried, self.metric, EmptyPolicy(), DEFAULT_PRESET, exclusive=exclusive),
            "cases": len(tried[0].present),
        }
        if not _has_ranks() or dist.get_rank() == 0:
            write_thresholds(self.path, content)
        return tuple(content["thresholds"])

    def _reference(
        self, label: Any, channels: int, shape: tuple[int, ...]
    ) -> tuple[list[NDArray[np.bool_]], NDArray[np.bool_] | None]:
        plain = np.asarray(label.detach().cpu() if isinstance(label, torch.Tensor) else label)
        if plain.shape[1:] != shape or len(plain) not in (1, channels):
            raise ValueError(
                f"{self.label_key}: expected 1 or {channels} channels of {list(shape)} voxels, "
                f"got {list(plain.shape)}"
            )
        ignored = None if self.ignore_label is None else (plain == self.ignore_label).any(0)
        if len(plain) == channels and channels > 1:
            return [each > 0.5 for each in plain], ignored
        first = 1 if self.channels == "independent" or channels == 1 else 0
        return [plain[0] == first + number for number in range(channels)], ignored

    def _spacing(self, label: Any) -> Any:
        axes = label.ndim - 1
        if self.spacing_mm is not None:
            return parse_spacing(self.spacing_mm, batch=1, axes=axes)[0]
        if isinstance(label, MetaTensor):
            return affine_spacing([label.pixdim.tolist()], batch=1, axes=axes)[0]
        return None


def _of_all_ranks(tried: Sequence[Tried]) -> list[Tried]:
    """What every rank has tried, in one; all ranks call it."""
    if not _has_ranks():
        return [*tried]
    ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, [*tried])
    seen = [own for own in ranks if own]
    found = copy.deepcopy(seen[0]) if seen else []
    for own in seen[1:]:
        for mine, theirs in zip(found, own, strict=True):
            mine.present += theirs.present
            for threshold, values in theirs.values.items():
                mine.values[threshold] += values
    return [*found]


def _has_ranks() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
