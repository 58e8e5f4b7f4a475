"""What was done to the files of all cases before they were scored, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medloss.decision import Decoding
from medloss.evaluation.inputs.geometry import REORIENTED, RESAMPLED
from medloss.evaluation.records import CaseResult


def preparation(inputs: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each thing that was asked for and changes what the files mean.

    Args:
        inputs: what was asked for, as ``summary.json`` holds it.

    Example:
        >>> [*preparation({"names": {"1": ["liver"]}, "remap_reference": {"2": 1}})]
        ['Labels changed in references: 2 to 1']
    """
    if only := inputs.get("only"):
        yield f"Only cases called {', '.join(only)}"
    if reader := inputs.get("reader"):
        yield f"Files were read by {reader}"
    if axes := inputs.get("axes"):
        yield f"Axes of files that do not name them are {axes}"
    if size := inputs.get("spacing_mm"):
        yield f"Files that state no voxel size have one of {' x '.join(f'{x:g}' for x in size)} mm"
    if inputs.get("contours") == "strict":
        yield "Voxels whose centres lie on the line of a contour are outside"
    if inputs.get("channels") == "independent":
        yield "Each channel of a stack is a class of its own"
    if (least := inputs.get("threshold")) is not None:
        yield f"A class of its own is where its probability is at least {least:g}"
    if decode := inputs.get("decode"):
        yield Decoding.of_record(decode).sentence()
    if order := inputs.get("region_order"):
        yield f"Channels of regions write the labels {', '.join(map(str, order))}, one over another"
    if inputs.get("instances"):
        by = inputs.get("label_divisor")
        whose = "one class" if by is None else f"the class that is the value by {by}, rounded down"
        yield (
            f"Each value of a map is an object of {whose}: metrics of lesions, instances and "
            f"components take these objects, other metrics all of them together"
        )
    changes = [inputs.get(f"remap_{side}", {}) for side in ("prediction", "reference")]
    sides = [("predictions", changes[0]), ("references", changes[1])]
    if changes[0] == changes[1]:
        sides = [("all files", changes[0])]
    for side, new in sides:
        if new:
            told = ", ".join(f"{old} to {label}" for old, label in new.items())
            yield f"Labels changed in {side}: {told}"
    if (ignored := inputs.get("ignore_label")) is not None:
        yield f"Voxels with label {ignored} in the reference do not count"


def resampled(cases: Sequence[CaseResult]) -> Iterator[str]:
    """A sentence for each way in which predictions were brought to another grid, if any were."""
    for note in (RESAMPLED, REORIENTED):
        many = sum(any(each.startswith(note) for each in case.notes) for case in cases)
        if many:
            told = note.replace("prediction", "prediction was", 1)
            yield f"In {many} {'case' if many == 1 else 'cases'} the {told}"
