"""``medloss.evaluate``: the command ``medloss eval`` for notebooks and scripts."""

from __future__ import annotations

import dataclasses
import inspect
import re
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloss.evaluation.planning import Definition, Settings
from medloss.evaluation.profiles.schema import INPUTS
from medloss.evaluation.settings import InputSettings
from medloss.offers.host import PluginError

if TYPE_CHECKING:
    from medloss.evaluation.evaluated import Evaluation
    from medloss.evaluation.inputs.pairing import FoundCases
    from medloss.evaluation.reading.stored import Channels, Rule
    from medloss.evaluation.run import Evaluator
    from medloss.scoring.presets import BothEmpty, Missed

_CALLED = {
    "spacing": "spacing_mm",
    "metric": "metrics",
    "loss": "losses",
    "PRED": "predictions",
    "REF": "references",
}
"""Arguments that are called otherwise than the command's options."""


def evaluate(
    predictions: Any = None,
    references: Any = None,
    *,
    metrics: str | Sequence[str] = (),
    losses: str | Sequence[str] = (),
    profile: str | Path | Mapping[str, Any] | None = None,
    preset: str | None = None,
    missed: Missed | None = None,
    both_empty: BothEmpty | None = None,
    labels: str | Path | Mapping[Any, Any] | Sequence[int] | None = None,
    spacing_mm: float | Sequence[float] | None = None,
    axes: str | None = None,
    names: Sequence[str] | None = None,
    manifest: str | Path | None = None,
    layout: str | None = None,
    layout_prediction: str | None = None,
    layout_reference: str | None = None,
    one_reference: bool = False,
    only: str | Sequence[str] = (),
    only_predicted: bool = False,
    probabilities: bool = False,
    ignore_label: int | None = None,
    remap: str | Mapping[int, int] | None = None,
    remap_prediction: str | Mapping[int, int] | None = None,
    remap_reference: str | Mapping[int, int] | None = None,
    threshold: float | None = None,
    decode: str | Path | Mapping[str, Any] | None = None,
    instances: bool = False,
    label_divisor: int | None = None,
    resample: bool = False,
    channels: Channels | None = None,
    contours: Rule | None = None,
    reader: str | None = None,
    lesions: bool = False,
    cluster: str | None = None,
    by: str | Sequence[str] = (),
    accept: str | Sequence[str] = (),
    title: str | None = None,
    device: str = "cpu",
    workers: int = 1,
) -> Evaluation:
    """Score predictions against references, in millimetres: the same numbers as ``medloss eval``.

    Args:
        predictions: two folders or two files with ``references``; lists in one order, or mappings
            by case, of paths or of arrays (numpy, torch, MONAI's with their place); or one array.
            An array holds labels along two or three axes, or probabilities with ``axes``.
        references: likewise.
        metrics: names as of ``medloss list``, with options: ``"hausdorff95"``,
            ``"normalized_surface_dice:tolerance_mm=2"``; by default six of them.
        losses: likewise.
        profile: a definition by name, from a file, or as a mapping; see ``docs/profiles.md``.
        preset: whose definition of surfaces and percentiles.
        missed: what a distance counts when only one side has the label: ``"diagonal"``,
            ``"inf"``, ``"exclude"`` or so many mm.
        both_empty: ``"exclude"`` or ``"perfect"``, when neither side has it.
        labels: ``{"core": 1, "whole": [1, 2]}``, ``[1, 2]``, a text as of the command, or a JSON
            file; by default every label found.
        spacing_mm: voxel size along the axes of arrays, or of files that do not state theirs.
        axes: what the axes of arrays are, such as ``"zyx"`` or ``"cxyz"`` with classes first.
        names: of the cases of lists.
        manifest: table of cases, instead of ``predictions`` and ``references``.
        layout: and all others: as the options of ``medloss eval``, see its help.
        layout_prediction: see there.
        layout_reference: see there.
        one_reference: see there.
        only: see there.
        only_predicted: see there.
        probabilities: see there.
        ignore_label: see there.
        remap: see there; also as a mapping.
        remap_prediction: see there.
        remap_reference: see there.
        threshold: see there.
        decode: see there; a mapping ``{"thresholds": [0, 0.4]}`` too.
        instances: see there.
        label_divisor: see there.
        resample: see there.
        channels: see there.
        contours: see there.
        reader: see there.
        lesions: also a record of each lesion.
        cluster: see there.
        by: see there; one text or several.
        accept: limits of acceptance, as the option; one text or several.
        title: of the page.
        device: see there.
        workers: processes that score files; arrays are scored in this one. A script with more
            than 1 does its work below ``if __name__ == "__main__":``.

    Returns:
        Tables, and a page of them on request.

    Raises:
        ValueError: an argument is wrong or contradicts another one, or no case can be scored.

    Example:
        >>> import numpy as np
        >>> reference = np.zeros((16, 16, 8), dtype=np.uint8)
        >>> reference[4:12, 4:12, 2:6] = 1
        >>> found = evaluate(
        ...     np.roll(reference, 1, axis=0), reference, metrics="dice", spacing_mm=(1, 1, 2.5)
        ... )
        >>> found.mean("dice")
        0.875
    """
    given = {name: value for name, value in locals().items() if name != "given"}
    try:
        return _evaluate(given)
    except (ValueError, PluginError) as error:
        raise ValueError(_as_arguments(str(error))) from error


