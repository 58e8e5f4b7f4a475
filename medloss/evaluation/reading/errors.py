"""The one error of this package that belongs to a case and not to the command."""

from __future__ import annotations


class CaseError(ValueError):
    """A case cannot be evaluated; the text is one sentence that names the file and the reason."""
