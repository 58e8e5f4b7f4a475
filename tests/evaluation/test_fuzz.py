"""Damaged files of every format: each one is a failed case with a sentence, or is read."""

from __future__ import annotations

import bz2
import collections
import gzip
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from evaluation.format_files import (
    segment_keys,
    write_json,
    write_mgh,
    write_nrrd,
    write_ome_zarr,
    write_png,
)

from medloss.evaluation.inputs.case_pair import CaseOptions
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading.images import case_name
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.score import EvalPlan, evaluate_pair

FORMATS = ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.mhd", "a.npz", "b.nii.gz", "b.mha"]
OTHERS = [
    *("c.seg.nrrd", "d.seg.nrrd", "c.nrrd", "d.nrrd", "e.nrrd", "c.hdr", "d.hdr", "c.mgh", "c.mgz"),
    *("c.npy", "c.npz", "c.png", "d.png", "c.tif", "d.tif", "c.ome.tif", "c.zarr", "d.zarr"),
    *("e.zarr", "slices"),
]
FILES = 480
OTHER_FILES = 200
SEED = 20260929
SPACING = (1.0, 2.0, 3.0)


@pytest.fixture
def whole(save, tmp_path) -> dict[str, Path]:
    """A small file of every format; those called b hold probabilities."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (9, 8, 7)).astype(np.uint8)
    soft = np.eye(3, dtype=np.float32)[labels] * 0.7 + 0.1
    files = {}
    for name in FORMATS:
        if name.endswith(".npz"):
            files[name] = tmp_path / name
            np.savez_compressed(files[name], probabilities=soft.transpose(3, 2, 1, 0))
        else:
            array = soft if name[0] == "b" else labels
            files[name] = save(name, array, (1, 2, 3), classes=name[0] == "b")
    return files


def write_others(folder: Path) -> dict[str, Path]:
    """A small file or folder of each of the other formats, of the same labels, in all its ways."""
    import tifffile

    labels = np.random.default_rng(0).integers(0, 3, (9, 8, 7)).astype(np.uint8)
    pages = labels.transpose()
    paths = {name: folder / name for name in OTHERS}
    place = {"space_directions": "(1,0,0) (0,2,0) (0,0,3)"}
    keys = segment_keys(("one", 1, 0), ("two", 2, 0))
    write_nrrd(
        paths["c.seg.nrrd"],
        gzip.compress(labels.tobytes("F")),
        labels.shape,
        encoding="gzip",
        keys=keys,
        **place,
    )
    layers = np.stack([labels, (labels == 1).astype(np.uint8)])
    write_nrrd(
        paths["d.seg.nrrd"],
        layers,
        layers.shape,
        keys=segment_keys(("one", 1, 0), ("two", 2, 0), ("again", 1, 1)),
        kinds="list domain domain domain",
        space_directions="none (1,0,0) (0,2,0) (0,0,3)",
    )
    text = labels.tobytes("F").hex().encode()
    write_nrrd(paths["c.nrrd"], text, labels.shape, encoding="hex", **place)
    text = " ".join(map(str, labels.ravel(order="F"))).encode()
    write_nrrd(paths["d.nrrd"], text, labels.shape, encoding="ascii", **place)
    packed = bz2.compress(labels.tobytes("F"))
    write_nrrd(paths["e.nrrd"], packed, labels.shape, encoding="bzip2", **place)
    for name, kind in (("c", nibabel.Nifti1Pair), ("d", nibabel.AnalyzeImage)):
        nibabel.save(kind(labels, np.diag([*SPACING, 1.0])), folder / f"{name}.img")
    for name in ("c.mgh", "c.mgz"):
        write_mgh(paths[name], labels, spacing=SPACING)
    np.save(paths["c.npy"], pages)
    np.savez_compressed(paths["c.npz"], seg=pages, spacing=np.array(SPACING[::-1]))
    write_png(paths["c.png"], labels[:, :, 0].T)
    write_png(paths["d.png"], labels[:, :, 0].T, colours=1)
    tifffile.imwrite(paths["c.tif"], pages, compression="zlib")
    resolution = {"resolution": (1.0, 0.5), "imagej": True}
    words = {"spacing": 3, "unit": "mm", "axes": "ZYX"}
    tifffile.imwrite(paths["d.tif"], pages, **resolution, metadata=words)
    sizes = {f"PhysicalSize{axis}": 1000 * n for axis, n in zip("XYZ", SPACING, strict=True)}
    tifffile.imwrite(paths["c.ome.tif"], pages, ome=True, metadata={"axes": "ZYX", **sizes})
    write_json(folder / "c.json", {"spacing": SPACING[::-1]})
    write_ome_zarr(paths["c.zarr"], pages, scale=SPACING[::-1])
    write_ome_zarr(paths["d.zarr"], pages, scale=SPACING[::-1], version="0.5")
    write_ome_zarr(
        paths["e.zarr"],
        pages,
        scale=SPACING[::-1],
        version="0.5",
        shards=(8, 8, 12),
        chunks=(4, 4, 6),
    )
    paths["slices"].mkdir()
    for z in range(labels.shape[2]):
        write_png(paths["slices"] / f"{z}.png", labels[:, :, z].T)
    return paths


def said_of(name: str) -> CaseOptions:
    """What a user says of a file of that name that does not say it itself."""
    if name.endswith(".npy"):
        return CaseOptions(spacing_mm=SPACING[::-1], axes="zyx")
    if name.endswith(".npz"):
        return CaseOptions(axes="zyx")
    if name == "slices":
        return CaseOptions(spacing_mm=SPACING)
    return CaseOptions(spacing_mm=SPACING[:2]) if name.endswith(".png") else CaseOptions()


def damage_other(
    rng: np.random.Generator, name: str, source: Path, folder: Path, kind: str
) -> Path:
    """A copy of a file with all that belongs to it, of which one is damaged."""
    folder.mkdir()
    files = [source, *source.parent.glob(f"{source.name.partition('.')[0]}.img")]
    if name == "c.tif":
        files.append(source.with_suffix(".json"))
    for file in files:
        copy = shutil.copytree if file.is_dir() else shutil.copyfile
        copy(file, folder / file.name)
    choices = sorted(path for path in folder.rglob("*") if path.is_file())
    victim = choices[int(rng.integers(len(choices)))]
    content = victim.read_bytes()
    if len(content) > 8:
        victim.write_bytes(damaged(rng, content, kind))
    return folder / source.name


def damaged(rng: np.random.Generator, content: bytes, kind: str) -> bytes:
    """Bytes changed, the end cut off, numbers of the header replaced, or bytes moved."""
    changed = bytearray(content)
    if kind == "flip":
        for _ in range(int(rng.integers(1, 9))):
            changed[int(rng.integers(len(changed)))] ^= int(rng.integers(1, 256))
    elif kind == "cut":
        del changed[int(rng.integers(len(changed))) :]
    elif kind == "head":
        place = int(rng.integers(min(len(changed) - 8, 360)))
        extreme = [0, 1, 255, 127, 128]
        changed[place : place + 4] = bytes(int(rng.choice(extreme)) for _ in range(4))
    elif kind == "number":  # of a text header
        numbers = list(re.finditer(rb"-?\d+", content[:600]))
        if numbers:
            found = numbers[int(rng.integers(len(numbers)))]
            new = [b"-1", b"0", b"99999999", b"3" * 25, b"nan", b"1e308", b"", b"../x"]
            changed[found.start() : found.end()] = new[int(rng.integers(len(new)))]
    elif kind == "move":
        start, length = (int(rng.integers(1, len(changed))) for _ in range(2))
        changed[start:start] = changed[: length % 64]
    return bytes(changed)


def damaged_inside(rng: np.random.Generator, name: str, content: bytes, kind: str) -> bytes:
    """Damage below the compression, which its checksum does not see."""
    if name.endswith(".nii.gz"):
        return gzip.compress(damaged(rng, gzip.decompress(content), kind), 1)
    if name == "a.mha":
        head, _, voxels = content.partition(b"LOCAL\n")
        return head + b"LOCAL\n" + zlib.compress(damaged(rng, zlib.decompress(voxels), kind), 1)
    return damaged(rng, content, kind)


def test_no_damaged_file_ends_a_study_or_is_lost(whole, save, tmp_path, capfd):
    reference = save("reference.nii", np.ones((9, 8, 7), np.uint8), (1, 2, 3))
    study = EvalPlan((choose_metric(parse_request("dice")),))
    rng = np.random.default_rng(SEED)
    kinds = ["flip", "cut", "head", "number", "move"]
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / "a.raw").write_bytes(whole["a.mhd"].with_suffix(".raw").read_bytes())
    found = collections.Counter()
    sentences = collections.Counter()
    for number in range(FILES):
        name = FORMATS[number % len(FORMATS)]
        kind = kinds[number // len(FORMATS) % len(kinds)]
        change = damaged_inside if number % 3 == 0 else lambda r, _, c, k: damaged(r, c, k)
        path = folder / f"{number}{name[1:]}"
        path.write_bytes(change(rng, name, whole[name].read_bytes(), kind))
        case = evaluate_pair(Pair(case_name(path), path, reference), study)
        assert case.pair.prediction == path
        if not case.error:
            assert case.results
            found[name, "read"] += 1
            continue
        found[name, "failed"] += 1
        # One sentence that names the file, from where files are checked and not from a defect.
        assert "\n" not in case.error
        assert len(case.error) < 500
        assert "CaseError" in case.trace, case.trace
        assert str(path) in case.error or "prediction and reference differ" in case.error, (
            case.error
        )
        words = case.error.replace(str(path), "FILE")
        sentences[re.sub(r"[\d.]+", "N", words)[:40]] += 1
        path.unlink()
    out = capfd.readouterr()
    assert out.out == out.err == ""
    assert sum(found.values()) == FILES
    failed = sum(count for (_, what), count in found.items() if what == "failed")
    assert failed > FILES // 2
    for (name, what), count in sorted(found.items()):
        print(f"{name:10} {what:7} {count}")
    for words, count in sentences.most_common():
        print(f"{count:4} {words}")


def test_whole_files_are_read(whole, save):
    """What the test above damages is read as long as it is whole."""
    reference = save("reference.nii", np.ones((9, 8, 7), np.uint8), (1, 2, 3))
    study = EvalPlan((choose_metric(parse_request("dice")),))
    values = set()
    for path in whole.values():
        case = evaluate_pair(Pair("a", path, reference), study)
        assert not case.error
        values.add(round(case.results[0].value, 9))
    assert len(values) == 1
    assert nibabel.load(reference).shape == (9, 8, 7)


def campaign(folder: Path, count: int, seed: int, check: Callable[..., bool]) -> int:
    """Damaged files of the other formats; how many of them are failed cases."""
    (folder / "whole").mkdir()
    files, failed = write_others(folder / "whole"), 0
    metrics = (choose_metric(parse_request("dice")),)
    rng = np.random.default_rng(seed)
    kinds = ["flip", "cut", "head", "number", "move"]
    for number in range(count):
        name = OTHERS[number % len(OTHERS)]
        kind = kinds[number // len(OTHERS) % len(kinds)]
        path = damage_other(rng, name, files[name], folder / str(number), kind)
        plan = EvalPlan(metrics, inputs=said_of(name))
        failed += check(path, files[name], plan)
        shutil.rmtree(folder / str(number))
    return failed


def fails(path: Path, reference: Path, plan: EvalPlan) -> bool:
    """Whether the case fails; it has values, or a sentence that names a file of it."""
    case = evaluate_pair(Pair("a", path, reference), plan)
    if not case.error:
        assert case.results
        return False
    assert "CaseError" in case.trace, case.trace
    assert "\n" not in case.error
    assert len(case.error) < 600
    named = str(path.parent) in case.error or "prediction and reference differ" in case.error
    assert named, case.error
    return True


def test_no_damaged_file_of_another_format_ends_a_study(tmp_path, capfd):
    failed = campaign(tmp_path, OTHER_FILES, SEED, fails)
    out = capfd.readouterr()
    assert out.out == out.err == ""
    assert OTHER_FILES // 3 < failed < OTHER_FILES


def test_whole_files_of_the_other_formats_are_read(tmp_path):
    metrics = (choose_metric(parse_request("dice")),)
    for name, path in write_others(tmp_path).items():
        case = evaluate_pair(Pair("a", path, path), EvalPlan(metrics, inputs=said_of(name)))
        assert not case.error, case.error
        assert {result.value for result in case.results} == {1}