def _evaluate(given: dict[str, Any]) -> Evaluation:
    from medloss.evaluation.evaluated import Evaluation
    from medloss.evaluation.grouping import checked_grouping
    from medloss.evaluation.outputs.acceptance import parse_limits
    from medloss.evaluation.outputs.tables import columns, known_labels, make_table, with_origin
    from medloss.evaluation.run import evaluate_all
    from medloss.evaluation.score import check_options, complete
    from medloss.work.devices import chosen_device
    from medloss.work.engine import Interrupted
    from medloss.work.jobs import CannotStart

    outputs = {"cluster": given["cluster"], "by": _texts(given["by"])}
    outputs["accept"] = _texts(given["accept"])
    said = Settings.of(_inputs(given), _definition(given), outputs)
    found, evaluator = _cases(given, said.inputs)
    grouping = checked_grouping(said.outputs["cluster"], said.outputs["by"], found.pairs)
    device = chosen_device(given["device"])
    plan = dataclasses.replace(said.plan(found), device=device, grouping=grouping)
    if said.outputs["accept"]:
        parse_limits(said.outputs["accept"], columns(plan), known_labels(plan))
    if given["lesions"]:
        from medloss.evaluation.lesions import LesionTable

        plan = dataclasses.replace(plan, lesions=LesionTable())
        check_options(plan)
    for sentence in said.inputs.overruled(found):
        warnings.warn(sentence, stacklevel=4)
    decode = plan.inputs.decode
    if decode and (told := decode.fitted_to(pair.name for pair in found.pairs)):
        warnings.warn(told, stacklevel=4)
    workers = given["workers"]
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers: expected a number of at least 1, got {workers!r}")
    try:
        cases = evaluate_all(found, plan, workers=workers, evaluator=evaluator)
    except CannotStart as error:
        raise ValueError(
            f"workers: {error}; a script that has more than 1 needs 'if __name__ == \"__main__\":' "
            f"before what it does, for each worker reads it too"
        ) from error
    except Interrupted as interrupt:
        raise KeyboardInterrupt from interrupt
    table = make_table(complete(cases, plan), plan)
    if table.failed:
        first = f"{table.failed[0].name}: {table.failed[0].error}"
        if len(table.failed) == len(table.cases):
            raise ValueError(f"no case could be scored; {first}")
        count = f"{len(table.failed)} of {len(table.cases)} cases failed"
        warnings.warn(f"{count} and are in no mean; {first}", stacklevel=4)
    more = {"title": given["title"], "acceptance": [*said.outputs["accept"]]}
    kept = {**table.settings, **{name: value for name, value in more.items() if value}}
    table = dataclasses.replace(table, settings=kept)
    return Evaluation(with_origin(table, plan, _call_text(given)))


