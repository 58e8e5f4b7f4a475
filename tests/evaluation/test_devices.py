"""Scoring on a torch device: the same values, and what is said where there is none."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from interpreted import DEVICE

from medloss.cli.compare import compare_command
from medloss.cli.eval import eval_command
from medloss.evaluation.inputs.pairing import Pair, pair_paths
from medloss.evaluation.outputs.tables import versions
from medloss.evaluation.requests import DEFAULT_METRICS, choose_metric, parse_request
from medloss.evaluation.run import evaluate_all, evaluate_elsewhere
from medloss.evaluation.score import EvalPlan
from medloss.work import devices
from medloss.work.devices import chosen_device, device_name, devices_in_turn


@pytest.fixture
def pairs(save, tmp_path, monkeypatch) -> tuple[Pair, ...]:
    """Two cases of two labels, in files whose first axis is the fastest one."""
    monkeypatch.chdir(tmp_path)
    for n in range(2):
        labels = np.zeros((9, 8, 7), np.uint16)
        labels[1:4, 2:6, 1:5], labels[5:8, 3:7, 2:6] = 1, 2
        save(f"ref/c{n}.nii.gz", labels, (0.8, 1.1, 2.5))
        save(f"pred/c{n}.nii.gz", np.roll(labels, n, axis=0), (0.8, 1.1, 2.5))
    return pair_paths(tmp_path / "pred", tmp_path / "ref")


def study(device: str | None, **options) -> EvalPlan:
    names = (*DEFAULT_METRICS, "boundary_iou")
    metrics = tuple(choose_metric(parse_request(name)) for name in names)
    return EvalPlan(metrics, device=device, **options)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(eval_command, arguments)


@pytest.mark.parametrize("preset", ["deepmind", "exact", "monai"])
def test_a_device_gives_the_values_of_the_compiled_loops(pairs, preset):
    expected = evaluate_all(pairs, study(None, preset=preset))
    found = evaluate_all(pairs, study(DEVICE, preset=preset))
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.counts == theirs.counts
        for a, b in zip(mine.results, theirs.results, strict=True):
            assert (a.label, a.column, a.status) == (b.label, b.column, b.status)
            assert a.value == pytest.approx(b.value, rel=1e-12, nan_ok=True)


def test_workers_score_on_the_device_too(pairs):
    found = evaluate_elsewhere(pairs, study(DEVICE), workers=1)
    assert [*found] == evaluate_all(pairs, study(DEVICE))


def test_the_results_say_where_they_were_computed(pairs, monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "chosen_device", lambda name: None if name == "cpu" else DEVICE)
    for number, words in enumerate([("--device", "cuda"), ()]):
        done = run("pred", "ref", "--output", f"out{number}", *words)
        assert done.exit_code == 0, done.output
    on_device, plain = (
        json.loads((tmp_path / f"out{n}" / "summary.json").read_text())["settings"] for n in (0, 1)
    )
    assert on_device["device"] == device_name(DEVICE)
    assert on_device["command"].endswith("--device cuda")
    assert on_device["versions"]["torch"] == torch.__version__
    assert plain["device"] == "cpu"
    assert "torch" not in plain["versions"]
    compared = CliRunner().invoke(compare_command, ["out0", "out1"])
    assert compared.exit_code == 0, compared.output
    again = run("pred", "ref", "--output", "out0", "--resume")
    assert again.exit_code == 2
    assert "another device" in again.output


def test_without_a_device_one_sentence_says_so(pairs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = run("pred", "ref", "--device", "cuda")
    assert done.exit_code == 2
    assert f"--device cuda: torch {torch.__version__} finds no CUDA device here" in done.output


def test_which_device_is_meant(monkeypatch):
    assert chosen_device("cpu") is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [chosen_device(name) for name in ("cuda", "cuda:1")] == ["cuda", "cuda:1"]
    with pytest.raises(ValueError, match="--device cuda:2: there is no such device"):
        chosen_device("cuda:2")
    with pytest.raises(ValueError, match="expected cpu, cuda or cuda:N, got 'gpu'"):
        chosen_device("gpu")
    names = itertools.islice(devices_in_turn("cuda"), 3)
    assert [*names] == ["cuda:0", "cuda:1", "cuda:0"]
    assert next(devices_in_turn("cuda:1")) == "cuda:1"
    assert next(devices_in_turn(None)) is None


def test_the_workers_of_a_cluster_score_on_processors(pairs):
    done = run("pred", "ref", "--device", "cuda", "--scheduler", "tcp://nobody:1")
    assert done.exit_code == 2
    assert "its workers score on the CPU; drop --device" in done.output


def test_only_a_device_needs_torch():
    assert "torch" in versions(study("cpu"))
    assert "torch" not in versions(study(None))
