"""What a page holds of whole cases: unpacked here as the page does it, and held to the files."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from html_pages import Page, check_page
from study_folders import write_folder

from medloss.cli.eval import eval_command
from medloss.cli.report import report_command
from medloss.evaluation.outputs.report import opened_case, pictures, viewer, write_report
from medloss.evaluation.outputs.report.opened_case import PictureOptions
from medloss.evaluation.outputs.results import read_folder

HOSTILE = """</script><script>alert('x')</script>"&'<!--<img src=x onerror=alert(1)>{{ 7*7 }}"""
SHAPE = (14, 12, 10)
SCRIPT = Path(viewer.__file__).parents[1] / "pages" / "templates" / "viewer.js"


def affine_of(*mm: float) -> np.ndarray:
    """Axes of the file lead to the front, the right and the feet."""
    affine = np.zeros((4, 4))
    affine[1, 0], affine[0, 1], affine[2, 2], affine[3, 3] = mm[0], mm[1], -mm[2], 1
    return affine


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def study(path: Path, names: tuple[str, ...] = ("a",), labels: int = 2) -> Path:
    """Cases with so many labels, and values of a CT as they may be."""
    rng = np.random.default_rng(3)
    affine = affine_of(1.0, 2.0, 3.0)
    values, voxels = {}, {}
    for number, name in enumerate(names):
        reference = np.zeros(SHAPE, np.uint16)
        inside = (slice(3, 9), slice(4, 8), slice(3, 7)) if labels < 9 else (slice(1, 13),) * 3
        reference[inside] = rng.integers(0, labels + 1, reference[inside].shape)
        prediction = np.roll(reference, 1, axis=0)
        image = rng.integers(-1100, 1700, SHAPE).astype(np.float32)
        image[0, 0, 0], image[0, 0, 1] = np.nan, np.inf
        save(path / "ref" / f"{name}.nii.gz", reference, affine)
        save(path / "pred" / f"{name}.nii.gz", prediction, affine)
        save(path / "img" / f"{name}_0000.nii.gz", image, affine)
        keys = [k for k in range(1, labels + 1) if (reference == k).any()]
        values[name] = {(str(k), "dice"): 0.5 + 0.01 * number for k in keys}
        count = {str(k): int((reference == k).sum()) for k in keys}
        voxels[name] = {key: (n, n) for key, n in count.items()}
    return write_folder(
        path / "out",
        values,
        names={"1": "liver"},
        voxels=voxels,
        files=(path / "pred", path / "ref"),
        shape=SHAPE,
    )


def run(*arguments: str | Path) -> tuple[int, str]:
    found = CliRunner().invoke(report_command, [str(argument) for argument in arguments])
    return found.exit_code, " ".join(found.output.split())


def unpacked(page: Page) -> list[tuple[dict, list[bytes]]]:
    """Facts and voxels of each case."""
    found = re.findall(r"<script type=.application/json. data-facts>(.*?)</script>", page.source)
    cases = []
    for place, facts in enumerate(found):
        blocks = re.findall(rf'data-voxels="{place}\.\d+">(.*?)</script>', page.source)
        cases.append((json.loads(facts), [zlib.decompress(base64.b64decode(x)) for x in blocks]))
    return cases


def in_file(facts: dict, voxel: tuple[int, int, int]) -> tuple[int, int, int]:
    """Of a voxel that is shown as (x, y, z): here x is the file's second axis, y its first."""
    x, y, z = (a + b * i - 1 for a, b, i in zip(facts["first"], facts["step"], voxel, strict=True))
    return y, x, z


def maps(facts: dict, blocks: list[bytes], layer: int, side: str) -> np.ndarray:
    entry = facts["layers"][layer]
    found = np.frombuffer(blocks[entry[side]], f"<u{entry['bytes']}")
    return found.reshape(facts["size"][::-1]).transpose(2, 1, 0)