def _inputs(given: Mapping[str, Any]) -> InputSettings:
    names = [field.name for field in dataclasses.fields(InputSettings) if field.name in given]
    said = {name: given[name] for name in names}
    if isinstance(given["decode"], PathLike):
        said["decode"] = str(given["decode"])
    for name, check in INPUTS.items():
        if said[name] is not None and (expected := check(said[name])):
            raise ValueError(f"{name}: expected {expected}, got {said[name]!r}")
    said["only"] = _texts(given["only"])
    said["manifest"] = None if given["manifest"] is None else Path(given["manifest"])
    spacing = given["spacing_mm"]
    if spacing is not None:
        sizes = [spacing] * _axes(given) if isinstance(spacing, int | float) else list(spacing)
        said["spacing"] = ",".join(map(str, sizes))
    for name in ("remap", "remap_prediction", "remap_reference"):
        if isinstance(given[name], Mapping):
            said[name] = ",".join(f"{old}={new}" for old, new in given[name].items())
    labels = given["labels"]
    if isinstance(labels, Mapping):
        said["labels"] = {
            str(key): list(value) if isinstance(value, tuple | set) else value
            for key, value in labels.items()
        }
    elif isinstance(labels, PathLike):
        said["labels"] = str(labels)
    elif isinstance(labels, Sequence) and not isinstance(labels, str):
        said["labels"] = ",".join(map(str, labels))
    elif labels is not None and not isinstance(labels, str):
        raise ValueError(f"labels: expected a mapping, a list, a text or a file, got {labels!r}")
    return InputSettings(**said)


def _axes(given: Mapping[str, Any]) -> int:
    """How many spatial axes one size is for."""
    from medloss.evaluation.given import is_array

    if given["axes"]:
        return len(str(given["axes"]).replace("c", ""))
    one = given["references"]
    while isinstance(one, Mapping | list | tuple) and one:
        one = next(iter(one.values() if isinstance(one, Mapping) else one))
    count = len(one.shape) if is_array(one) else 3
    if count not in (2, 3) and not hasattr(one, "affine"):
        raise ValueError(f"axes: expected the order of the {count} axes such as 'cxyz', got None")
    return min(count, 3)


def _definition(given: Mapping[str, Any]) -> Definition:
    return Definition(
        profile=given["profile"],
        metrics=_texts(given["metrics"]),
        losses=_texts(given["losses"]),
        preset=given["preset"],
        missed=given["missed"],
        both_empty=given["both_empty"],
    )


def _texts(said: str | Sequence[str]) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else tuple(said)


def _cases(given: Mapping[str, Any], inputs: InputSettings) -> tuple[FoundCases, Evaluator]:
    from medloss.evaluation.given import given_cases
    from medloss.evaluation.score import evaluate as evaluate_files

    sides = given["predictions"], given["references"]
    if all(side is None or isinstance(side, str | PathLike) for side in sides):
        if given["names"] is not None:
            raise ValueError("names: expected None where cases come from folders, got names")
        prediction, reference = (None if side is None else Path(side) for side in sides)
        return inputs.cases(prediction, reference), evaluate_files
    for name in ("manifest", "layout", "layout_prediction", "layout_reference", "one_reference"):
        if given[name]:
            raise ValueError(f"{name}: is for folders; the cases are given one by one")
    for name in ("only", "only_predicted", "probabilities"):
        if given[name]:
            raise ValueError(f"{name}: is for folders; leave those cases out of the lists")
    cases = given_cases(*sides, given["names"])
    if cases.arrays and given["workers"] != 1:
        raise ValueError(
            f"workers: expected 1, arrays are scored in this process, got {given['workers']}"
        )
    return cases.found, cases.evaluate


def _call_text(given: Mapping[str, Any]) -> str:
    """The call that computes the same numbers; what is in memory by its kind."""
    known = inspect.signature(evaluate).parameters
    defaults = {name: parameter.default for name, parameter in known.items()}
    said = []
    for name, value in given.items():
        plain = isinstance(value, str | int | float | PathLike) or name not in (
            "predictions",
            "references",
        )
        if value is defaults[name] or (plain and value == defaults[name]) or name == "workers":
            continue
        text = repr(str(value) if isinstance(value, PathLike) else value) if plain else ""
        said.append(f"{name}={text or f'<{type(value).__name__}>'}")
    return f"medloss.evaluate({', '.join(said)})"


def _as_arguments(sentence: str) -> str:
    """A sentence about options of the command, with the arguments here.

    Example:
        >>> _as_arguments("--spacing: expected 3 sizes; --ignore-label and --force")
        'spacing_mm: expected 3 sizes; ignore_label and --force'
    """
    known = inspect.signature(evaluate).parameters

    def argument(match: re.Match[str]) -> str:
        word = match[1] or match[0]
        name = _CALLED.get(word, word.replace("-", "_"))
        return name if name in known else match[0]

    return re.sub(r"--([a-z]+(?:-[a-z]+)*)|\b(?:PRED|REF)\b", argument, sentence)
