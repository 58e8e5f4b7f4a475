"""The runs of a study: their losses, what they have in common, and what tells them apart."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medloss.evaluation.requests import OfferRequest, parse_request, resolve, split_requests
from medloss.offers.host import host
from medloss.runtime.config_text import parse_json, parse_yaml

DEFAULT_LOSSES = ("dice_ce", "dice", "cross_entropy", "dice_focal", "dice_topk", "tversky")
BASELINE = "dice_ce"
ADDED_WEIGHT = 0.1
"""Weight of a loss that cannot train alone, beside the baseline's weight of 1."""

_PLUS = re.compile(r"(?<!\de)\+", re.IGNORECASE)
_ALTERNATIVES = re.compile(r"((?:(?<=\de)\+|[^,:=+*|\s])+(?:\|(?:(?<=\de)\+|[^,:=+*|\s])+)+)")
"""Values of which one is chosen, such as ``0.5|0.7``."""
_WEIGHTED = re.compile(r"\s*(?:(?P<weight>[0-9.]+(?:e[-+]?\d+)?)\s*\*)?\s*(?P<loss>.+)", re.DOTALL)


@dataclass(frozen=True)
class StudyLoss:
    """A loss under the name that it has in the report.

    Args:
        name: unique in a study; says everything that differs from the defaults.
        block: entry of the bundle's configuration that builds it.
        note: what was done to the name that was asked for, else empty.
        candidates: of which every fold chooses one before its runs; the block is that of the one
            that was chosen, and empty until then.
        chosen: name of the candidate that was chosen.
    """

    name: str
    block: Mapping[str, Any] = field(hash=False)
    note: str = ""
    candidates: tuple[StudyLoss, ...] = ()
    chosen: str = ""

    @property
    def folder(self) -> str:
        """The name as a folder; no two of a study are the same, which :func:`check_names` sees."""
        return re.sub(r"[^A-Za-z0-9._+-]+", "_", self.name).strip("_.")

    def as_json(self) -> dict[str, Any]:
        """The block, or those of the candidates."""
        if self.candidates:
            return {"candidates": {one.name: dict(one.block) for one in self.candidates}}
        return dict(self.block)


def parse_losses(text: str, activation: str = "softmax") -> list[StudyLoss]:
    """Read what ``--losses`` was given.

    Losses stand between commas, each with its options as ``medloss eval`` takes them. Terms of a
    compound loss are joined by ``+``, each with a weight if it is not 1. Where several values
    stand for one, between ``|``, the loss is tuned: each of them makes a candidate.

    Args:
        text: such as ``dice_ce,tversky:fn_weight=0.8,dice+0.5*focal``.
        activation: ``softmax`` or ``sigmoid``; given to every loss.

    Raises:
        ValueError: the text has another form.
        PluginError: there is no such loss.

    Example:
        >>> [loss.name for loss in parse_losses("dice,boundary,dice+0.5*focal:gamma=1")]
        ['dice', 'dice_ce+0.1*boundary', 'dice+0.5*focal[gamma=1]']
        >>> [one.name for one in parse_losses("dice+0.5|1*focal")[0].candidates]
        ['dice+0.5*focal', 'dice+focal']
    """
    return [_tuned(part, activation) for part in split_requests(text)]


