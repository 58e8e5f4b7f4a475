"""Damaged files of every format: each one is a failed case with a sentence, or is read."""

from __future__ import annotations

import collections
import gzip
import re
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading.images import case_name
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.score import EvalPlan, evaluate_pair

FORMATS = ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.mhd", "a.npz", "b.nii.gz", "b.mha"]
FILES = 480
SEED = 20260929


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
