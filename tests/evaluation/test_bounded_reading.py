"""No header makes a reader take more memory or time than the image that it may rightly declare."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import struct
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from evaluation.format_files import (
    label_map,
    segment_keys,
    write_json,
    write_mgh,
    write_nrrd,
    write_ome_zarr,
)

from medloss.evaluation.reading.images import read_image
from medloss.evaluation.reading.settled import Told
from medloss.evaluation.reading.stored import CaseError

MB = 1 << 20
TOLD = Told((1.0, 1.0, 1.0))


def refused(path: Path, words: str, told: Told = TOLD, *, at_most: int = 24 * MB) -> None:
    """A sentence, soon, and without the memory that the file asks for."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        with pytest.raises(CaseError, match=words) as caught:
            read_image(path, told=told)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800
    assert peak < at_most, f"{peak / MB:.0f} MB"
    assert time.process_time() - begin < 8


def nifti_header(shape: tuple[int, ...] = (7, 6, 5), offset: float = 352) -> bytes:
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    header.set_sform(np.eye(4), 1)
    header["vox_offset"] = offset
    header["magic"] = b"n+1"
    return header.binaryblock + bytes(4)


def sparse(path: Path, start: bytes, size: int = 3 << 30) -> Path:
    """A file of 3 GB that takes no place on a disk."""
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.mha", "a.mgh", "a.npy", "a.png", "a.npz"])
def test_a_sparse_file_of_3_gb_without_a_header(tmp_path, name):
    refused(sparse(tmp_path / name, b""), "is not|damaged|--axes")
    refused(sparse(tmp_path / name, b"\x1f\x8b\x08\0"), "is not|damaged|truncated|--axes")


def test_a_sparse_file_behind_a_header_is_read_as_far_as_that_says(tmp_path):
    shape = (7, 6, 5)
    for name, start in (
        ("a.nii", nifti_header()),
        ("a.mgh", write_mgh(tmp_path / "b.mgh", label_map()).read_bytes()[:284]),
        ("a.nrrd", write_nrrd(tmp_path / "b.nrrd", b"", shape).read_bytes()),
    ):
        tracemalloc.start()
        image = read_image(sparse(tmp_path / name, start))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert image.shape == shape
        assert peak < 4 * MB


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mgz", "a.nrrd", "a.mha"])
def test_a_compressed_file_that_goes_on_for_3_gb(tmp_path, name):
    """Behind its stream there are holes; they are not read."""
    start = {
        "a.nii.gz": gzip.compress(nifti_header()),
        "a.mgz": gzip.compress(write_mgh(tmp_path / "b.mgh", label_map()).read_bytes()),
        "a.nrrd": write_nrrd(
            tmp_path / "b.nrrd", gzip.compress(bytes(210)), (7, 6, 5), encoding="gzip"
        ).read_bytes(),
        "a.mha": b"NDims = 3\nDimSize = 7 6 5\nElementSpacing = 1 1 1\nElementType = MET_UCHAR\n"
        b"CompressedData = True\nElementDataFile = LOCAL\n" + zlib.compress(bytes(210)),
    }[name]
    refused(sparse(tmp_path / name, start), "far longer|damaged|truncated", at_most=64 * MB)


def test_bytes_before_the_voxels(tmp_path):
    """1.2 MB that stand for 1.3 GB of nothing, before 210 bytes of voxels."""
    before = 1300 * MB
    header = nibabel.Nifti2Header()
    header.set_data_shape((7, 6, 5))
    header.set_data_dtype(np.uint8)
    header.set_sform(np.eye(4), 1)
    header["vox_offset"] = before
    header["magic"] = b"n+2"
    content = gzip.compress(header.binaryblock) + 130 * gzip.compress(bytes(10 * MB))
    content += gzip.compress(bytes(210))
    (tmp_path / "a.nii.gz").write_bytes(content)
    refused(tmp_path / "a.nii.gz", "its voxels begin at byte", at_most=64 * MB)
    for skip in (str(before), "-1"):
        path = write_nrrd(tmp_path / "a.nrrd", content, (7, 6, 5), encoding="gzip", byte_skip=skip)
        refused(path, "its voxels begin at byte|more bytes than", at_most=64 * MB)


