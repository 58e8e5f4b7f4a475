"""The plugin that the documentation walks through, and a new one: installed as a user would."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from medloss.workbench.new_plugin import write_plugin

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "medloss-topk"

IN_A_BUNDLE = """
import torch
from monai.bundle import ConfigParser
parser = ConfigParser({
    "dotted": {"_target_": "medloss_topk.hardest.HardestVoxelsLoss", "softmax": True, "k": 0.5},
    "module": {"_target_": "medloss.losses.HardestVoxelsLoss", "softmax": True, "k": 0.5},
    "factory": {"_target_": "medloss.loss", "name": "hardest_voxels", "softmax": True, "k": 0.5},
})
parser.parse()
z = torch.tensor([[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]])[None, :, None]
y = torch.tensor([[[[0, 1, 2, 0]]]])
losses = [parser.get_parsed_content(way) for way in ("dotted", "module", "factory")]
print([round(loss(z, y).item(), 6) for loss in losses])
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A throw-away environment that sees this one's packages and has both plugins installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    # site.addsitedir also follows the .pth files there, such as that of an editable install
    here = sysconfig.get_path("purelib")
    (site / "parent.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    # pip leaves a build folder beside the source: build from a copy
    source = shutil.copytree(EXAMPLE, folder / "medloss-topk")
    write_plugin("medloss-my-lab", folder)
    command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, str(source), str(folder / "medloss-my-lab")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return python


def run(python: Path, *arguments: str) -> str:
    done = subprocess.run(
        [str(python), *arguments], capture_output=True, text=True, timeout=300, cwd=python.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_medloss_list_shows_it(python: Path) -> None:
    told = json.loads(run(python, "-m", "medloss", "list", "--json"))
    row = next(row for row in told["losses"] if row["name"] == "hardest_voxels")
    assert (row["distribution"], row["version"]) == ("medloss-topk", "1.0.0")
    assert "medloss-topk" in run(python, "-m", "medloss", "list", "hardest_voxels")


def test_medloss_info_shows_its_card(python: Path) -> None:
    card = run(python, "-m", "medloss", "info", "hardest_voxels")
    assert "fraction of the voxels" in card
    assert '"_target_": "medloss.losses.HardestVoxelsLoss"' in card


def test_a_bundle_config_reaches_it_in_three_ways(python: Path) -> None:
    assert run(python, "-c", IN_A_BUNDLE).splitlines()[-1] == "[0.8922, 0.8922, 0.8922]"


def test_a_new_plugin_meets_the_contract_as_it_is(python: Path) -> None:
    told = run(python, "-m", "medloss", "check", "--plugin", "medloss-my-lab", "--seconds", "0")
    assert " 0 failed" in told
    assert "loss medloss-my-lab:my_lab_dice" in told
    assert "metric medloss-my-lab:my_lab_f_score" in told


def test_the_tests_of_a_new_plugin_pass(python: Path) -> None:
    tests = python.parents[1] / "medloss-my-lab" / "tests"
    few = "values or finite or card"  # of the contract, which has just been held to whole
    told = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), "-k", few)
    assert " passed" in told


def test_it_is_not_installed_here() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "medloss", "list", "hardest_voxels"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "nothing is called 'hardest_voxels'" in done.stderr
