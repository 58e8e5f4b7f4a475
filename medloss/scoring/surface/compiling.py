"""Decorators of the loops over label maps."""

from __future__ import annotations

from medloss.runtime.compiling import Loops

_loops = Loops("metrics")
kernel, part = _loops.kernel, _loops.part