def read_losses(path: Path, activation: str = "softmax") -> list[StudyLoss]:
    """Read the losses of a JSON or YAML file: a mapping from names to what each of them is.

    What a loss is: text as ``--losses`` takes it, or a mapping with ``_target_`` that is put into
    the bundle as it stands, with an activation of its own.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = parse_json(text) if path.suffix == ".json" else parse_yaml(text)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path}: expected a mapping from names to losses")
    found = []
    for name, value in content.items():
        if isinstance(value, str):
            found.append(dataclasses.replace(_tuned(value, activation, alone=True), name=str(name)))
        elif isinstance(value, Mapping) and "_target_" in value:
            found.append(StudyLoss(str(name), dict(value)))
        else:
            raise ValueError(
                f"{path}: {name}: expected text or a mapping with _target_, got {value!r}"
            )
    return found


def check_names(losses: Sequence[StudyLoss]) -> None:
    """Refuse two losses of one name or one folder.

    Raises:
        ValueError: names them.
    """
    seen: dict[str, str] = {}
    for loss in losses:
        folder = loss.folder.casefold()  # one folder on Windows and macOS
        if folder in seen or not folder:
            raise ValueError(f"two losses cannot be told apart: {seen.get(folder)} and {loss.name}")
        seen[folder] = loss.name


def _tuned(text: str, activation: str, *, alone: bool = False) -> StudyLoss:
    """A loss, or one with a candidate for every choice among its alternatives."""
    parts = _ALTERNATIVES.split(text)
    fixed, places = parts[::2], [part.split("|") for part in parts[1::2]]
    if any("|" in part for part in fixed):
        raise ValueError(f"{text!r}: expected values on both sides of a '|', as in gamma=1|2")
    if not places:
        return _loss(text, activation, alone=alone)
    for values in places:
        if len(set(values)) < len(values):
            raise ValueError(f"{text!r}: {'|'.join(values)} has one value twice")
    texts = [
        "".join(itertools.chain(*zip(fixed, (*chosen, ""), strict=True)))
        for chosen in itertools.product(*places)
    ]
    candidates = tuple(_loss(one, activation, alone=alone) for one in texts)
    check_names(candidates)
    note = candidates[0].note
    name = f"{BASELINE}+{ADDED_WEIGHT:g}*{text}" if note else text
    return StudyLoss("".join(name.split()), {}, note, candidates=candidates)


def _loss(text: str, activation: str, *, alone: bool = False) -> StudyLoss:
    """A loss; one that cannot train alone joins the baseline unless a file says otherwise."""
    terms = [_term(part, text) for part in _PLUS.split(text)]
    note = ""
    if len(terms) == 1 and terms[0][0] == 1.0:
        (_, request), *_ = terms
        record = host().losses.find(request.name).record
        if record.alone or alone:
            return StudyLoss(request.column, _block(request, activation))
        terms = [(1.0, OfferRequest(BASELINE)), (ADDED_WEIGHT, request)]
        note = f"{request.name} cannot train alone, so it is added to {BASELINE}"
    names = [
        f"{'' if weight == 1 else f'{weight:g}*'}{request.column}" for weight, request in terms
    ]
    block = {
        "_target_": "medloss.loss",
        "name": "compound",
        activation: True,
        "terms": [_options(request, activation) for _, request in terms],
        "weights": [weight for weight, _ in terms],
    }
    return StudyLoss("+".join(names), block, note)


def _term(part: str, text: str) -> tuple[float, OfferRequest]:
    found = _WEIGHTED.fullmatch(part)
    if found is None:
        raise ValueError(f"{text!r}: a term is missing beside a '+'")
    weight = float(found["weight"] or 1)
    return weight, resolve(parse_request(found["loss"].strip()), host().losses)


def _block(request: OfferRequest, activation: str) -> dict[str, Any]:
    return {"_target_": "medloss.loss", **_options(request, activation), activation: True}


def _options(request: OfferRequest, activation: str) -> dict[str, Any]:
    """Name and options: those of the loss's own example where none is given."""
    example = dict(host().losses.find(request.name).record.example)
    for name in ("softmax", "sigmoid"):
        example.pop(name, None)
    return {"name": request.name, **example, **dict(request.options)}


METRICS = (
    "dice",
    "sensitivity",
    "specificity",
    "hausdorff95",
    "normalized_surface_dice:tolerance_mm=1",
)


@dataclass(frozen=True)
class StudyConditions:
    """Everything that is equal for all runs.

    Args:
        bundle: folder, absolute.
        configs: names of configuration files, later ones over earlier ones.
        overrides: entries of the configuration.
        folds: parts of the training list for cross-validation; 0 is the bundle's own split.
        epochs: of every run; 0 as long as nothing is planned.
        metrics: as ``medloss eval`` takes them.
        device: ``cpu``, ``cuda`` or ``cuda:N``; empty for what the bundle says.
        digest: of the configuration files, so that a bundle that was edited is another one.
    """

    bundle: str
    configs: tuple[str, ...] = ("train",)
    overrides: Mapping[str, Any] = field(default_factory=dict, hash=False)
    folds: int = 0
    epochs: int = 0
    metrics: tuple[str, ...] = METRICS
    device: str = ""
    digest: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self) | {
            "configs": list(self.configs),
            "overrides": dict(self.overrides),
            "metrics": list(self.metrics),
        }


@dataclass(frozen=True)
class StudyRun:
    """One training.

    Args:
        loss: that trains.
        fold: that is held out.
        seed: of initial weights, order of the data and random transforms.
        tuning: whether it is that of a candidate, without the held-out cases of the fold: some of
            the training cases are held out in their place.
    """

    loss: StudyLoss
    fold: int
    seed: int
    tuning: bool = False

    @property
    def name(self) -> str:
        """Folder of the run inside that of the study.

        Example:
            >>> StudyRun(StudyLoss("dice", {}), 1, 2).name
            'dice/fold1_seed2'
        """
        # No loss has a folder that begins so.
        above = "_tuning/" if self.tuning else ""
        return f"{above}{self.loss.folder}/fold{self.fold}_seed{self.seed}"

    def facts(self) -> dict[str, Any]:
        """What tells it apart, as files have it."""
        own = {"loss": self.loss.name, "fold": self.fold, "seed": self.seed}
        return {**own, "chosen": self.loss.chosen} if self.loss.chosen else own


def all_runs(losses: Sequence[StudyLoss], seeds: Sequence[int], folds: int) -> list[StudyRun]:
    """Every loss with every fold and seed; all losses of a fold and seed follow one another.

    A study that is stopped has then compared its losses on what it has done.
    """
    return [
        StudyRun(loss, fold, seed)
        for fold in range(max(folds, 1))
        for seed in seeds
        for loss in losses
    ]
