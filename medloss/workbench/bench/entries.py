"""What every suite does with an entry: note why it failed, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from medloss.workbench.bench.measure import Measured
from medloss.workbench.bench.results import Entry


def failed(entry: Entry, error: Exception) -> Entry:
    """The entry of something that raised."""
    text = " ".join(str(error).split())
    return replace(entry, status="failed", reason=f"{type(error).__name__}: {text}"[:400])


def measured(entry: Entry, times: Mapping[str, Measured], extra: Mapping[str, int]) -> Entry:
    """The entry with its times and memory, as far as it took part."""
    found = times.get(entry.name, Measured())
    return replace(
        entry,
        wall_s=tuple(found.wall_s),
        cpu_s=tuple(found.cpu_s),
        extra_bytes=extra.get(entry.name),
    )
