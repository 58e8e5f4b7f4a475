"""What the Tab key offers: as shells ask for it, and without torch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

from medloss.cli import COMMANDS, main


def offered(*words: str) -> list[str]:
    complete = ShellComplete(main, {}, "medloss", "_MEDLOSS_COMPLETE")
    return [item.value for item in complete.get_completions([*words[:-1]], words[-1])]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ev",), ["eval"]),
        (("--q",), ["--quiet"]),
        (("eval", "--layout-p"), ["--layout-prediction"]),
        (("eval", "-m", "ns"), ["nsd"]),
        (("eval", "-m", "dice,hd"), ["dice,hd", "dice,hd95"]),
        (("eval", "--profile", "brats"), ["brats2023", "brats2026"]),
        (("eval", "--loss", "boundary_"), ["boundary_dou"]),
        (("eval", "--reader", "nif"), ["nifti", "nifti_pair"]),
        (("eval", "--preset", "top"), ["topcow"]),
        (("compare", "-m", "normal"), ["normalized_surface_dice"]),
        (("study", "--losses", "dice,dice_t"), ["dice,dice_topk"]),
        (("nnunet-trainer", "-m", "dsc"), ["dsc"]),
        (("info", "simo"), ["simota", "simota_retinanet"]),
        (("warmup", "al"), ["all"]),
    ],
)
def test_names_are_completed(words: tuple[str, ...], expected: list[str]) -> None:
    assert offered(*words) == expected


def test_every_command_is_offered() -> None:
    assert offered("") == list(COMMANDS)


def test_a_shell_is_answered_without_torch() -> None:
    """As bash asks; that its answer is right shows that the check can fail."""
    code = (
        "import sys; from medloss.cli import main\n"
        "try: main(prog_name='medloss')\n"
        "finally: assert not {'torch', 'monai', 'numba', 'rich'} & {*sys.modules}, sys.modules\n"
    )
    words = {"COMP_WORDS": "medloss eval -m ns", "COMP_CWORD": "3"}
    asked = {"_MEDLOSS_COMPLETE": "zsh_complete", **words}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked}
    )
    assert done.stdout.split("\n")[:2] == ["plain", "nsd"], done.stderr
    assert done.stderr == ""
