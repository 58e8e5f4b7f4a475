"""What the compiled backend did in a call: compile kernels, or load them from its disk cache."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

_MODULES = (
    "medloss.sums.cpu.exclusive",
    "medloss.sums.cpu.independent",
    "medloss.histograms.cpu",
)


class Kernels(NamedTuple):
    """Kernels compiled and loaded since the process started."""

    compiled: int = 0
    loaded: int = 0

    def since(self, before: Kernels) -> str:
        """What happened in between, to read.

        Example:
            >>> Kernels(2, 0).since(Kernels()), Kernels(2, 2).since(Kernels(2, 0))
            ('cold disk cache: 2 kernels compiled', 'warm disk cache: 2 kernels loaded')
        """
        compiled, loaded = self.compiled - before.compiled, self.loaded - before.loaded
        if compiled:
            also = f", {loaded} loaded" if loaded else ""
            return f"cold disk cache: {compiled} kernels compiled{also}"
        return f"warm disk cache: {loaded} kernels loaded" if loaded else "no new kernel needed"


def kernels() -> Kernels:
    """The count so far; does not import the backend."""
    found = [d for name in _MODULES if (m := sys.modules.get(name)) for d in _dispatchers(m)]
    return Kernels(
        sum(sum(d.stats.cache_misses.values()) for d in found),
        sum(sum(d.stats.cache_hits.values()) for d in found),
    )


def _dispatchers(module: Any) -> list[Any]:
    """Functions with a disk cache of their own; those compiled into others have none."""
    own = [x for x in vars(module).values() if getattr(x, "__module__", "") == module.__name__]
    return [x for x in own if hasattr(x, "stats") and x.stats.cache_path]
