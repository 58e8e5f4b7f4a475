"""Sliding-window inference whose result is a label map and the values of losses, not logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data.utils import compute_importance_map
from monai.inferers.inferer import (
    Inferer,
    SlidingWindowInferer,
    SlidingWindowInfererAdapt,
)
from monai.utils import BlendMode, PytorchPadMode
from torch import Tensor

from medloss.base import LossInParts, SegmentationLoss
from medloss.base.targets import Target
from medloss.integrations.sliding_window.labels import LabelMap, plain
from medloss.integrations.sliding_window.stitch import Rows, finished_rows, lay_windows

_SHARED = (
    "roi_size",
    "sw_batch_size",
    "overlap",
    "mode",
    "sigma_scale",
    "padding_mode",
    "cval",
    "sw_device",
    "device",
    "with_coord",
)
"""Options of MONAI's inferer that are ours too."""

_ALONG_ROWS = ("label", "mask", "distance_map", "skeleton", "components")
"""What of a target has voxels."""


@dataclass(frozen=True)
class VolumeScore:
    """What :meth:`SlidingWindowScore.score` found.

    Args:
        labels: the label map, as :class:`SlidingWindowScore` gives it.
        losses: value of each loss on the whole volume, by name.
    """

    labels: Tensor
    losses: dict[str, Tensor]


