"""What lies below outlines: windows, grids, orientations, PNG files."""

from __future__ import annotations

import base64
import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from medloss.evaluation.outputs.report.grey import (
    Backdrop,
    Window,
    data_uri,
    parse_window,
    shrunk,
    window_of,
)
from medloss.evaluation.outputs.report.orientation import display_of
from medloss.evaluation.outputs.report.planes import planes
from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.stored import PATIENT, CaseError


def image_of(array, affine, space=PATIENT):
    spacing = tuple(np.linalg.norm(affine[:3, : array.ndim], axis=0))
    return Image(Path("i.nii"), array, spacing, affine, space=space)


def png(uri: str) -> np.ndarray:
    """Rows of a grey-scale PNG, by the standard: filters 0 (none) and 1 (left neighbour)."""
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    at, data = 8, b""
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", content, at + 8 + length)[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            width, height, *rest = struct.unpack(">IIBBBBB", body)
            assert rest == [8, 0, 0, 0, 0]
        data += body if kind == b"IDAT" else b""
        at += 12 + length
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, width + 1)
    rows = [np.cumsum(x[1:], dtype=np.uint8) if x[0] else x[1:] for x in lines]
    return np.array(rows)


@pytest.mark.parametrize(
    ("order", "signs"),
    [*itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3))],
)
def test_all_48_ways_to_store_an_image_are_shown_alike(order, signs):
    """Voxels hold where they lie: R, A and S in mm by the affine, as 100 R + 10 A + S."""
    spacing, shape = np.array([1.0, 2.0, 3.0]), np.array([4, 5, 6])[list(order)]
    affine = np.eye(4)
    for axis, world in enumerate(order):
        affine[:3, axis] = 0
        affine[world, axis] = signs[axis] * spacing[world]
        affine[world, 3] += 0 if signs[axis] > 0 else (shape[axis] - 1) * spacing[world]
    index = np.indices(shape).reshape(3, -1)
    place = affine[:3, :3] @ index + affine[:3, 3:]
    array = (np.array([100, 10, 1]) @ place).reshape(shape)
    display = display_of(tuple(shape), affine)
    x, y, z = np.meshgrid(np.arange(4), np.arange(5), np.arange(6), indexing="ij")
    # x to the left, y to the back, z to the feet.
    wanted = 100 * (3 - x) * 1.0 + 10 * (4 - y) * 2.0 + (5 - z) * 3.0
    assert (display.turned(array) == wanted).all()
    assert display.letters == (("R", "L"), ("A", "P"), ("S", "I"))
    assert display.names == ("sagittal", "coronal", "axial")
    assert display.voxel_mm == (1.0, 2.0, 3.0)
    box = slice(1, 3), slice(0, 4), slice(2, 5)
    assert (display.turned(array[display.in_file(box)]) == wanted[box]).all()
    for axis, size in enumerate((4, 5, 6)):
        file_axis = order.index(axis)
        numbers = [display.number(axis, k) for k in range(size)]
        slices = [array.take(n - 1, file_axis).flat[0] for n in numbers]
        assert np.argsort(slices).tolist() == [*range(size)][::-1]


def test_an_image_without_a_place_has_no_letters():
    display = display_of((2, 3, 4), np.eye(4), placed=False)
    assert {*display.letters} == {("", "")}
    assert display.names == ("axis 1", "axis 2", "axis 3")
    assert display.backward == (False, False, False)  # as it is stored
    assert display_of((2, 3, 4), np.diag([-1, 1, 1, 1]), placed=False).backward[1]
    flat = display_of((2, 3), np.diag([1.0, 2.0, 1.0, 1.0]), placed=False)
    rows = np.arange(6).reshape(2, 3)
    assert (flat.turned(rows)[..., 0] == rows).all()
    assert flat.planes == ((0, 1, 2),)
    assert flat.size == (2, 3, 1)


def test_the_picture_below_the_outlines_is_the_slice_of_the_image():
    rng = np.random.default_rng(1)
    values = rng.integers(0, 1000, (30, 20, 10))
    mask = np.zeros(values.shape, bool)
    mask[12:18, 8:11, 4] = True
    affine = np.diag([-1.0, -1.0, 4.0, 1.0])  # shown as it is stored, but for z
    display = display_of(values.shape, affine)
    backdrop = Backdrop(image_of(values, affine), image_of(mask, affine))
    window = Window(0.0, 1000.0, "")

    def shown(box):
        return display.turned(window.grey(backdrop.values(display.in_file(box))))

    axial, coronal, _ = planes(mask, ~mask & False, display, shown)
    assert axial.index == 5
    rows = np.rint(255 * values[0:30, 0:20, 4] / 1000).astype(int)
    assert (png(axial.grey) == rows.T).all()  # 12 mm on all sides is the whole slice
    assert axial.locator is None
    assert coronal.index == 10  # of 9 to 11 that in the middle
    assert (png(coronal.grey) == np.rint(255 * values[0:30, 9, 1:8] / 1000)[:, ::-1].T).all()
    wide = display_of((300, 300, 3), affine)
    mask = np.zeros(wide.shape, bool)
    mask[150:152, 100:110, 1] = True
    (axial, *_) = planes(
        mask, mask, wide, lambda box: np.zeros([b.stop - b.start for b in box], "u1")
    )
    assert axial.locator is not None
    assert axial.locator.size_mm == (300.0, 300.0)
    assert axial.locator.crop_mm == (138.0, 88.0, 26.0, 34.0)
    assert png(axial.locator.grey).shape == (75, 75)  # of 4 voxels each


