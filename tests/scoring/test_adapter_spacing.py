from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from scoring.adapted import SPACING, Y_PRED, Dice, Hausdorff95, Y, channels, close, labels


def meta(tensor: torch.Tensor, spacing: tuple[float, ...]) -> MetaTensor:
    return MetaTensor(tensor, affine=torch.diag(torch.tensor([*spacing, 1.0])))


def test_spacing_is_taken_from_the_call_then_the_option_then_the_meta_tensor():
    y_pred, y = channels(Y_PRED)[:1], channels(Y)[:1]
    with_meta = meta(y, SPACING)
    assert Hausdorff95()(y_pred, with_meta)[0, 0] == 1.5
    assert Hausdorff95()(meta(y_pred, SPACING), y)[0, 0] == 1.5
    assert Hausdorff95(spacing_mm=0.5)(y_pred, with_meta)[0, 0] == 0.5
    assert Hausdorff95(spacing_mm=0.5)(y_pred, with_meta, spacing=7.0)[0, 0] == 7.0
    assert Hausdorff95(spacing_mm="voxel")(y_pred, with_meta)[0, 0] == 1.0
    assert Hausdorff95()(y_pred, y, spacing="voxel")[0, 0] == 1.0


def test_each_item_has_its_own_spacing():
    y_pred, y = channels(Y_PRED)[[0, 0]], channels(Y)[[0, 0]]
    rows = [(1.0, 1.0, 1.0), (0.25, 1.0, 1.0)]
    expected = [[1.0, 0.0], [0.25, 0.0]]
    close(Hausdorff95()(y_pred, y, spacing=rows), expected)
    close(Hausdorff95()(list(y_pred), list(y), spacing=rows), expected)
    items = [meta(item, row) for item, row in zip(y, rows, strict=True)]
    close(Hausdorff95()(list(y_pred), items), expected)
    batch = list_data_collate(items)
    assert isinstance(batch.pixdim, list)
    close(Hausdorff95()(y_pred, batch), expected)


def test_a_slice_does_not_say_which_axes_of_its_volume_it_has():
    y, y_pred = (channels(labels(b, shape=(8, 9)), 2) for b in ((1, 1), (1, 3)))
    close(Hausdorff95()([y_pred[0]], [meta(y[0], (0.5, 2.0))]), [[1.0]])
    close(Hausdorff95()([y_pred[0]], [meta(y[0], (0.5, 2.0, 1.0))]), [[1.0]])  # a 2D file
    volume = torch.stack([y[0], y[0]], dim=1)
    close(Hausdorff95()([y_pred[0]], [meta(volume, (0.5, 0.5, 0.5))[:, 0]]), [[1.0]])
    sliced = meta(volume, (5.0, 0.5, 2.0))[:, 0]
    with pytest.raises(ValueError, match=r"spacing_mm: .* 5 x 0\.5 x 2 mm and the image 2 axes"):
        Hausdorff95()([y_pred[0]], [sliced])
    Dice()([y_pred[0]], [sliced])  # needs no size
    close(Hausdorff95(spacing_mm=(0.5, 2.0))([y_pred[0]], [sliced]), [[1.0]])


def test_distances_without_spacing_are_refused_but_counts_need_none():
    y = channels(Y)
    with pytest.raises(ValueError, match=r"spacing: .*spacing=\(mm.*spacing_mm='voxel'"):
        Hausdorff95()(y, y)
    Dice()(y, y)
