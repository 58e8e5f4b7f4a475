"""Readers of plugins: found, kept apart from medloss's own, and isolated when they break."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import medloss
from medloss.cli import main
from medloss.evaluation.reading.formats import matches, overruled, own_readers
from medloss.evaluation.reading.images import case_name, read_image
from medloss.evaluation.reading.stored import CaseError
from medloss.offers.host import Host, host

HOOK = """
from medloss import Reader, hookimpl

@hookimpl
def medloss_readers():
    yield Reader(name="grid", target="medloss_{name}_files:read_grid", summary="Text.", {claim})
"""

FILES = """
import numpy as np
from medloss.readers import CaseError, Stored, Unplaced, read_file

def read_grid(path):
    words = read_file(path).decode("latin-1").split()
    if words[:1] != ["GRID"]:
        raise CaseError(f"{{path}} is no grid")
    array = np.array(words[1:], dtype=np.uint8).reshape(2, 2, 2, order="F")
    return Stored(array, np.diag([1.0, 2.0, 3.0, 1.0]), 3, note="read by {name}")

def is_grid(path):
    return path.is_file() and path.read_bytes().startswith(b"GRID")

def fails(path):
    raise KeyError("inside")
"""

Add = Callable[..., None]


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """Install a plugin with one reader."""
    folder = tmp_path / "installed"
    folder.mkdir()

    def install(name: str, claim: str, hook: str = HOOK, files: str = FILES) -> None:
        (folder / f"medloss_{name}.py").write_text(hook.format(name=name, claim=claim))
        (folder / f"medloss_{name}_files.py").write_text(files.format(name=name))
        info = folder / f"medloss_{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: medloss-{name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[medloss]\n{name} = medloss_{name}\n")
        host.cache_clear()

    monkeypatch.syspath_prepend(str(folder))
    yield install
    for module in [m for m in sys.modules if m.startswith("medloss_")]:
        if str(folder) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]
    host.cache_clear()


@pytest.fixture
def grid(tmp_path: Path) -> Callable[[str], Path]:
    def write(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("GRID 0 1 0 1 0 0 2 2")
        return path

    return write


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "140"}).invoke(main, [*map(str, arguments)])


BY_SUFFIX, BY_CONTENT = "suffixes=('.grid',)", "claims='medloss_{0}_files:is_grid'"


@pytest.mark.parametrize("claim", [BY_SUFFIX, BY_CONTENT.format("shiny")])
def test_a_plugin_reads_files_for_eval(
    add: Add, grid: Callable[[str], Path], tmp_path: Path, claim: str
) -> None:
    add("shiny", claim)
    name = "a.grid" if claim == BY_SUFFIX else "a"
    pred, ref = grid(f"pred/{name}"), grid(f"ref/{name}")
    image = read_image(pred)
    assert (image.spacing_mm, image.array[1, 1, 0]) == ((1, 2, 3), 1)
    assert case_name(ref) == "a"
    told = run("eval", pred.parent, ref.parent, "-m", "dice", "--json", tmp_path / "out.json")
    assert told.exit_code == 0, told.output
    (case,) = json.loads((tmp_path / "out.json").read_text())["cases"]
    assert case["case"] == "a"
    assert set(case["notes"]) == {"read by shiny"}
    assert "medloss-shiny 1" in run("list", "--kind", "reader", "--long").output
    assert "medloss_shiny_files:read_grid" in run("info", "grid").output


def test_listing_does_not_import_the_reader(add: Add) -> None:
    add("shiny", BY_SUFFIX)
    assert [r.name for r in medloss.list_readers()].count("grid") == 1
    assert "medloss_shiny_files" not in sys.modules


def test_a_suffix_of_ours_stays_ours_until_the_other_is_asked_for(
    add: Add, grid: Callable[[str], Path], save: Callable[..., Path]
) -> None:
    add("rival", "suffixes=('.nii', '.nii.gz')")
    ours = save("a.nii", np.eye(3, dtype=np.uint8)[..., None])
    assert read_image(ours).array.shape == (3, 3, 1)
    (warning,) = overruled([ours])
    assert ".nii is read by medloss:nifti and not by medloss-rival:grid" in warning
    assert not list(overruled([ours], "medloss-rival:grid"))
    assert not list(overruled([Path("a.nrrd")]))
    told = run("eval", ours, ours, "-m", "dice")
    assert (told.exit_code, "medloss:nifti and not by medloss-rival:grid" in told.output) == (0, 1)
    theirs = grid("b.nii")
    told = run("eval", theirs, theirs, "-m", "dice", "--reader", "grid")
    assert told.exit_code == 0
    assert "Warning" not in told.output
    assert "read by rival" in told.output


def test_two_plugins_that_claim_one_file_are_both_named(
    add: Add, grid: Callable[..., Path]
) -> None:
    add("one", BY_SUFFIX)
    add("two", BY_SUFFIX)
    path = grid("a.grid")
    with pytest.raises(CaseError, match=r"medloss-one:grid .* and medloss-two:grid .*--reader"):
        read_image(path)
    told = run("eval", path, path, "-m", "dice", "--reader", "medloss-two:grid")
    assert "read by two" in told.output
    told = run("eval", path, path, "--reader", "grit")
    assert told.exit_code == 2
    assert "did you mean grid" in told.output


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (FILES.replace("words = ", "words = {{}}['x'] or "), "failed with KeyError: 'x'"),
        (
            FILES.replace("return Stored", "return (1,) or Stored"),
            "returned tuple; expected Stored",
        ),
        ("raise SystemError('boom')\n", "cannot be imported"),
    ],
)
def test_a_reader_that_breaks_fails_its_case_alone_and_is_named(
    add: Add, grid: Callable[..., Path], save: Callable[..., Path], files: str, reason: str
) -> None:
    add("bad", BY_SUFFIX, files=files)
    for side in ("pred", "ref"):
        grid(f"{side}/a.grid")
        save(f"{side}/b.nii", np.ones((3, 3, 3), np.uint8))
    folder = grid("pred/a.grid").parents[1]
    told = run("eval", folder / "pred", folder / "ref", "-m", "dice")
    assert told.exit_code == 1
    words = " ".join(told.output.split())
    assert "medloss-bad:grid" in words
    assert reason in words
    assert "b 1 1.0000" in words or "1.000" in words


def test_a_claim_that_fails_is_warned_about_and_claims_nothing(
    add: Add, grid: Callable[..., Path]
) -> None:
    add("bad", "claims='medloss_bad_files:fails'")
    with pytest.warns(UserWarning, match="medloss-bad:grid .*cannot tell of .*KeyError: 'inside'"):
        assert not matches(grid("a"))


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ("", "suffixes, claims: expected one of them"),
        ("suffixes=('GRID',)", "suffixes: expected small letters after a dot"),
        ("claims='is_grid'", "claims: expected 'module:function'"),
    ],
)
def test_a_bad_record_is_a_broken_plugin(add: Add, claim: str, reason: str) -> None:
    add("bad", claim)
    (plugin,) = [p for p in Host().plugins if p.distribution == "medloss-bad"]
    assert plugin.state == "broken"
    assert reason in plugin.reason


def test_our_own_readers_are_what_the_table_says() -> None:
    for offer in own_readers():
        assert callable(offer.load())
        assert offer.record.summary


def test_eval_on_nifti_imports_no_library_of_another_format(save: Callable[..., Path]) -> None:
    path = save("a.nii.gz", np.ones((3, 3, 3), np.uint8))
    code = (
        "import sys; from medloss.cli import main; "
        f"main(['eval', {str(path)!r}, {str(path)!r}, '-m', 'dice'], standalone_mode=False); "
        "print('HEAVY', sorted({'pydicom', 'highdicom', 'tifffile', 'zarr', 'PIL', 'nibabel', "
        "'medloss.evaluation.reading.dicom'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