def test_an_image_on_another_grid_is_interpolated_and_one_elsewhere_refused():
    """Values are linear in millimetres, which linear interpolation keeps."""
    fine, coarse = np.diag([1.0, 1.0, 2.0, 1.0]), np.diag([2.0, 2.0, 3.0, 1.0])
    x, y, z = np.indices((12, 12, 9))
    image = image_of(1.0 * x + 3.0 * y + 2 * 5.0 * z, fine)
    reference = image_of(np.zeros((5, 5, 5)), coarse)
    backdrop = Backdrop(image, reference)
    assert backdrop.note == "the image lies on another grid and is interpolated"
    box = slice(1, 4), slice(0, 5), slice(2, 5)
    x, y, z = np.indices((5, 5, 5))
    assert backdrop.values(box) == pytest.approx((2.0 * x + 6.0 * y + 15.0 * z)[box])
    turned = image_of(image.array[::-1].transpose(1, 0, 2), np.eye(4))
    turned.affine[:] = [[0, -1, 0, 11], [1, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]
    turned = image_of(turned.array, turned.affine)
    same = Backdrop(turned, image_of(np.zeros((12, 12, 9)), fine))
    assert same.note == ""
    assert (same.values((slice(0, 12), slice(0, 12), slice(0, 9))) == image.array).all()
    away = coarse.copy()
    away[0, 3] = 500
    with pytest.raises(CaseError, match=r"i\.nii cannot be shown: it lies beside the reference"):
        Backdrop(image, image_of(np.zeros((5, 5, 5)), away))
    with pytest.raises(CaseError, match="image and reference differ in shape: 12 x 12 x 9"):
        Backdrop(image_of(image.array, fine, space=""), reference)
    flat = image_of(np.zeros((4, 5)), np.eye(4))
    with pytest.raises(CaseError, match="differ in shape: 4 x 5 against 4 x 6"):
        Backdrop(flat, image_of(np.zeros((4, 6)), np.eye(4)))


CT = np.array([-1000.0, -80.0, 40.0, 900.0])
MR = np.linspace(0, 1000, 1001)


@pytest.mark.parametrize(
    ("sample", "labelled", "asked", "kind", "name", "low", "high"),
    [
        (CT, [50.0], "", "", "soft tissue window", -160, 240),
        (CT, [-800.0], "", "", "lung window", -1350, 150),
        (CT, [700.0], "", "", "bone window", -500, 1300),
        (CT, [], "", "", "soft tissue window", -160, 240),
        (CT, [50.0], "ct-brain", "", "brain window", 0, 80),
        (CT, [50.0], "30,100", "", "level 30, width 100", -20, 80),
        (CT[1:], [50.0], "", "CT", "soft tissue window", -160, 240),
        (MR, [50.0], "", "", "0.5 to 99.5 % of its values", 5, 995),
        (MR, [50.0], "", "MRI", "0.5 to 99.5 % of its values", 5, 995),
        (CT, [50.0], "", "MRI", "0.5 to 99.5 % of its values", -986.2, 887.1),
        (np.full(9, 7.0), [7.0], "", "", "0.5 to 99.5 % of its values", 7, 8),
        (np.zeros(0), [], "", "", "no finite value", 0, 1),
    ],
)
def test_the_window_fits_what_is_shown(sample, labelled, asked, kind, name, low, high):
    found = window_of(sample, np.array(labelled), asked, kind)
    assert (found.name, found.low, found.high) == (name, pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("text", ["soft", "40", "40,0", "40,-1", "nan,5", "1,2,3", ""])
def test_other_windows_are_refused(text):
    with pytest.raises(ValueError, match="--window: expected LEVEL,WIDTH such as 40,400, ct-soft"):
        parse_window(text)


def test_png_files_hold_what_was_put_in():
    rows = np.random.default_rng(2).integers(0, 256, (7, 5)).astype(np.uint8)
    assert (png(data_uri(rows)) == rows).all()
    assert shrunk(rows, 100) is rows
    assert shrunk(rows, 3)[2, 1] == round((rows[6:, 2:4].sum()) / 2)
