"""The overlay with boundary loss, ramp, cached maps and a table of terms."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from bundles.tiny import BUNDLES, Bundle, hippocampus
from monai.utils import set_determinism

ROOT = BUNDLES / "hippocampus_mr"


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    held_out, label_folder = hippocampus(tmp_path / "data")
    monkeypatch.syspath_prepend(ROOT)
    yield Bundle(ROOT, tmp_path / "data", tmp_path, held_out, label_folder)
    set_determinism(seed=None)


def test_the_table_shows_the_ramp_and_every_class(bundle: Bundle) -> None:
    workflow = bundle.workflow("train", "boundary", epochs=3)
    workflow.run()
    workflow.finalize()
    table = bundle.out / "eval" / "loss_terms.csv"
    with table.open() as file:
        rows = list(csv.DictReader(file))
    weights = {int(row["epoch"]): float(row["boundary/weight"]) for row in rows}
    assert weights == pytest.approx({1: 0.0, 2: 0.05, 3: 0.1})
    assert {float(row["dice/weight"]) for row in rows} == {1.0}
    assert all(float(row["boundary/value"]) > -30 for row in rows)
    assert any("posterior" in name for name in rows[0])


def test_maps_are_made_once_and_come_along(bundle: Bundle) -> None:
    workflow = bundle.workflow("train", "boundary")
    item = workflow.parser.get_parsed_content("train#dataset")[0]
    assert item["distance_map"].shape == (3, *item["label"].shape[1:])
    # each voxel is inside its own class and nowhere else
    inside = item["distance_map"].as_tensor() < 0
    assert inside.sum(0).max() == 1
    for label in range(3):
        assert bool((inside[label] == (item["label"].as_tensor()[0] == label)).all())
    cached = workflow.parser.get_parsed_content("train#dataset")._cache[0]
    assert "distance_map" in cached
    workflow.finalize()
