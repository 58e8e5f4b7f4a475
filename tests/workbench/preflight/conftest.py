"""Kernels for every type that is tried would have to be compiled first."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def reference_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLOSS_BACKEND", "reference")
