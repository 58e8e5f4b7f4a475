"""What ``--decode`` asks for, in the words of a command, of Python or of a profile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medloss.decision import Decoding
from medloss.evaluation.requests import parse_request


def parse_decoding(asked: str | Mapping[str, Any]) -> Decoding:
    """Read ``argmax``, ``dice``, ``dice:least_chance=0.5``, a file, or ``{"thresholds": [...]}``.

    Raises:
        ValueError: it is none of these, or the file cannot be used.

    Example:
        >>> parse_decoding("dice:least_chance=0.5,method=rma").record()
        {'kind': 'dice', 'method': 'rma', 'least_chance': 0.5}
        >>> parse_decoding({"thresholds": [0, 0.4]}).thresholds
        (0.0, 0.4)
    """
    try:
        if isinstance(asked, Mapping):
            return Decoding.of_record({"kind": "thresholds", **asked})
        if asked.lower().endswith(".json"):
            return Decoding.of_file(Path(asked))
        request = parse_request(asked)
        options = dict(request.options)
        known = ("method", "least_chance") if request.name == "dice" else ()
        if request.name not in ("argmax", "dice"):
            raise ValueError(
                f"expected argmax, dice or a .json file of thresholds, got {request.name!r}"
            )
        if lost := [name for name in options if name not in known]:
            raise ValueError(f"{request.name} has no option {lost[0]!r}")
        return Decoding.of_record({"kind": request.name, **options})
    except ValueError as error:
        raise ValueError(f"--decode: {error}") from error