def load(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


@pytest.mark.parametrize("labels", [2, 300])
def test_voxels_in_the_page_are_those_of_the_files(tmp_path, labels, monkeypatch):
    monkeypatch.setattr(viewer, "_MARGIN_MM", 4.0)
    folder = study(tmp_path, labels=labels)
    assert run(folder, "--images", tmp_path / "img", "--viewer")[0] == 0
    page = check_page(folder / "report.html")
    ((facts, blocks),) = unpacked(page)
    reference, prediction, image = (
        load(tmp_path / part / name)
        for part, name in (("ref", "a.nii.gz"), ("pred", "a.nii.gz"), ("img", "a_0000.nii.gz"))
    )
    assert facts["mm"] == [2.0, 1.0, 3.0]
    assert facts["letters"] == [["R", "L"], ["A", "P"], ["S", "I"]]
    assert facts["count"] == [12, 14, 10]
    titles = [label["title"] for label in facts["labels"]]
    assert titles[0] == "1 liver"
    assert facts["layers"][0]["bytes"] == (1 if labels < 256 else 2)
    numbers = [0, *(int(title.split()[0]) for title in titles)]
    shown = {side: maps(facts, blocks, 0, side) for side in ("reference", "prediction")}
    coded = np.frombuffer(blocks[facts["image"]["block"]], np.uint8)
    assert facts["image"]["size"] == facts["size"]
    rows = np.cumsum(coded.reshape(facts["size"][::-1]), axis=2, dtype=np.uint8)
    shades = rows.transpose(2, 1, 0)
    steps = np.diff(facts["image"]["shades"])
    seen = 0
    for voxel in np.ndindex(*facts["size"]):
        place = in_file(facts, voxel)
        for side, array in (("reference", reference), ("prediction", prediction)):
            assert numbers[shown[side][voxel]] == array[place]
            seen += array[place] != 0
        if not np.isfinite(image[place]):
            assert shades[voxel] == (0 if np.isnan(image[place]) else 255)
            continue
        code, value = int(shades[voxel]), np.clip(image[place], -1050, 1600)
        most = steps[max(0, code - 1) : code + 1].max() / 2
        assert abs(facts["image"]["shades"][code] - value) <= most + 1e-9
    assert seen == (reference != 0).sum() + (prediction != 0).sum()  # none is cut off


def test_the_image_becomes_coarser_where_there_is_no_room(tmp_path, monkeypatch):
    folder = study(tmp_path)
    options = ("--images", tmp_path / "img", "--viewer")
    run(folder, *options)
    ((facts, blocks),) = unpacked(check_page(folder / "report.html"))
    labels = sum(4 * -(-len(zlib.compress(x, 6)) // 3) for x in blocks[:-1])
    monkeypatch.setattr(viewer, "ROOM_BYTES", labels + 700)
    run(folder, *options)
    page = check_page(folder / "report.html")
    ((facts, blocks),) = unpacked(page)
    image = load(tmp_path / "img" / "a_0000.nii.gz")
    factors = facts["image"]["factors"]
    assert factors == [2.0, 4.0, 1.0]  # voxels of 2, 1 and 3 mm become blocks of 4, 4 and 3
    assert "means of 2 x 4 x 1 voxels" in facts["notes"][0]
    coded = np.frombuffer(blocks[-1], np.uint8).reshape(facts["image"]["size"][::-1])
    code = np.cumsum(coded, axis=2, dtype=np.uint8)[1, 1, 1]
    block = [in_file(facts, (x, y, 1)) for x in (2, 3) for y in range(4, 8)]
    mean = np.mean([image[place] for place in block])
    assert facts["image"]["shades"][code] == pytest.approx(mean, abs=8)
    monkeypatch.setattr(viewer, "ROOM_BYTES", labels - 1)
    run(folder, *options)
    assert (
        "a is not in the viewer: its labels take 0.0 MB of the page"
        in Page(folder / "report.html").text
    )
    monkeypatch.undo()
    monkeypatch.setattr(viewer, "_MOST_VOXELS", 500)
    run(folder, *options)
    ((facts, blocks),) = unpacked(check_page(folder / "report.html"))
    reference = load(tmp_path / "ref" / "a.nii.gz")
    shown = maps(facts, blocks, 0, "reference")
    assert max(map(abs, facts["step"])) == 2
    for voxel in np.ndindex(*facts["size"]):
        assert shown[voxel] == reference[in_file(facts, voxel)]
    assert "Labels are shown at every 2 x 2 x 1 voxels alone" in facts["notes"][0]
    assert [f * s for f, s in zip(facts["image"]["factors"], (2, 2, 1), strict=True)] == [1, 1, 1]


def test_names_are_text_wherever_they_stand(tmp_path):
    folder = study(tmp_path)
    for part in ("summary.json", "cases.csv"):
        text = (folder / part).read_text()
        hostile = json.dumps(HOSTILE)[1:-1] if part.endswith("json") else HOSTILE.replace('"', "'")
        (folder / part).write_text(text.replace("liver", hostile))
    assert run(folder, "--images", tmp_path / "img", "--viewer=a")[0] == 0
    page = check_page(folder / "report.html")  # one script, which the policy names
    ((facts, _),) = unpacked(page)
    assert facts["labels"][0]["title"] == f"1 {HOSTILE}"
    assert "<script>alert" not in page.source
    opened = [given for tag, given in page.elements if "data-open" in given]
    assert {given["data-label"] for given in opened} == {f"1 {HOSTILE}", "2"}


def test_the_script_finds_its_parts_and_each_has_a_name(tmp_path):
    folder = study(tmp_path)
    run(folder, "--images", tmp_path / "img", "--viewer")
    page = check_page(folder / "report.html")
    script = SCRIPT.read_text()
    asked = set(re.findall(r'(?:part|on)\("(\w+)"\)', script))
    assert len(asked) > 12
    there = [given["data-part"] for _, given in page.elements if "data-part" in given]
    assert asked <= set(there)
    for fixed in ("viewer", "facts", "plane", "open"):
        assert any(f"data-{fixed}" in given for _, given in page.elements), fixed
        assert f"[data-{fixed}" in script
    inside = page.source[page.source.index("data-viewer") : page.source.index("data-facts")]
    for control in re.findall(r"<(?:input|select|canvas)[^>]*>", inside):
        before = inside[: inside.index(control)]
        assert "aria-label" in control or before.count("<label") > before.count("</label"), control
    assert "</script" not in script
    # Nothing is fetched, and nothing becomes markup.
    for word in ("innerHTML", "insertAdjacentHTML", "document.write", "fetch(", "eval(", "http"):
        assert word not in script


def test_the_worst_cases_are_shown_or_those_that_are_named(tmp_path, monkeypatch):
    folder = study(tmp_path, ("a", "b", "c"))
    table = read_folder(folder)

    def shown(*names: str) -> list[str]:
        return [case.name for case in pictures.viewed(table, names)]

    assert shown("") == ["a", "b", "c"]
    assert shown("c", "") == ["c", "a", "b"]
    assert shown("b") == ["b"]
    code, said = run(folder, "--viewer=nobody")
    assert code == 2
    assert "--viewer: no case is called 'nobody'; the first are 'a', 'b', 'c'" in said
    reads = []
    read = opened_case.read_case_pair
    monkeypatch.setattr(
        opened_case, "read_case_pair", lambda *given: reads.append(given[0].name) or read(*given)
    )
    write_report(folder, table, options=PictureOptions(viewer=("",)))
    assert sorted(reads) == ["a", "b", "c"]  # once each, for all pictures and the viewer


def test_cases_that_cannot_be_shown_say_why(tmp_path):
    folder = study(tmp_path, ("a", "b"))
    (tmp_path / "img" / "a_0000.nii.gz").unlink()
    changed = load(tmp_path / "ref" / "b.nii.gz").copy()
    changed[0, 0, 0] = 1
    save(tmp_path / "ref" / "b.nii.gz", changed, affine_of(1, 2, 3))
    assert run(folder, "--images", tmp_path / "img", "--viewer")[0] == 0
    page = check_page(folder / "report.html")
    assert re.search(r"b is not in the viewer: the files hold \d+ and \d+ voxels", page.text)
    assert "img holds no image of 'a'" in page.text
    ((facts, _),) = unpacked(page)
    assert facts["name"] == "a"
    assert facts["image"] is None
    assert facts["notes"][0].startswith("No image: ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--channel", "0"], "--channel is of images: give --images DIR"),
        (["--window", "ct-lung"], "--window is of images: give --images DIR"),
        (["--images", "nowhere"], "--images: nowhere does not exist"),
        (
            ["--no-pictures", "--viewer"],
            "--viewer is for the pictures of report.html, which are not wanted",
        ),
    ],
)
def test_what_would_be_ignored_is_refused(tmp_path, options, said):
    code, output = run(study(tmp_path), *options)
    assert code == 2
    assert said in output


