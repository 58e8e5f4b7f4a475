"""The file in which nnU-Net v2 finds a trainer: what ``medloss nnunet-trainer`` writes."""

from __future__ import annotations

import importlib.util
import json
import keyword
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloss._version import __version__
from medloss.offers.host import host
from medloss.offers.records import Loss
from medloss.runtime.config_text import DuplicateKeyError, parse_json

TEMPLATE = '''\
"""nnU-Net v2 with {what} of medloss.

Written by medloss {version}. nnU-Net looks for trainers in the folders of nnUNet_extTrainer:

    export nnUNet_extTrainer="{folder}"
    nnUNetv2_train DATASET CONFIGURATION FOLD -tr {name}

Prediction looks for them too: a machine that predicts needs the variable, this file and medloss.
"""

{imports}
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class {name}({bases}, nnUNetTrainer):
    """nnUNetTrainer with more; any other trainer of nnU-Net may stand in its place.
{told}    """
{attributes}'''

_OF_LOSS = """
    The dataset decides softmax (labels) or sigmoid (regions) and the ignore label; nnU-Net's
    configuration decides batch Dice and the weights of resolutions, unless loss_config says it.
"""

_OF_METRICS = """
    Its validation adds validation_metrics to summary.json and to the log, at the end of a training.
"""


def read_config(text: str) -> dict[str, Any]:
    """A loss config from what a user typed: a JSON file, JSON, or the name of a loss.

    Raises:
        ValueError: it is none of them.

    Example:
        >>> read_config("dice_focal")
        {'name': 'dice_focal'}
        >>> read_config('{"name": "tversky", "fp_weight": 0.3, "fn_weight": 0.7}')["fn_weight"]
        0.7
    """
    if re.fullmatch(r"[\w.:-]+", text) and not text.endswith(".json"):
        return {"name": text}
    is_json = text.lstrip().startswith("{")
    try:
        found = parse_json(text if is_json else Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"loss: {text} cannot be read: {error.strerror}") from error
    except DuplicateKeyError as error:
        raise ValueError(f"loss: {'the text' if is_json else text}: {error}") from error
    except ValueError as error:
        raise ValueError(f"loss: {'the text' if is_json else text} is no JSON: {error}") from error
    if isinstance(found, Mapping) and isinstance(found.get("loss"), Mapping):
        found = found["loss"]  # of a whole bundle config
    if not isinstance(found, Mapping):
        raise ValueError(f"loss: expected a JSON object with 'name' or '_target_', got {found!r}")
    return dict(found)


