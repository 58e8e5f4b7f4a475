"""Bundles that run in this process and leave no trace in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from bundles.tiny import BUNDLES, MAKERS, Bundle
from monai.bundle import ConfigWorkflow
from monai.utils import set_determinism


@pytest.fixture(scope="module", params=MAKERS)
def bundle(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bundle]:
    out = tmp_path_factory.mktemp(request.param)
    held_out, label_folder = MAKERS[request.param](out / "data")
    with pytest.MonkeyPatch.context() as patch:
        # A bundle's own code is imported from its root; MONAI puts it there too, for good.
        patch.syspath_prepend(BUNDLES / request.param)
        yield Bundle(BUNDLES / request.param, out / "data", out, held_out, label_folder)
    for module in [name for name in sys.modules if name.split(".")[0] == "scripts"]:
        del sys.modules[module]
    set_determinism(seed=None)


@pytest.fixture(scope="module")
def trained(bundle: Bundle) -> ConfigWorkflow:
    """The training workflow after one epoch on the tiny data."""
    workflow = bundle.workflow("train")
    workflow.run()
    workflow.finalize()
    return workflow
