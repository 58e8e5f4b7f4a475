"""What ``NAME:option=value,...`` on the command line asks for, and the metric that it names.

Aliases end here: what comes out of :func:`resolve` and :func:`named_columns` has the own name of a
metric, and so have all results.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from medloss.evaluation.inputs.labels import Label, same_name
from medloss.offers.host import Catalogue, Offer, PluginError, host
from medloss.offers.records import Metric
from medloss.runtime.config_text import DuplicateKeyError
from medloss.scoring.inputs import takes_number

DEFAULT_METRICS = (
    "dice",
    "sensitivity",
    "specificity",
    "hausdorff95",
    "average_symmetric_surface_distance",
    "normalized_surface_dice",
)

Spurious = Literal["count", "exclude"]

_QUANTITY = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(%|[a-z\u00b5\u03bc]+[3\u00b3]?)", re.IGNORECASE
)
_NUMBER = re.compile(r"[+-]?[\d.]+(?:e[+-]?\d+)?\s*(?:%|[a-z]{0,3}\d?)", re.IGNORECASE)
_UNITS = {
    "mm": "a number of millimetres",
    "mm3": "a number of cubic millimetres",
    "%": "a number of percent",
    "": "a number",
}
_FACTORS = {
    "mm": {"cm": 10.0, "m": 1000.0, "um": 0.001, "\u00b5m": 0.001, "\u03bcm": 0.001},
    "mm3": {"cm3": 1000.0, "ml": 1000.0},
}
"""What a number in another unit is in that which is wanted."""

_WORDS = {"true": True, "false": False, "none": None}
_OPENING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class OfferRequest:
    """A metric or a loss by name, with its options in the order given.

    Args:
        name: of the metric or loss.
        options: by name.
        called: what its values are called instead of after these.
        spurious: whether a label that the prediction alone has counts, or is left out.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()
    called: str = field(default="", repr=False)
    spurious: Spurious = field(default="count", repr=False)

    @property
    def column(self) -> str:
        """What its values are called in tables and files.

        Example:
            >>> OfferRequest("normalized_surface_dice", (("tolerance_mm", 2),)).column
            'normalized_surface_dice[tolerance_mm=2]'
            >>> OfferRequest("dice").column
            'dice'
            >>> OfferRequest("boundary_iou", (("width_mm", {1: 2, "liver": 3}),)).column
            'boundary_iou[width_mm={1:2,liver:3}]'
        """
        options = ",".join(f"{name}={_shown(value)}" for name, value in self.options)
        return self.called or (f"{self.name}[{options}]" if options else self.name)


def parse_request(text: str) -> OfferRequest:
    """Read ``NAME`` or ``NAME:option=value,option=value``.

    Values are Python literals (numbers, lists, tuples, quoted text), ``true``, ``false`` or
    ``none``; any other word is text. ``{1:2,liver:3}`` is a value for each label, by number or
    name. Nothing is executed.

    Raises:
        ValueError: the text has another form.

    Example:
        >>> parse_request("tversky:fp_weight=0.3,batch=true").options
        (('fp_weight', 0.3), ('batch', True))
        >>> parse_request("my-losses:dice:reduction=sum").name
        'my-losses:dice'
    """
    head, equals, tail = text.partition("=")
    # A full name has a colon of its own, "distribution:name", so the last one before "=" counts.
    name, colon, first = head.rpartition(":") if equals else (text, "", "")
    name = name.strip()
    if not name or name.endswith(":") or bool(equals) != bool(colon):
        raise ValueError(f"{text!r} is not of the form NAME or NAME:option=value,option=value")
    options: dict[str, Any] = {}
    for part in _parts(first + equals + tail) if equals else ():
        option, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", option) or not value:
            raise ValueError(f"{part.strip()!r} in {text!r} is not of the form option=value")
        if option in options:
            raise ValueError(f"option {option!r} is given twice in {text!r}")
        options[option] = parse_value(value)
    return OfferRequest(name, tuple(options.items()))


def parse_requests(asked: Iterable[str | OfferRequest]) -> tuple[OfferRequest, ...]:
    """Read texts, each of one request or of several between commas; requests stay as they are.

    Raises:
        ValueError: one has another form.

    Example:
        >>> [request.column for request in parse_requests(["dice,nsd:tolerance_mm=2", "hd95"])]
        ['dice', 'nsd[tolerance_mm=2]', 'hd95']
    """
    found: list[OfferRequest] = []
    for each in asked:
        parts = map(parse_request, split_requests(each)) if isinstance(each, str) else [each]
        found += parts
    return tuple(found)


