from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest

from medloss.evaluation.reading.images import read_image
from medloss.evaluation.reading.stored import CaseError


@pytest.fixture
def probabilities():
    """(classes, z, y, x), as nnU-Net has them."""
    weights = np.random.default_rng(0).random((3, 4, 5, 6)).astype(np.float32)
    return weights / weights.sum(0)


def error(path, grid=None, *words):
    with pytest.raises(CaseError) as caught:
        read_image(path, grid=grid)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text
    return text


@pytest.mark.parametrize("name", ["probabilities", "softmax"])
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_axes_are_turned_and_the_place_is_that_of_the_image_beside(
    save, tmp_path, oblique, probabilities, name, write
):
    save("a.nii.gz", np.zeros((6, 5, 4), np.uint8), oblique)
    write(tmp_path / "a.npz", **{name: probabilities, "other": np.zeros(3)})
    image = read_image(tmp_path / "a.npz")
    assert image.probabilities
    assert image.shape == (6, 5, 4)
    np.testing.assert_array_equal(image.array, probabilities.transpose(3, 2, 1, 0))
    np.testing.assert_array_equal(image.labels(), probabilities.argmax(0).transpose(2, 1, 0))
    np.testing.assert_allclose(image.affine, oblique, atol=1e-5)
    assert image.array.flags.f_contiguous
    assert "a.nii.gz" in image.note


def test_the_reference_gives_the_place_where_no_image_is_beside(save, tmp_path, probabilities):
    np.savez(tmp_path / "a.npz", probabilities=probabilities)
    error(tmp_path / "a.npz", None, "says nothing of space")
    grid = read_image(save("r/a.nii", np.zeros((6, 5, 4), np.uint8), (1, 2, 3)))
    image = read_image(tmp_path / "a.npz", grid=grid)
    assert image.spacing_mm == (1, 2, 3)
    assert str(grid.path) in image.note
    other = read_image(save("s/a.nii", np.zeros((4, 5, 6), np.uint8)))
    error(tmp_path / "a.npz", other, "6 x 5 x 4 voxels", "4 x 5 x 6")


def test_two_dimensions_are_a_slice_there(save, tmp_path, probabilities):
    np.savez(tmp_path / "a.npz", probabilities=probabilities[:, :1])
    grid = read_image(save("r/a.nii", np.zeros((6, 5), np.uint8), np.eye(4)))
    assert read_image(tmp_path / "a.npz", grid=grid).shape == (6, 5)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_nothing_is_unpickled(tmp_path):
    content = io.BytesIO()
    np.save(content, np.array([Trap()], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("probabilities.npy", content.getvalue())
    error(tmp_path / "a.npz", None, "type '|O', not labels or probabilities")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("probabilities.npy", pickle.dumps(Trap()))
    error(tmp_path / "b.npz", None, "damaged .npz")
    (tmp_path / "c.npz").write_bytes(pickle.dumps(Trap()))
    error(tmp_path / "c.npz", None, "damaged .npz")


def header(shape, dtype="<f4") -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header((3, 4, 5, 6)) + bytes(10), "truncated: "),
        (header((3, 4, 5, 6)) + bytes(4 * 360 + 1), "more bytes than its header says"),
        (header((3, 40000, 50000, 60000)), "3 x 40000 x 50000 x 60000 voxels, which take"),
        (header((3, 4, -5, 6)), "the header of its array is unknown"),
        (header((0, 4, 5, 6)), "holds no voxels"),
        (header((4, 5, 6)) + bytes(480), "3 axes; expected (classes, z, y, x)"),
        (header((3, 1, 1, 1), "<U1"), "values of type '<U1'"),
        (header((3, 1, 1, 1), "<c8"), "values of type '<c8'"),
        (b"\x93NUMPY\x09\x00" + header((3, 1, 1, 1))[8:], "damaged .npz"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(99), "damaged .npz"),
        (b"\x93NUMPY\x01\x00\x10\x00" + b"__import__('os')", "damaged .npz"),
        (b"", "damaged .npz"),
    ],
)
def test_damaged_arrays_are_refused(tmp_path, content, words):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("probabilities.npy", content)
    error(tmp_path / "a.npz", None, words, str(tmp_path / "a.npz"))


def test_a_file_that_would_unpack_to_more_than_it_can_hold(tmp_path, probabilities):
    np.savez_compressed(tmp_path / "a.npz", probabilities=probabilities)
    content = (tmp_path / "a.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        size = archive.infolist()[0].file_size
    # The directory at the end says the size that is believed.
    end = content.rindex(size.to_bytes(4, "little"))
    lie = content[:end] + (1 << 31).to_bytes(4, "little") + content[end + 4 :]
    (tmp_path / "a.npz").write_bytes(lie)
    error(tmp_path / "a.npz", None, "truncated", "compressed bytes of voxels", str(1 << 31))


def test_an_archive_of_something_else_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", data=np.zeros(3), other=np.zeros(3))
    error(
        tmp_path / "a.npz", None, "no array probabilities, softmax or seg; it has 'data', 'other'"
    )
