"""A result is kept only as long as every file that it was made of is as it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.journal import open_journal
from medloss.evaluation.reading import opened
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.run import evaluate_all
from medloss.evaluation.score import EvalPlan, evaluate_pair

STUDY = EvalPlan((choose_metric(parse_request("dice")),))
NRRD = (
    "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 5 6\nencoding: raw\nspacings: 1 1 1\n"
    "data file: voxels.raw\n"
)
MHD = (
    "ObjectType = Image\nNDims = 3\nDimSize = 4 5 6\nElementType = MET_UCHAR\n"
    "ElementSpacing = 1 1 1\nElementDataFile = voxels.raw\n"
)


def ball() -> np.ndarray:
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1:3, 1:4, 1:5] = 1
    return labels


def detached(folder: Path, name: str) -> Path:
    """A header beside its voxels."""
    folder.mkdir()
    (folder / name).write_text(MHD if name.endswith(".mhd") else NRRD)
    (folder / "voxels.raw").write_bytes(ball().tobytes(order="F"))
    return folder / name


def kept(journal: Path, pair: Pair, study: EvalPlan = STUDY) -> tuple[bool, int]:
    """Whether the result is kept, and how many are outdated; then it is scored again."""
    with open_journal(journal, [pair], study) as log:
        found = pair in log.kept, log.outdated
    evaluate_all([pair], study, journal=journal)
    return found


def again(path: Path, content: bytes) -> None:
    """Other content of the same size, and the same time of its last change."""
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("name", ["a.mhd", "a.nrrd", "a.nhdr"])
@pytest.mark.parametrize("side", ["prediction", "reference"])
def test_voxels_beside_their_header_are_watched(tmp_path, save, name, side):
    other = save("other.nii", ball())
    header = detached(tmp_path / "x", name)
    files = {"prediction": other, "reference": other, side: header}
    pair, journal = Pair("a", **files), tmp_path / "journal"
    assert kept(journal, pair) == (False, 0)
    assert kept(journal, pair) == (True, 0)
    again(header.parent / "voxels.raw", bytes(120))
    assert kept(journal, pair) == (False, 1)
    assert kept(journal, pair) == (True, 0)
    header.touch()
    assert kept(journal, pair) == (False, 1)


def test_the_image_that_an_npz_takes_its_place_from_is_watched(tmp_path, save):
    reference = save("r/a.nii.gz", ball())
    hot = np.stack([1 - ball(), ball()]).astype(np.float32).transpose(0, 3, 2, 1)
    (tmp_path / "p").mkdir()
    np.savez(tmp_path / "p" / "a.npz", probabilities=hot)
    pair, journal = Pair("a", tmp_path / "p" / "a.npz", reference), tmp_path / "journal"
    kept(journal, pair)
    assert kept(journal, pair) == (True, 0)
    beside = save("p/a.nrrd", ball())  # nobody missed it, but it says the place now
    assert kept(journal, pair) == (False, 1)
    assert kept(journal, pair) == (True, 0)
    save("p/a.nii.gz", ball())  # comes before the other
    assert kept(journal, pair) == (False, 1)
    beside.touch()  # which nobody reads any more
    assert kept(journal, pair) == (True, 0)


def test_error_maps_that_are_gone_or_changed_are_made_again(tmp_path, save):
    import dataclasses

    pair = Pair("a", save("p/a.nii", ball()), save("r/a.nii", ball()))
    study, journal = dataclasses.replace(STUDY, error_maps=tmp_path / "maps"), tmp_path / "journal"
    kept(journal, pair, study)
    assert kept(journal, pair, study) == (True, 0)
    (tmp_path / "maps" / "a_errors.nii.gz").unlink()
    assert kept(journal, pair, study) == (False, 1)
    (tmp_path / "maps" / "a_distances.nii.gz").write_bytes(b"x")
    assert kept(journal, pair, study) == (False, 1)
    assert kept(journal, pair, study) == (True, 0)


def test_another_file_of_the_same_case_is_another_result(tmp_path, save):
    first, second = save("p/a.nii", ball()), save("q/a.nii", ball())
    reference, journal = save("r/a.nii", ball()), tmp_path / "journal"
    kept(journal, Pair("a", first, reference))
    assert kept(journal, Pair("a", second, reference)) == (False, 1)


def test_another_version_of_who_offers_a_metric_is_another_study(tmp_path, save, monkeypatch):
    from medloss.evaluation import journal as module

    pair, journal = Pair("a", save("p/a.nii", ball()), save("r/a.nii", ball())), tmp_path / "j"
    kept(journal, pair)
    monkeypatch.setattr(module, "offering", lambda study: {"somebody": "2"})
    with pytest.raises(ValueError, match="another offered by"):
        kept(journal, pair)


def patched(patch: pytest.MonkeyPatch, read: Callable[[Path], BinaryIO]) -> None:
    """Open files by this in every reader."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("medloss.evaluation.reading.") and hasattr(module, "open_file"):
            patch.setattr(module, "open_file", read)


@pytest.mark.parametrize("how", ["written", "replaced", "deleted"])
def test_what_changes_while_it_is_read_has_no_result(tmp_path, save, monkeypatch, how):
    """It was read before, or after, or half of each: nobody knows."""
    header = detached(tmp_path / "x", "a.mhd")
    voxels = tmp_path / "x" / "voxels.raw"
    pair, journal = Pair("a", header, save("r/a.nii", ball())), tmp_path / "journal"
    read = opened.open_file

    def slow(path: Path):
        file = read(path)
        if path.name == "voxels.raw":
            if how == "written":
                again(voxels, bytes(120))
            elif how == "replaced":
                (tmp_path / "x" / "new").write_bytes(ball().tobytes(order="F"))
                (tmp_path / "x" / "new").replace(voxels)
            else:
                voxels.unlink()
        return file

    with monkeypatch.context() as patch:
        patched(patch, slow)
        result = evaluate_pair(pair, STUDY)
        assert f"{voxels} changed while it was read" in result.error
        assert not result.results
        evaluate_all([pair], STUDY, journal=journal)
    (tmp_path / "x" / "voxels.raw").write_bytes(ball().tobytes(order="F"))
    assert kept(journal, pair) == (False, 0)  # a failed case is scored again
    assert kept(journal, pair) == (True, 0)


def test_what_fails_while_it_changes_says_both(tmp_path, save, monkeypatch):
    path = save("p/a.nii", ball())
    pair = Pair("a", path, save("r/a.nii", ball()))
    read = opened.open_file

    def slow(path: Path):
        file = read(path)
        if path.parent.name == "p":
            path.write_bytes(path.read_bytes()[:200])
        return file

    patched(monkeypatch, slow)
    assert f"; {path} changed while it was read" in evaluate_pair(pair, STUDY).error


def test_outside_of_a_recording_nothing_is_kept(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    assert opened.read_file(tmp_path / "a") == b"x"
    with opened.recording() as files:
        opened.read_file(tmp_path / "a")
        opened.read_file(tmp_path / "a")
    assert [Path(path).name for path, *_ in files] == ["a"]
    opened.read_file(tmp_path / "a")
    assert len(files) == 1