def split_requests(text: str) -> list[str]:
    """Split ``NAME,NAME:option=value,option=value,NAME`` at the commas between requests.

    A part of the form ``option=value`` belongs to the request before it.

    Raises:
        ValueError: a request is empty, or an option stands first, or a number without a name.

    Example:
        >>> split_requests("dice,tversky:fp_weight=0.3,fn_weight=0.7,focal")
        ['dice', 'tversky:fp_weight=0.3,fn_weight=0.7', 'focal']
    """
    if not text.strip():
        raise ValueError(f"expected a name, got {text!r}")
    found: list[str] = []
    for part in _parts(text):
        head, equals, _ = part.partition("=")
        if equals and ":" not in head:
            if not found:
                raise ValueError(f"{part.strip()!r} has no name before it: NAME:option=value")
            found[-1] += f",{part}"
        elif _NUMBER.fullmatch(part.strip()):
            raise ValueError(
                f"{part.strip()!r} in {text!r} is no name: decimals have a point, as in 1.5, and "
                f"several values brackets, as in [1,5]"
            )
        elif part.strip():
            found.append(part.strip())
        else:
            raise ValueError(f"a name is missing between two commas of {text!r}")
    return found


def parse_value(text: str) -> Any:
    """A literal, a word such as ``true``, or the text itself.

    Raises:
        DuplicateKeyError: a key stands twice in a mapping.

    Example:
        >>> [parse_value(text) for text in ("2", "1e-5", "[1, 2]", "True", "none", "mean")]
        [2, 1e-05, [1, 2], True, None, 'mean']
        >>> parse_value("{1:2, left kidney:3}")
        {1: 2, 'left kidney': 3}
    """
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if (words := _mapping(text.strip())) is not None:
        return words
    try:
        tree = ast.parse(text.strip(), mode="eval")
        value = ast.literal_eval(tree)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [ast.literal_eval(key) for key in node.keys if key is not None]
            for number, key in enumerate(keys):
                if key in keys[:number]:
                    raise DuplicateKeyError(str(key))
    return value


