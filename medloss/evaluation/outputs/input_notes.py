"""What a study says of its inputs: what was left out, changed or brought to another grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.records import CaseResult
from medloss.evaluation.score import EvalPlan

_MOST_LINES = 10
_MOST_NAMES = 20


def input_notes(cases: Sequence[CaseResult], plan: EvalPlan) -> Iterator[str]:
    """One line for each thing that the user should know, none for a study of plain files."""
    inputs = plan.inputs
    if inputs.left_out:
        many = len(inputs.left_out)
        what = (
            "reference without a prediction is"
            if many == 1
            else "references without a prediction are"
        )
        yield f"{many} {what} left out: {_names(inputs.left_out)}"
    if inputs.passed_over:
        yield f"Passed over, as no image of a case: {_names(inputs.passed_over)}"
    sides = [("predictions", inputs.remap_prediction), ("references", inputs.remap_reference)]
    if inputs.remap_prediction == inputs.remap_reference:
        sides = [("all files", inputs.remap_prediction)]
    for side, changes in sides:
        if changes:
            changed = ", ".join(f"{old} to {new}" for old, new in changes.items())
            yield f"Labels changed in {side}: {changed}"
    if inputs.ignore_label is not None:
        yield f"Voxels with label {inputs.ignore_label} in the reference do not count"
    for name in plan.regions:
        yield f"Region {name}: labels {_members(plan.regions[name], plan)}"
    noted = [(case.pair.name, note) for case in cases for note in case.notes]
    for name, note in noted[:_MOST_LINES]:
        yield f"{name}: {note}"
    if len(noted) > _MOST_LINES:
        yield f"... and {len(noted) - _MOST_LINES} more such notes, in the JSON file"


def _members(labels: Sequence[Label], plan: EvalPlan) -> str:
    return ", ".join(f"{label} {plan.name(label)}".rstrip() for label in labels)


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