class SlidingWindowScore(Inferer):  # type: ignore[misc]
    r"""Sliding-window inference that never holds volume times classes in floating point.

    Takes the place of MONAI's ``SlidingWindowInferer`` and has its arguments. Rows of the volume
    that no later window touches are finished, made a label map and summed for the losses, and
    forgotten: memory in floating point is classes times as many rows as a window has. What it
    stitches has the bits of MONAI's stitching (with ``buffer_steps``, which adds in another order,
    MONAI itself rounds otherwise).

    Called as an inferer it returns the label map: of exclusive classes the channel of the largest
    value, (B, 1, \*spatial), in the narrowest integer type; with ``threshold`` a 1 for each channel
    that reaches it, (B, C, \*spatial) uint8.

    Args:
        roi_size: size of a window; an axis of -1 is as long as the volume.
        sw_batch_size: windows that go through the network together.
        overlap: share of a window that the next one covers too, in [0, 1).
        mode: ``"constant"``, or ``"gaussian"`` for less weight near the edges of a window.
        sigma_scale: width of the Gaussian, as a share of the window.
        padding_mode: of volumes that are smaller than a window.
        cval: value of constant padding.
        sw_device: where the network is; by default where the volume is.
        device: where rows are stitched and results are made; by default where the volume is.
        with_coord: pass the place of the windows to the network too.
        sigmoid: the network gives logits of independent classes, to be compared with ``threshold``.
        threshold: classes are independent, each is where its value is at least this.
        losses: by name, functions of class sums whose input is what the network gives.

    Raises:
        ValueError: options that cannot be meant, or a loss over several ranks.
        TypeError: a loss that is none of medloss.

    Example:
        >>> import medloss
        >>> score = SlidingWindowScore(
        ...     roi_size=(4, 4, 4), overlap=0.5, losses={"dice": medloss.loss("dice", softmax=True)}
        ... )
        >>> image, label = torch.randn(1, 2, 9, 6, 4), torch.randint(0, 2, (1, 1, 9, 6, 4))
        >>> found = score.score(image, torch.nn.Identity(), label)
        >>> found.labels.shape, found.labels.dtype
        (torch.Size([1, 1, 9, 6, 4]), torch.uint8)
        >>> whole = medloss.loss("dice", softmax=True)(image, label)
        >>> torch.allclose(found.losses["dice"], whole)
        True
    """

    def __init__(
        self,
        roi_size: Sequence[int] | int,
        sw_batch_size: int = 1,
        overlap: Sequence[float] | float = 0.25,
        mode: BlendMode | str = BlendMode.CONSTANT,
        sigma_scale: Sequence[float] | float = 0.125,
        padding_mode: PytorchPadMode | str = PytorchPadMode.CONSTANT,
        cval: float = 0.0,
        sw_device: torch.device | str | None = None,
        device: torch.device | str | None = None,
        with_coord: bool = False,
        *,
        sigmoid: bool = False,
        threshold: float | None = None,
        losses: Mapping[str, SegmentationLoss] | None = None,
    ) -> None:
        super().__init__()
        if sw_batch_size < 1:
            raise ValueError(f"sw_batch_size: expected at least 1, got {sw_batch_size!r}")
        if sigmoid and threshold is None:
            raise ValueError("sigmoid: expected a threshold beside it, got None")
        self.roi_size, self.sw_batch_size, self.overlap = roi_size, sw_batch_size, overlap
        self.mode, self.sigma_scale = BlendMode(mode), sigma_scale
        self.padding_mode, self.cval = PytorchPadMode(padding_mode), cval
        self.sw_device, self.device, self.with_coord = sw_device, device, with_coord
        self.sigmoid, self.threshold = sigmoid, threshold
        self.losses = dict(losses or {})
        for loss in self.losses.values():
            LossInParts(loss)  # refuses what is no loss of medloss

    @classmethod
    def like(cls, inferer: SlidingWindowInferer, **options: Any) -> SlidingWindowScore:
        """The same windows as those of a MONAI inferer.

        What only spares memory there (``cpu_thresh``, ``buffer_steps``) or time
        (``cache_roi_weight_map``) has no counterpart; there is no progress bar.

        Args:
            inferer: ``SlidingWindowInferer`` or ``SlidingWindowInfererAdapt``.
            **options: ``sigmoid``, ``threshold``, ``losses``.

        Raises:
            TypeError: an inferer that does something else.

        Example:
            >>> SlidingWindowScore.like(SlidingWindowInferer((8, 8), overlap=0.5)).overlap
            0.5
        """
        if type(inferer) not in (SlidingWindowInferer, SlidingWindowInfererAdapt):
            raise TypeError(
                f"inferer: expected a SlidingWindowInferer, got {type(inferer).__name__}"
            )
        return cls(**{name: getattr(inferer, name) for name in _SHARED}, **options)

    def __call__(
        self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any
    ) -> Tensor:
        """The label map, a MetaTensor where the input is one.

        Args:
            inputs: (B, C, *spatial).
            network: gives (N, classes, *roi) for (N, C, *roi).
            *args: passed to the network.
            **kwargs: likewise.

        Raises:
            ValueError: windows that do not fit the input, or a network that gives something else.
            TypeError: a network that gives no tensor.
        """
        labels = self._label_map(inputs)
        for rows in self.rows(inputs, network, *args, **kwargs):
            labels.add(rows)
        return labels.like(inputs)

    def score(
        self,
        inputs: Tensor,
        network: Callable[..., Tensor],
        target: Target,
        *args: Any,
        **kwargs: Any,
    ) -> VolumeScore:
        """The label map of one volume and the value of every loss.

        Args:
            inputs: (1, C, *spatial).
            network: as when called.
            target: label, or mapping with ``label``, ``mask``, ``distance_map`` and so on, as the
                losses take it, of the whole volume.
            *args: passed to the network.
            **kwargs: likewise.

        Raises:
            ValueError: as when called; several volumes; a loss that is no function of class sums.
            TypeError: as when called.
        """
        if inputs.shape[0] != 1:
            raise ValueError(f"inputs: expected one volume to score, got {inputs.shape[0]}")
        labels = self._label_map(inputs)
        losses = {name: LossInParts(loss) for name, loss in self.losses.items()}
        whole = _WholeTarget(target, inputs.shape[2:])
        for rows in self.rows(inputs, network, *args, **kwargs):
            labels.add(rows)
            for loss in losses.values():
                loss.add(rows.values, whole.rows(rows.where))
        return VolumeScore(
            labels.like(inputs), {name: loss.value() for name, loss in losses.items()}
        )

    @torch.no_grad()
    def rows(
        self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any
    ) -> Iterator[Rows]:
        """Finished rows of the stitched output, in order, sample by sample.

        Args:
            inputs: as when called, like all that follows.
            network: likewise.
            *args: likewise.
            **kwargs: likewise.
        """
        if "condition" in kwargs:
            raise ValueError("condition: expected none, it is not cut into windows here")
        inputs = plain(inputs)
        sw_device = torch.device(self.sw_device or inputs.device)
        device = torch.device(self.device or inputs.device)
        windows = lay_windows(inputs.shape[2:], self.roi_size, self.overlap)
        padded = windows.pad(inputs, self.padding_mode, self.cval)
        importance = compute_importance_map(
            windows.roi, self.mode, self.sigma_scale, device=sw_device, dtype=inputs.dtype
        )[None]

        def predict(data: Tensor, cut: list[tuple[slice, ...]]) -> Any:
            where = ([list(each) for each in cut],) if self.with_coord else ()
            return plain(network(data.to(sw_device), *where, *args, **kwargs))

        yield from finished_rows(padded, windows, importance, predict, self.sw_batch_size, device)

    def _label_map(self, inputs: Tensor) -> LabelMap:
        return LabelMap(
            (inputs.shape[0], *inputs.shape[2:]), sigmoid=self.sigmoid, threshold=self.threshold
        )


class _WholeTarget:
    """Gives the rows of everything in a target that has voxels.

    Args:
        target: label, or mapping, as losses take it.
        spatial: size of the volume.

    Raises:
        ValueError: something has another size, which cutting rows would hide.
    """

    def __init__(self, target: Target, spatial: Sequence[int]) -> None:
        whole = target if isinstance(target, Mapping) else {"label": target}
        given = {name: value for name, value in whole.items() if value is not None}
        self.whole = {k: plain(v) if k in _ALONG_ROWS else v for k, v in given.items()}
        for name in _ALONG_ROWS:
            size = list(self.whole[name].shape[2:]) if name in self.whole else list(spatial)
            if size != list(spatial):
                raise ValueError(f"target: expected {name} of {list(spatial)} voxels, got {size}")

    def rows(self, where: slice) -> dict[str, Any]:
        """The target of these rows."""
        return {k: v[:, :, where] if k in _ALONG_ROWS else v for k, v in self.whole.items()}
