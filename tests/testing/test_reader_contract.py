"""The contract of readers: our own meet it, and a reader that breaks a demand fails that check."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from medloss.cli import main
from medloss.offers.host import Offer, Plugin
from medloss.offers.records import Reader
from medloss.testing import check_reader, run_checks

GOOD = '''
import numpy as np
from medloss.readers import CaseError, Stored, read_file


def read_grid(path):
    """Grids of bytes."""
    words = read_file(path)
    if not words.startswith(b"GRID") or len(words) != 12:
        raise CaseError(f"{path} is no grid")
    array = np.frombuffer(words[4:], np.uint8).reshape(2, 2, 2)
    return Stored(array, np.diag([1.0, 2.0, 3.0, 1.0]), 3, names={1: "a"})
'''

BROKEN = {
    "result_is_an_image": {
        "return Stored(": "return tuple(",
        "3, names": "4, names",
        "np.diag([1.0, 2.0, 3.0, 1.0])": "np.eye(3)",
        '{1: "a"}': '{"a": 1}',
        "np.uint8": "'>u1').astype('>i2'",
        "names={1": "channels='independent', names={1",
    },
    "reading_changes_nothing": {
        "    array =": "    path.write_bytes(words[:11] + bytes([words[11] ^ 1]))\n    array =",
    },
    "files_are_noted": {"read_file(path)": "path.read_bytes()"},
    "damaged_files_are_refused_in_a_sentence": {
        'if not words.startswith(b"GRID") or len(words) != 12:': "if len(words) == 77:",
        'f"{path} is no grid"': '"no grid"',
    },
    "empty_and_other_files_are_refused": {
        "    words = read_file(path)\n": "    words = read_file(path)\n"
        "    if not words: return Stored(np.ones((2, 2, 2), np.uint8), np.eye(4), 3)\n",
    },
    "summary_equals_docstring": {"Grids of bytes.": "Something else."},
}

Make = Callable[..., tuple[Offer[Reader], Path]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    def reader(source: str, suffix: str = ".grid") -> tuple[Offer[Reader], Path]:
        name = f"grid_{abs(hash(source)) % 10**9}_files"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        sample = tmp_path / "a.grid"
        sample.write_bytes(b"GRID" + bytes([0, 1, 1, 0, 2, 0, 0, 1]))
        record = Reader(
            name="grid", target=f"{name}:read_grid", summary="Grids of bytes.", suffixes=(suffix,)
        )
        return Offer(record, Plugin("grid", "medloss.offers", "medloss-grid", "1")), sample

    monkeypatch.syspath_prepend(str(tmp_path))
    return reader


def failed(offer: Offer[Reader], sample: Path) -> set[str]:
    return {each.check for each in run_checks(offer, sample=sample) if each.verdict == "failed"}


def test_a_good_reader_fails_nothing_that_can_be_told_without_a_host(make: Make) -> None:
    offer, sample = make(GOOD)
    assert failed(offer, sample) == {"it_is_found"}  # nobody installed it


@pytest.mark.parametrize(
    ("check", "old"), [(check, old) for check, olds in BROKEN.items() for old in olds]
)
def test_a_reader_that_breaks_a_demand_fails_it(make: Make, check: str, old: str) -> None:
    assert old in GOOD
    offer, sample = make(GOOD.replace(old, BROKEN[check][old]))
    assert check in failed(offer, sample)


@pytest.mark.parametrize("name", ["nifti", "nrrd", "metaimage"])
def test_our_own_readers_meet_the_contract(name: str, tmp_path: Path) -> None:
    import SimpleITK

    suffix = {"nifti": ".nii.gz", "nrrd": ".nrrd", "metaimage": ".mha"}[name]
    image = SimpleITK.GetImageFromArray(np.arange(60, dtype=np.uint8).reshape(3, 4, 5) % 3)
    SimpleITK.WriteImage(image, str(tmp_path / f"a{suffix}"))
    check_reader(name, sample=tmp_path / f"a{suffix}")


def test_our_reader_of_dicom_meets_the_contract(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from dicom_writing import write_rt, write_seg, write_series

    pixels = np.arange(30, dtype=np.uint8).reshape(5, 6) % 2
    frames = [(1, 0.0, pixels), (2, 3.0, 1 - pixels), (2, 0.0, pixels)]
    check_reader("dicom", sample=write_seg(tmp_path / "seg", frames, {1: "a", 2: "b"}))
    write_series(tmp_path / "study" / "ct", [0, 3])
    square = [[1.0, 1.0, 3.0], [5.0, 1.0, 3.0], [5.0, 9.0, 3.0]]
    write_rt(tmp_path / "study" / "rt.dcm", {"a": [("CLOSED_PLANAR", square)]})
    check_reader("dicom", sample=tmp_path / "study" / "rt.dcm")


def test_the_command_takes_a_sample(tmp_path: Path) -> None:
    import nibabel

    sample = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4)), sample)
    run = CliRunner(env={"COLUMNS": "160"}).invoke
    told = run(main, ["check", "nifti", "--sample", str(sample)])
    assert (told.exit_code, "8 passed, 0 failed, 0 exempt" in told.output) == (0, True)
    told = run(main, ["check", "nifti"])
    assert "no file of the format was given" in " ".join(told.output.split())
    told = run(main, ["check", "dice", "--kind", "metric", "--sample", str(sample)])
    assert told.exit_code == 2
    with pytest.raises(TypeError, match="no option 'sampel'"):
        check_reader("nifti", sampel=sample)
