"""Soft histograms of the errors |p − y| of each class, and sums over bins of probability.

The Lovász loss is a function of the first, calibration losses of the second.
"""

from medloss.histograms.confidence import confidence_sums
from medloss.histograms.engine import error_histograms
from medloss.histograms.plain import edges

__all__ = ["confidence_sums", "edges", "error_histograms"]