def test_what_a_study_was_told_holds_for_the_page_that_is_made_again(tmp_path):
    study(tmp_path, ("a", "b"))
    out = tmp_path / "new"
    options = ["--images", tmp_path / "img", "--window", "ct-bone", "--viewer=b", "-m", "dice"]
    given = [tmp_path / "pred", tmp_path / "ref", *options, "--output", out, "--labels", "1,2"]
    found = CliRunner().invoke(eval_command, [str(word) for word in given])
    assert found.exit_code == 0, found.output
    page = (out / "report.html").read_bytes()
    told = json.loads((out / "summary.json").read_text())
    assert told["settings"]["pictures"] == {"window": "ct-bone", "viewer": ["b"]}
    assert told["cases"][0]["image"] == str(tmp_path / "img" / "a_0000.nii.gz")
    assert "--images" not in told["settings"]["command"]  # numbers do not depend on it
    (out / "report.html").unlink()
    assert run(out)[0] == 0
    assert (out / "report.html").read_bytes() == page
    ((facts, _),) = unpacked(check_page(out / "report.html"))
    assert facts["name"] == "b"
    assert facts["image"]["windows"][0] == ["bone window", -500.0, 1300.0]
    assert run(out, "--window=30,100", "--viewer=a")[0] == 0
    ((facts, _),) = unpacked(check_page(out / "report.html"))
    assert (facts["name"], facts["image"]["windows"][0][1:]) == ("a", [-20.0, 80.0])
    wrong = CliRunner().invoke(eval_command, ["--viewer", *map(str, given[:2])])
    assert wrong.exit_code == 2
    assert "write --viewer alone behind PRED and REF" in " ".join(wrong.output.split())
