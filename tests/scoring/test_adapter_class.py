from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import torch
from scoring.adapted import (
    RECORDS,
    SPACING,
    Y_PRED,
    Dice,
    Hausdorff95,
    SurfaceDice,
    Y,
    channels,
    close,
)

from medloss.offers.records import Metric
from medloss.scoring import Case, Status
from medloss.scoring.adapter import FactMetric, adapt
from medloss_boundary import metrics as boundary


def test_the_signature_is_complete():
    names = list(inspect.signature(SurfaceDice).parameters)
    assert names == [
        "include_background",
        "reduction",
        "get_not_nans",
        "num_classes",
        "spacing_mm",
        "missed",
        "both_empty",
        "preset",
        "ignore_index",
        "distance_metric",
        "tolerance_mm",
    ]
    defaults = {p.name: p.default for p in inspect.signature(SurfaceDice).parameters.values()}
    assert defaults["include_background"] is False
    assert defaults["tolerance_mm"] == 1.0
    assert inspect.signature(Dice).parameters["include_background"].default is True


def test_the_class_has_the_name_and_the_words_of_its_metric():
    assert Hausdorff95.__name__ == "Hausdorff95Metric"
    assert Hausdorff95.__module__ == "medloss.metrics"
    assert Hausdorff95.__doc__.splitlines()[0] == RECORDS["hausdorff95"].summary
    assert "num_classes" in Hausdorff95.__doc__


def test_an_option_that_every_metric_has_is_refused():
    def clash(counts, *, missed=1):
        return 0.0

    about = Metric(
        name="c", target="m:c", family="f", summary="-", facts=("counts",), better="lower"
    )
    with pytest.raises(TypeError, match="c: the option missed is one that every metric has"):
        adapt(about, clash)


def test_a_function_may_take_any_option():
    about = Metric(
        name="c", target="m:c", family="f", summary="-", facts=("counts",), better="lower"
    )
    metric = adapt(about, lambda counts, **options: options["weight"] * counts.tp)(weight=2.0)
    close(metric(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)), [[8.0]])


def test_copies_keep_options_and_values():
    metric = SurfaceDice(tolerance_mm=2.0, spacing_mm=SPACING)
    metric(channels(Y_PRED), channels(Y))
    for twin in (copy.copy(metric), copy.deepcopy(metric)):
        assert twin.options == {"tolerance_mm": 2.0}
        assert isinstance(twin, FactMetric)
        assert twin.aggregate() == metric.aggregate()
    twin = copy.deepcopy(metric)
    twin.reset()
    assert metric.get_buffer() is not None


def test_classes_of_the_host_pickle():
    from medloss.metrics import NormalizedSurfaceDiceMetric

    metric = NormalizedSurfaceDiceMetric(tolerance_mm=2.0, spacing_mm=SPACING)
    metric(channels(Y_PRED), channels(Y))
    twin = pickle.loads(pickle.dumps(metric))
    assert type(twin) is NormalizedSurfaceDiceMetric
    assert twin.statuses() == metric.statuses()
    assert twin.aggregate() == metric.aggregate()


def test_the_metric_and_a_case_agree():
    metric = Hausdorff95(spacing_mm=SPACING, num_classes=3)
    values = metric(Y_PRED, Y)
    for item in range(3):
        case = Case(Y[item, 0].numpy(), Y_PRED[item, 0].numpy(), labels=[1, 2], spacing_mm=SPACING)
        for index, label in enumerate((1, 2)):
            if case.status(label) is Status.OK:
                assert values[item, index] == boundary.hausdorff95(case.surfaces(label))
