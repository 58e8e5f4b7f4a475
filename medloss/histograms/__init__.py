"""Soft histograms of the errors |p − y| of each class, of which the Lovász loss is a function."""

from medloss.histograms.engine import error_histograms
from medloss.histograms.plain import edges

__all__ = ["edges", "error_histograms"]