def _mapping(text: str) -> dict[Any, Any] | None:
    """What ``{key:value,key:value}`` holds, whose keys and values may be words."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    found: dict[Any, Any] = {}
    for part in _parts(text[1:-1]):
        head, colon, tail = part.partition(":")
        if not colon or not head.strip() or not tail.strip():
            return None
        key = parse_value(head.strip())
        if not isinstance(key, int | str):
            return None
        if key in found:
            raise DuplicateKeyError(str(key))
        found[key] = parse_value(tail.strip())
    return found


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{each}" for key, each in value.items()) + "}"
    return str(value)


@dataclass(frozen=True)
class MetricChoice:
    """A metric with its options.

    Args:
        column: what its values are called in tables and files.
        record: what the metric says about itself.
        function: from the facts that the record names to a number.
        options: passed to ``function``: those given, and the defaults of the others.
        given: names of the options that were asked for.
        by_label: names of those that have a value for each label.
        spurious: whether a label that the prediction alone has counts, or is left out.
    """

    column: str
    record: Metric
    function: Callable[..., float]
    options: Mapping[str, Any]
    given: tuple[str, ...] = ()
    by_label: tuple[str, ...] = ()
    spurious: Spurious = "count"

    def for_label(self, label: Label, name: str = "") -> MetricChoice:
        """The metric with the values that its options have for a label.

        Args:
            label: its number, or the name of a region or structure.
            name: of a number, if it has one.

        Raises:
            ValueError: an option has no value for it, or two.

        Example:
            >>> metric = choose_metric(parse_request("boundary_iou:width_mm={1:2,liver:3}"))
            >>> dict(metric.for_label(1).options), dict(metric.for_label(2, "Liver").options)
            ({'width_mm': 2}, {'width_mm': 3})
        """
        if not self.by_label:
            return self
        own = {name_: self.options[name_][self._key(name_, label, name)] for name_ in self.by_label}
        return replace(self, options={**self.options, **own}, by_label=())

    def alternatives(self) -> Iterator[MetricChoice]:
        """The metric with each of the values that an option has for some label, to try them."""
        first = {x: next(iter(self.options[x].values())) for x in self.by_label}
        for option in self.by_label:
            for value in self.options[option].values():
                own = {**self.options, **first, option: value}
                yield replace(self, options=own, by_label=())
        if not self.by_label:
            yield self

    def check_labels(self, labels: Mapping[Label, str]) -> None:
        """Make sure that every label has a value, and every value a label.

        Args:
            labels: all that are scored, with their names.

        Raises:
            ValueError: one has none.
        """
        for option in self.by_label:
            used = {self._key(option, label, name) for label, name in labels.items()}
            if left := [str(key) for key in self.options[option] if key not in used]:
                raise ValueError(
                    f"{option} has a value for {', '.join(left)}, and no such label is scored"
                )

    def _key(self, option: str, label: Label, name: str) -> Label:
        called = {same_name(word) for word in (label, name) if isinstance(word, str) and word}
        keys: list[Label] = [
            key
            for key in self.options[option]
            if key == label or (isinstance(key, str) and same_name(key) in called)
        ]
        if len(keys) != 1:
            title = " ".join(dict.fromkeys(str(word) for word in (label, name) if word != ""))
            problem = f"two values ({keys[0]}, {keys[1]})" if keys else "no value"
            raise ValueError(f"{option} has {problem} for the label {title}")
        return keys[0]

    @property
    def defaults(self) -> str:
        """The options that nobody gave and that have a value, as text."""
        left = {name: x for name, x in self.options.items() if name not in self.given}
        return ", ".join(f"{name}={x}" for name, x in left.items() if x is not None)


def choose_metric(request: OfferRequest) -> MetricChoice:
    """Find the metric and compare the options with its signature.

    Raises:
        PluginError: there is no such metric, or it cannot be imported.
        ValueError: it has no such option, or cannot do without one that is not given.

    Example:
        >>> choose_metric(parse_request("normalized_surface_dice:tolerance=2"))
        Traceback (most recent call last):
        ValueError: normalized_surface_dice has no option 'tolerance'; it has tolerance_mm
    """
    request = resolve(request)
    offer, parameters = _found(request.name)
    function, options = offer.load(), dict(request.options)
    known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for option in options:
        if option not in known and not takes_any:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise ValueError(f"{request.name} has no option {option!r}; {has}")
    missing = [
        p.name
        for p in parameters
        if p.name in known and p.name not in options and p.default is p.empty
    ]
    if missing:
        raise ValueError(f"{request.name} needs a value for {', '.join(missing)}")
    defaults = {p.name: p.default for p in parameters if p.name in known}
    by_label = []
    for p in parameters:
        if p.name not in options:
            continue
        what, each = f"{request.column}: {p.name}", (options[p.name],)
        if isinstance(options[p.name], Mapping) and takes_number(p.annotation):
            by_label.append(p.name)
            options[p.name] = _by_label(what, options[p.name])
            each = tuple(options[p.name].values())
        for value in each:
            _check_kind(what, value, p.annotation)
    every = {**defaults, **options}
    given = tuple(options)
    of_labels = tuple(by_label)
    return MetricChoice(
        request.column, offer.record, function, every, given, of_labels, request.spurious
    )


def resolve(request: OfferRequest, catalogue: Catalogue[Any] | None = None) -> OfferRequest:
    """The request under the own name of what it names, and its numbers without their units.

    Args:
        request: by a name or an alias; values such as ``2mm`` or ``95%`` are texts yet.
        catalogue: that has the name; by default the metrics.

    Raises:
        PluginError: nothing has the name, or it cannot be imported.
        ValueError: a number in another unit than that of its option.

    Example:
        >>> resolve(parse_request("nsd:tolerance_mm=2 mm")).column
        'normalized_surface_dice[tolerance_mm=2]'
        >>> resolve(parse_request("nsd:tolerance_mm=2cm"))
        Traceback (most recent call last):
        ValueError: nsd: tolerance_mm: expected a number of millimetres, got '2cm'; write 20
    """
    catalogue = host().metrics if catalogue is None else catalogue
    head, colon, rest = request.name.rpartition(":")
    if colon and not catalogue.named(request.name) and catalogue.named(head):
        raise ValueError(f"{request.name!r}: expected {head}:option=value, got {rest!r} behind it")
    name = catalogue.own_name(request.name)
    if not request.options:
        return replace(request, name=name)
    parameters = inspect.signature(catalogue.find(name).load()).parameters
    options = tuple(
        (option, _without_unit(f"{request.name}: {option}", option, value))
        if option in parameters and takes_number(parameters[option].annotation)
        else (option, value)
        for option, value in request.options
    )
    return replace(request, name=name, options=options)


def read_number(text: str, unit: str = "") -> float:
    """A finite number, perhaps with its unit behind it; a percentage of no unit is a share.

    Args:
        text: such as ``2``, ``2 mm`` or ``95%``.
        unit: ``mm``, ``mm3``, ``%`` or none.

    Raises:
        ValueError: it is none, or has another unit.

    Example:
        >>> read_number("2 mm", "mm"), read_number("95%", "%"), read_number("95%")
        (2, 95, 0.95)
        >>> read_number("2cm", "mm")
        Traceback (most recent call last):
        ValueError: expected a number of millimetres, got '2cm'; write 20
    """
    found = _QUANTITY.fullmatch(text.strip())
    number, given = (found[1], found[2]) if found else (text.strip(), "")
    given = given.lower().replace("\u00b3", "3")
    value = parse_value(number)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected {_UNITS[unit]}, got {text!r}")
    if given in ("", unit):
        return value
    if (given, unit) == ("%", ""):
        return value / 100
    factor = _FACTORS.get(unit, {}).get(given)
    way_out = f"; write {value * factor:g}" if factor else ""
    raise ValueError(f"expected {_UNITS[unit]}, got {text!r}{way_out}")


def named_columns(text: str, columns: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """The columns that ``METRIC`` or ``METRIC[LABEL]`` names, and the label.

    METRIC is a column as it stands, or the name or an alias of a metric with any options.

    Returns:
        None, one or several columns; number or name of the label, empty where none is named.

    Example:
        >>> there = "dice", "normalized_surface_dice[tolerance_mm=2]"
        >>> named_columns("nsd[liver]", there)
        (('normalized_surface_dice[tolerance_mm=2]',), 'liver')
        >>> named_columns("dsc", there), named_columns("hd95", there)
        ((('dice',), ''), ((), ''))
    """
    known, text = tuple(dict.fromkeys(columns)), text.strip()
    head, _, label = text[:-1].rpartition("[") if text.endswith("]") else ("", "", "")
    for name, of in ((text, ""), (head.strip(), label)):
        if name in known:
            return (name,), of
        own = own_column(name)
        if found := tuple(each for each in known if own in (each, each.partition("[")[0])):
            return found, of
    return (), ""


def own_column(column: str) -> str:
    """The column with the own name of its metric, where an alias stands.

    Example:
        >>> own_column("nsd[tolerance_mm=2]"), own_column("dice_loss")
        ('normalized_surface_dice[tolerance_mm=2]', 'dice_loss')
    """
    name, bracket, rest = column.partition("[")
    try:
        return f"{host().metrics.own_name(name)}{bracket}{rest}"
    except PluginError:
        return column


def options_of(name: str) -> tuple[str, ...]:
    """Names of the options of a metric.

    Raises:
        PluginError: there is no such metric, or it cannot be imported.

    Example:
        >>> options_of("normalized_surface_dice")[0]
        'tolerance_mm'
    """
    return tuple(parameter.name for parameter in _found(name)[1])


def _found(name: str) -> tuple[Offer[Metric], list[inspect.Parameter]]:
    offer = host().metrics.find(name)
    parameters = inspect.signature(offer.load()).parameters.values()
    return offer, list(parameters)[len(offer.record.facts) :]


def _by_label(what: str, values: Mapping[Any, Any]) -> dict[Label, Any]:
    """A value for each label; JSON has their numbers as texts."""
    found: dict[Label, Any] = {}
    for key, value in values.items():
        number = int(key) if isinstance(key, str) and key.isdecimal() else key
        if isinstance(number, bool) or not isinstance(number, int | str) or number in found:
            raise ValueError(f"{what}: expected labels by number or name, each once, got {key!r}")
        found[number] = value
    if not found:
        raise ValueError(f"{what}: expected a value for each label, got none")
    return found


def _without_unit(what: str, option: str, value: Any) -> Any:
    """A number behind which its unit stood; what is none is left for others to refuse."""
    if isinstance(value, Mapping):
        return {key: _without_unit(what, option, each) for key, each in value.items()}
    ends = (unit for unit in ("mm3", "mm") if option.endswith(f"_{unit}"))
    unit = "%" if "percent" in option else next(ends, "")
    if not unit or not isinstance(value, str) or not _QUANTITY.fullmatch(value.strip()):
        return value
    try:
        return read_number(value, unit)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def _check_kind(what: str, value: Any, annotation: Any) -> None:
    """Refuse what is no number or no flag where the function says that it takes nothing else."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    kind = text.removesuffix(" | None")
    if kind not in ("int", "float", "bool") or (value is None and kind != text):
        return
    expected = {"bool": "true or false", "int": "a whole number", "float": "a number"}[kind]
    flag = isinstance(value, bool)
    good = flag if kind == "bool" else isinstance(value, int | float) and not flag
    if not good or (kind == "int" and not float(value).is_integer()):
        raise ValueError(f"{what}: expected {expected}, got {value!r}")


def _parts(text: str) -> list[str]:
    """Split at the commas that stand in no bracket and no quotation."""
    parts, closing, quote = [""], [""], ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in _OPENING:
            closing.append(_OPENING[letter])
        elif letter == closing[-1]:
            closing.pop()
        elif letter == "," and len(closing) == 1:
            parts.append("")
            continue
        parts[-1] += letter
    return parts
