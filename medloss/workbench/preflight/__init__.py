"""What would spoil a training, found on one real batch before it begins."""

from medloss.workbench.preflight.inspection import preflight
from medloss.workbench.preflight.report import Finding, Report
from medloss.workbench.preflight.trial import Surroundings

__all__ = ["Finding", "Report", "Surroundings", "preflight"]
