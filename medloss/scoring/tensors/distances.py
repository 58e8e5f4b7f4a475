"""From two label maps on a device to the surface distances of all classes, class by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from medloss.scoring.presets import Preset
from medloss.scoring.surface.engine import NOTHING, Directed
from medloss.scoring.tensors.elements import FINDERS, Elements, Spacing, around
from medloss.scoring.tensors.maps import TensorMaps


def tensor_distances(
    maps: TensorMaps, codes: Sequence[int], spacing_mm: Spacing, preset: Preset
) -> dict[int, tuple[Directed, Directed]]:
    """As :func:`medloss.scoring.surface.engine.directed_distances`.

    A class takes a distance transform in its box each way (of ``faces``, one for each point of a
    face); what comes to the host is the distances of the surface elements.
    """
    find, found = FINDERS[preset.surface], {}
    for code in codes:
        masks = maps.masks(code)
        if masks is None:
            found[code] = NOTHING, NOTHING
            continue
        ignored = None if maps.ignored is None else around(maps.ignored, masks.cut)
        sides = (masks.reference, masks.prediction), (masks.prediction, masks.reference)
        reference, prediction = (
            _sorted([*find(own, other, ignored, spacing_mm)]) for own, other in sides
        )
        found[code] = reference, prediction
    return found


def _sorted(parts: Sequence[Elements]) -> Directed:
    """Distances in ascending order, each once, with the area of all elements that have it."""
    mm, order = torch.cat([part.mm for part in parts]).sort(stable=True)
    area = torch.cat([part.area for part in parts])[order].cpu().numpy()
    if not len(area):
        return NOTHING
    values = mm.cpu().numpy()
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    found = values[starts], np.add.reduceat(area, starts)
    for array in found:
        array.flags.writeable = False  # shared by every metric of the case
    return found