def test_empty_members_take_linear_time(tmp_path):
    def seconds(count: int) -> float:
        content = gzip.compress(nifti_header() + label_map().tobytes("F"))
        half = gzip.compress(b"")
        (tmp_path / "a.nii.gz").write_bytes(half * count + content + half * count)
        begin = time.process_time()
        np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").labels(), label_map())
        return time.process_time() - begin

    seconds(100)
    # The first 64 kB of the file have to hold its header.
    assert seconds(1500) < 2
    path = write_nrrd(
        tmp_path / "a.nrrd",
        gzip.compress(b"") * 80_000 + gzip.compress(label_map().tobytes("F")),
        label_map().shape,
        encoding="gzip",
    )
    begin = time.process_time()
    np.testing.assert_array_equal(read_image(path).labels(), label_map())
    assert time.process_time() - begin < 4


@pytest.mark.parametrize("encoding", ["bzip2", "hex", "ascii"])
def test_a_bomb_in_every_encoding(tmp_path, encoding):
    content = {
        "bzip2": bz2.compress(bytes(50 * MB)),
        "hex": b" " * 6 * MB,
        "ascii": b"0 " * 3 * MB,
    }
    path = write_nrrd(tmp_path / "a.nrrd", content[encoding], (7, 6, 5), encoding=encoding)
    if encoding == "ascii":
        assert not read_image(path).labels().any()  # more behind the voxels is not looked at
        return
    refused(path, "more bytes than its header says|is truncated")
    path = write_nrrd(tmp_path / "a.nrrd", content[encoding], (9999, 99, 99), encoding=encoding)
    refused(path, "truncated", at_most=200 * MB if encoding == "bzip2" else 24 * MB)


