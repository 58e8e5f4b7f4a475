"""Bundles of other people: each trains with our loss as with MONAI's, and is met as what it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bundles.shapes import SHAPES, Block, Shape
from click.testing import CliRunner, Result
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.utils import set_determinism

from medloss.cli import main
from medloss.integrations.bundle.choice import bundle_to_train
from medloss.workbench.study.bundle import StudyBundle
from medloss.workbench.study.runs import StudyConditions, StudyRun, parse_losses
from medloss.workbench.study.worker import Worker


@pytest.fixture(scope="module", autouse=True)
def _plain_loops() -> Iterator[None]:
    """Kernels for every type that is tried would have to be compiled first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDLOSS_BACKEND", "reference")
        yield


@pytest.fixture(scope="module", params=SHAPES)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Shape, Path]]:
    shape = SHAPES[request.param]
    root = shape.make(tmp_path_factory.mktemp(request.param) / "bundle")
    path = [*sys.path]
    yield shape, root
    sys.path[:] = path
    for module in [name for name in sys.modules if name.split(".")[0] == "scripts"]:
        del sys.modules[module]
    set_determinism(seed=None)


def losses_of_a_step(shape: Shape, root: Path, loss: Block) -> list[float]:
    """MONAI's own workflow, with this loss, for one epoch of at most two steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root)
        patch.chdir(root)
        torch.manual_seed(0)
        workflow = ConfigWorkflow(
            [str(root / "configs" / f"train{shape.suffix}")],
            meta_file=None,
            logging_file=False,
            bundle_root=str(root),
            initialize=["$monai.utils.set_determinism(seed=0)"],
            **{shape.entry: loss},
        )
        workflow.initialize()
        flat = "trainer" in workflow.parser.get()
        trainer = workflow.parser.get_parsed_content("trainer" if flat else "train#trainer")
        seen: list[float] = []

        def note(engine: Any) -> None:
            output = engine.state.output
            one = output[0] if isinstance(output, list) else output
            seen.append(float(one["loss"]))

        trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
        trainer.run()
    return seen


def test_our_loss_trains_as_monais_does(made: tuple[Shape, Path]) -> None:
    shape, root = made
    theirs = losses_of_a_step(shape, root, shape.loss)
    ours = losses_of_a_step(shape, root, shape.ours)
    assert theirs
    assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)
    assert ours[0] == pytest.approx(theirs[0], abs=1e-6), "the same weights and batch"


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def told(result: Result) -> str:
    return " ".join(result.output.split())


def test_a_preflight_tries_it_or_says_why_not(made: tuple[Shape, Path]) -> None:
    shape, root = made
    done = invoke("check", "--bundle", root)
    if shape.refused:
        assert done.exit_code == 2, done.output
        assert shape.refused in told(done)
        return
    assert done.exit_code == 0, done.output
    assert "0 defects" in told(done)
    assert len(done.output) < 3000, "short for 105 classes too"


def test_a_study_takes_it_or_says_why_not(made: tuple[Shape, Path], tmp_path: Path) -> None:
    shape, root = made
    if shape.refused:
        done = invoke("study", root, "--dry-run", "--losses", "dice", "-o", tmp_path / "out")
        assert done.exit_code == 2, done.output
        assert shape.refused in told(done)
        return
    conditions = StudyConditions(str(root), epochs=1)
    run = StudyRun(parse_losses("dice_ce", StudyBundle(conditions).activation())[0], 0, 0)
    threads = torch.get_num_threads()
    facts = Worker(conditions).run(run, tmp_path / "run", pictures=False)
    torch.set_num_threads(threads)
    assert facts["status"] in ("ok", "no_foreground"), facts
    assert "failed" not in facts["message"], facts
    assert facts["cases"] >= 1


def test_its_predictions_are_scored_or_it_says_why_not(
    made: tuple[Shape, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, root = made
    monkeypatch.chdir(tmp_path)
    references = root / "references" if shape.write.__name__ == "template" else root / "data"
    references = references / "labelsTs" if references.name == "data" else references
    labels = ("--labels", "TC=1+4,WT=1+2+4,ET=4") if shape.write.__name__ == "brats" else ()
    done = invoke("eval", references, "--bundle", root, "-m", "dice", *labels)
    if shape.not_scored:
        assert done.exit_code == 2, done.output
        assert shape.not_scored in told(done)
        return
    assert done.exit_code == 0, done.output
    cases = len([*references.iterdir()])
    assert f"{cases} of {cases} cases scored" in told(done)


def test_images_without_labels_want_a_folder_of_references(tmp_path: Path) -> None:
    root = SHAPES["whole_body"].make(tmp_path / "bundle")
    path = [*sys.path]
    done = invoke("eval", "--bundle", root, "-m", "dice")
    sys.path[:] = path
    assert done.exit_code == 2, done.output
    assert "its cases are images without 'label'; give REF" in told(done)


def test_regions_of_brats_are_scored_in_a_study(tmp_path: Path) -> None:
    bundle = StudyBundle(StudyConditions(str(SHAPES["brats"].make(tmp_path / "brats"))))
    assert bundle.classes().regions == {
        "Tumor core": (1, 4),
        "Whole tumor": (1, 2, 4),
        "Enhancing tumor": (4,),
    }


def test_roles_are_found_by_whatever_they_are_called(tmp_path: Path) -> None:
    roles = ("loss_function", "network", "train_data_loader", "max_epochs")
    found = {}
    for name in ("whole_body", "flat"):
        bundle = bundle_to_train(SHAPES[name].make(tmp_path / name))
        found[name] = [bundle.need(role) for role in roles]
    assert found == {
        "whole_body": ["loss", "network", "train#dataloader", "epochs"],
        "flat": ["lossfn", "net", "train_dataloader", "num_epochs"],
    }
