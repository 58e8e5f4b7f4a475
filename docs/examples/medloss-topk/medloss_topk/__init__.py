"""The plugin: what it offers. Light on purpose, so that listing imports neither torch nor this."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Loss, hookimpl


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the losses of this plugin."""
    yield Loss(
        name="hardest_voxels",
        target="medloss_topk.hardest:HardestVoxelsLoss",
        family="distribution",
        example={"softmax": True, "k": 0.1},
        breaks_graph="how many voxels count depends on the data",
    )
