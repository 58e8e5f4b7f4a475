"""What would spoil a training, found on one real batch before it begins."""

from medloss.preflight.findings import Finding
from medloss.preflight.inspection import preflight
from medloss.preflight.report import Report
from medloss.preflight.trial import Surroundings

__all__ = ["Finding", "Report", "Surroundings", "preflight"]