LONG = 2 * MB


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.nrrd", b"NRRD0005\nspacings:" + b" " * LONG + b"x\n"),
        ("a.nrrd", b"NRRD0005\n" + b"a" * LONG + b"\n"),
        ("a.nrrd", b"NRRD0005\nspace units: " + b'"' * LONG + b"\n"),
        ("a.nrrd", b"NRRD0005\nspace directions: " + b"(" * LONG + b"\nsizes: 1 1 1\n\n"),
        ("a.nrrd", b"NRRD0005\nspace origin: " + b"(1," * (LONG // 3) + b"\nsizes: 1 1\n\n"),
        ("a.nrrd", b"NRRD0005\nsizes: " + b"1 " * (LONG // 2) + b"\n\n"),
        ("a.nrrd", b"NRRD0005\n\r" * (LONG // 10)),
        ("a.nhdr", b"NRRD0005\nsizes: 1 1\nspacings: 1 1\ntype: uchar\nencoding: raw\n"
         b"data file: a%d" + b" 1" * (LONG // 2)),
        ("a.mhd", b"NDims = 3\nDimSize" + b" " * LONG + b"= 1\n"),
        ("a.mhd", b"ElementDataFile" + b" " * LONG + b"x\n"),
        ("a.mhd", b"DimSize = 1 1 1\nElementDataFile = " + b" 1" * (LONG // 2)),
        ("a.mhd", b"DimSize = " + b"1 " * (LONG // 2) + b"\nElementDataFile = LOCAL\n"),
        ("a.mhd", b"x = \n" * (LONG // 5)),
    ],
)  # fmt: skip
def test_long_lines_take_linear_time(tmp_path, name, start):
    (tmp_path / name).write_bytes(start)
    refused(tmp_path / name, ".", at_most=30 * LONG)


def test_long_tables_of_names_take_linear_time(tmp_path):
    header = nifti_header(offset=352 + LONG)
    for text in (b"<Label ", b"<Label Key=", b'<Label Key="1">', b'<Label Key="1"><![CDATA['):
        (tmp_path / "a.nii").write_bytes(
            header + (text * (LONG // len(text))).ljust(LONG) + bytes(210)
        )
        begin = time.process_time()
        read_image(tmp_path / "a.nii")
        assert time.process_time() - begin < 8


def test_thousands_of_overlapping_segments_are_not_made(tmp_path):
    """Their channels would take more than there is."""
    keys = segment_keys(*((f"s{n}", 1, n % 2) for n in range(20000)))
    layers = np.zeros((2, 300, 300, 300), np.uint8)
    path = write_nrrd(
        tmp_path / "a.seg.nrrd",
        gzip.compress(layers.tobytes(), 1),
        layers.shape,
        encoding="gzip",
        keys=keys,
        kinds="list domain domain domain",
        space_directions="none (2,0,0) (0,1.5,0) (0,0,3)",
    )
    refused(path, "GiB and more than the memory", at_most=200 * MB)


def png(size: tuple[int, int], lines: bytes) -> bytes:
    parts = [
        (b"IHDR", struct.pack(">2I5B", *size, 8, 0, 0, 0, 0)),
        (b"IDAT", lines),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def test_pictures_that_say_more_than_they_hold(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png((13000, 13000), zlib.compress(bytes(100))))
    refused(path, "truncated", Told((1, 1)))
    path.write_bytes(png((100000, 100000), zlib.compress(bytes(100))))
    refused(path, "damaged|truncated", Told((1, 1)))
    path.write_bytes(png((7, 6), zlib.compress(bytes(20 * MB))))
    assert read_image(path, told=Told((1, 1))).shape == (7, 6)  # as far as its header says


def test_tiles_that_inflate_to_more_than_their_share(tmp_path):
    import tifffile

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, label_map().transpose(), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        tags = {name: page.tags[name].valueoffset for name in ("StripOffsets", "StripByteCounts")}
        kinds = {name: page.tags[name].dtype for name in tags}
    bomb = zlib.compress(bytes(100 * MB), 9)
    content = path.read_bytes()
    for name, value in (("StripOffsets", len(content)), ("StripByteCounts", len(bomb))):
        code = {3: "<H", 4: "<I", 16: "<Q"}[int(kinds[name])]
        if code == "<H" and value > 65535:
            bomb = zlib.compress(bytes(40 * MB), 9)
            value = min(len(bomb), 65535)
        place = tags[name]
        packed = struct.pack(code, value)
        content = content[:place] + packed + content[place + len(packed) :]
    path.write_bytes(content + bomb)
    refused(path, "its share|damaged")


def test_a_tiff_that_says_more_than_it_holds(tmp_path):
    import tifffile

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, label_map()[:, :, 0].T)
    with tifffile.TiffFile(path) as tiff:
        places = [tiff.pages[0].tags[n].valueoffset for n in ("ImageWidth", "ImageLength")]
    content = bytearray(path.read_bytes())
    for place in places:
        content[place : place + 2] = b"\xff\xff"
    path.write_bytes(content)
    refused(path, "truncated", Told((1, 1)))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("kind", ["blosc", "zstd", "gzip", "none"])
def test_pieces_of_a_zarr_that_stand_for_more_than_their_share(tmp_path, version, kind):
    import numcodecs
    import zarr.codecs

    codec = {
        "blosc": (numcodecs.Blosc(), zarr.codecs.BloscCodec()),
        "zstd": (numcodecs.Zstd(), zarr.codecs.ZstdCodec()),
        "gzip": (numcodecs.GZip(), zarr.codecs.GzipCodec()),
        "none": (None, None),
    }[kind][version == "0.5"]
    path = write_ome_zarr(
        tmp_path / "a.zarr", label_map().transpose(), version=version, compressors=codec
    )
    np.testing.assert_array_equal(read_image(path).labels(), label_map())
    piece = path / "labels/organs/0" / ("c/0/0/0" if version == "0.5" else "0.0.0")
    pack = {
        "blosc": numcodecs.Blosc().encode,
        "zstd": numcodecs.Zstd().encode,
        "gzip": numcodecs.GZip().encode,
        "none": bytes,
    }[kind]
    piece.write_bytes(pack(np.zeros(50 * MB, np.uint8)))
    refused(path, "stands for|more bytes than|is damaged|has more than", at_most=120 * MB)


def test_a_zarr_of_a_million_pieces_is_not_walked(tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", label_map().transpose())
    metadata = path / "labels/organs/0/.zarray"
    text = metadata.read_text()
    described = json.loads(text)
    write_json(metadata, {**described, "shape": [100000, 100000, 1], "chunks": [1, 1, 1]})
    refused(path, "too many or too large")
    write_json(metadata, {**described, "chunks": [100000, 100000, 1]})
    refused(path, "too many or too large|GiB")


def archive(path: Path, arrays: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in arrays.items():
            file.writestr(f"{name}.npy", content)
    return path


def test_arrays_that_say_more_than_they_hold(tmp_path):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "|u1", "fortran_order": False, "shape": (9999, 9999, 99)}
    )
    (tmp_path / "a.npy").write_bytes(content.getvalue())
    refused(tmp_path / "a.npy", "truncated")
    refused(archive(tmp_path / "a.npz", {"seg": content.getvalue()}), "truncated")
    zeros = content.getvalue() + bytes(50 * MB)
    refused(archive(tmp_path / "a.npz", {"seg": zeros}), "truncated", at_most=60 * MB)


def test_an_archive_of_very_many_members(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        for number in range(20000):
            file.writestr(f"{number:0100d}.npy", b"")
    refused(tmp_path / "a.npz", "list of arrays has")
