"""The demo: a bundle trained, the half that it never saw inferred, and that scored."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import medloss

NAME = "brain_tissue_mr"
LABELS = "1=grey matter,2=white matter"
NEEDS = ("fire", "ignite", "jsonschema", "nilearn", "yaml")
"""Modules of the extra ``demo``."""

FOLDERS = ("data", "models", "predictions", "scores")
"""What the demo writes, in this order."""

Say = Callable[[str], None]


def demo_bundle() -> Path:
    """The folder of the demo's bundle: in the wheel, or beside the package in a checkout.

    Raises:
        ValueError: it is in neither place.
    """
    package = Path(medloss.__file__).resolve().parent
    places = [parent / "bundles" / NAME for parent in (package, package.parent)]
    for place in places:
        if place.is_dir():
            return place
    raise ValueError(f"the bundle {NAME} is not in {' nor in '.join(map(str, places))}")


def check_demo(output: Path, *, force: bool) -> None:
    """Refuse before anything is done.

    Raises:
        ValueError: a package is missing.
        FileExistsError: the folder holds what may be somebody's.
    """
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"the demo needs {' and '.join(missing)}: pip install 'medloss[demo]', or "
            "pip install '.[demo]' in a checkout"
        )
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file; expected a folder, or none")
    there = sorted(path.name for path in output.iterdir()) if output.is_dir() else []
    own = {*there} <= {*FOLDERS}
    if there and not (force and own):
        raise FileExistsError(
            f"{output} holds {', '.join(there[:4])}; name a new folder"
            + (", or --force to run the demo again in this one" if own else "")
        )


def demo_steps(output: Path, epochs: int | None = None) -> dict[str, list[str]]:
    """The commands of the demo, by what they do.

    Args:
        output: folder of everything that is written.
        epochs: of the training; the bundle's by default.
    """
    data, models, predictions, scores = (str(output.resolve() / name) for name in FOLDERS)
    run = [sys.executable, "-m", "monai.bundle", "run", "--dataset_dir", data, "--ckpt_dir", models]
    length = [] if epochs is None else ["--epochs", str(epochs)]
    return {
        "train on the back of the brain": [*run, "--config_file", "configs/train.json", *length],
        "infer the front, which was held out": [
            *(*run, "--config_file", "configs/inference.json", "--output_dir", predictions)
        ],
        "score it": [
            *(sys.executable, "-m", "medloss", "eval", predictions, f"{data}/labelsTs"),
            *("--labels", LABELS, "--output", scores, "--force"),
        ],
    }


def run_demo(output: Path, *, epochs: int | None, force: bool, say: Say) -> int:
    """Run all of it; the exit code of the first step that fails, or 0.

    Args:
        output: folder of everything that is written.
        epochs: of the training; the bundle's by default.
        force: run again in a folder of an earlier demo.
        say: takes each line for the user.

    Raises:
        ValueError: a package, or the bundle, is missing.
        FileExistsError: the folder holds something else.
    """
    bundle = demo_bundle()
    check_demo(output, force=force)
    steps = demo_steps(output, epochs)
    for number, (what, command) in enumerate(steps.items(), 1):
        say(f"[{number}/{len(steps)}] {what}")
        code = subprocess.run(command, cwd=bundle, check=False).returncode
        if code:
            say(f"This step ended with exit code {code}: {' '.join(command)}  (in {bundle})")
            return code
    return 0