def with_background_as_nnunet(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with nnU-Net's ``include_background``, where that concerns the overlap alone.

    nnU-Net's Dice leaves the background out, its cross entropy does not.

    Example:
        >>> with_background_as_nnunet({"name": "dice_ce"})
        {'name': 'dice_ce', 'include_background': False}
    """
    record = _record(config)
    if record is None or not (record.family == "region" or record.name == "dice_ce"):
        return dict(config)
    named = {key: config[key] for key in ("name", "_target_") if key in config}
    return {**named, "include_background": False, **config}


def trainer_name(config: Mapping[str, Any] | None) -> str:
    """Name of the trainer where the user gives none.

    Example:
        >>> trainer_name({"name": "dice_focal"}), trainer_name(None)
        ('nnUNetTrainerMedlossDiceFocal', 'nnUNetTrainerMedlossMetrics')
    """
    config = config or {"name": "metrics"}
    named = str(config.get("name", config.get("_target_", "")))
    last = re.split(r"[.:]", named)[-1].removesuffix("Loss")
    return "nnUNetTrainerMedloss" + "".join(w[:1].upper() + w[1:] for w in re.split(r"\W|_", last))


def python_literal(value: Any, indent: int = 0, width: int = 60) -> str:
    """Source of what JSON can hold, on several lines where one would be long.

    Example:
        >>> print(python_literal({"name": "dice", "jaccard": True}, width=20))
        {
            "name": "dice",
            "jaccard": True,
        }
    """
    inner = indent + 4
    if isinstance(value, Mapping):
        parts = [f"{json.dumps(k)}: {python_literal(v, inner, width)}" for k, v in value.items()]
        left, right = "{", "}"
    elif isinstance(value, list | tuple):
        parts = [python_literal(each, inner, width) for each in value]
        left, right = "[", "]"
    else:
        return json.dumps(value) if isinstance(value, str) else repr(value)
    line = left + ", ".join(parts) + right
    if len(line) <= width and "\n" not in line:
        return line
    rows = "".join(f"{' ' * inner}{part},\n" for part in parts)
    return f"{left}\n{rows}{' ' * indent}{right}"


def trainer_source(
    config: Mapping[str, Any] | None, metrics: Sequence[str], name: str, folder: Path
) -> str:
    """Text of the file that holds the trainer."""
    what, imports, bases, told, attributes = [], [], [], "", ""
    if metrics:
        what.append("metrics")
        imports.append("from medloss.integrations.nnunet_validation import MetricsTrainer")
        bases.append("MetricsTrainer")
        told += _OF_METRICS
        listed = python_literal(list(metrics), indent=4)
        attributes += f"\n    validation_metrics = {listed}\n"
    if config is not None:
        what.insert(0, f"the loss {config.get('name', config.get('_target_'))}")
        imports.insert(0, "from medloss.integrations.nnunet import LossTrainer")
        bases.append("LossTrainer")
        told = _OF_LOSS + told
        attributes += f"\n    loss_config = {python_literal(config, indent=4)}\n"
    return TEMPLATE.format(
        what=" and ".join(what),
        version=__version__,
        folder=folder.resolve().as_posix(),
        name=name,
        imports="\n".join(imports),
        bases=", ".join(bases),
        told=told,
        attributes=attributes,
    )


def write_trainer(
    config: Mapping[str, Any] | None,
    folder: Path,
    *,
    metrics: Sequence[str] = (),
    name: str | None = None,
    force: bool = False,
) -> Path:
    """Write the trainer of a loss, or of metrics, into a folder that nnU-Net will search.

    Args:
        config: of the loss, see :func:`medloss.integrations.nnunet.build_loss`; ``None`` keeps the
            loss of nnU-Net.
        folder: made where it is missing.
        metrics: that its validation reports, as on the command line.
        name: of the trainer and its file.
        force: replace a file that is there.

    Returns:
        The file.

    Raises:
        ValueError: the config builds no loss, a metric cannot be meant, there is neither, or the
            name cannot be a trainer's.
        FileExistsError: the file is there, and ``force`` is not given.
    """
    if config is None and not metrics:
        raise ValueError("loss, metric: expected at least one of them, got neither")
    if config is not None:
        config = _checked(config)
    if metrics:
        from medloss.integrations.nnunet_validation import choose_metrics

        choose_metrics(metrics)
    name = trainer_name(config) if name is None else name
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"name: expected the name of a Python class, got {name!r}")
    if _nnunet_has(name):
        raise ValueError(f"name: nnU-Net has a trainer {name!r} itself and would take that one")
    path = folder / f"{name}.py"
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists; it is replaced with --force")
    from medloss.runtime.files import write_text  # numpy

    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, trainer_source(config, metrics, name, folder))
    return path


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a loss that can be built, as nnU-Net's users mean it."""
    from medloss.integrations.nnunet import loss_of_dataset

    config = with_background_as_nnunet(config)
    record = _record(config)
    if record is not None and record.needs:
        raise ValueError(
            f"loss: {record.name} needs {', '.join(record.needs)}, which nnU-Net lacks"
        )
    regions = bool(config.get("sigmoid"))
    loss_of_dataset(
        config, regions=regions, ignore_label=config.get("ignore_index"), batch_dice=False
    )
    return config


def _record(config: Mapping[str, Any]) -> Loss | None:
    """What is known of the loss that a config names; nothing of a class outside the registry."""
    if "name" in config:
        return host().losses.find(str(config["name"])).record
    for offer in host().losses:
        paths = (f"medloss.losses.{offer.record.attribute}", offer.record.target.replace(":", "."))
        if config.get("_target_") in paths:
            return offer.record
    return None


def _nnunet_has(name: str) -> bool:
    """Whether nnU-Net, where it is installed, defines a trainer of this name."""
    found = importlib.util.find_spec("nnunetv2")
    if found is None or not found.submodule_search_locations:
        return False
    trainers = Path(found.submodule_search_locations[0], "training", "nnUNetTrainer")
    defines = re.compile(rf"^class {re.escape(name)}\b", re.MULTILINE)
    return any(defines.search(path.read_text(encoding="utf-8")) for path in trainers.rglob("*.py"))
