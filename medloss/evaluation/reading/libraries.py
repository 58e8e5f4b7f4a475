"""Libraries that read a format: imported when such a file comes, and their errors are kept."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medloss.evaluation.reading.stored import CaseError, imported

_LONGEST_REASON = 200


@contextlib.contextmanager
def library(path: Path, name: str, extra: str, kind: str) -> Iterator[Any]:
    """The module of a library, whose errors become that the file is damaged.

    Its warnings and log say no more about a file than that, and would end between the rows of a
    table.

    Args:
        path: of the file, for the error texts.
        name: of the module.
        extra: of this distribution, that installs it.
        kind: of file, with its article.

    Raises:
        CaseError: the library is not installed, or fails.
    """
    logger = logging.getLogger(name.partition(".")[0])
    quiet, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield imported(path, name, extra)
    except (CaseError, MemoryError):
        raise
    # Whatever a library raises about a damaged file; the system's own errors have a number.
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CaseError(f"{path} is damaged, or no {kind}: {reason[:_LONGEST_REASON]}") from error
    finally:
        logger.disabled = quiet
