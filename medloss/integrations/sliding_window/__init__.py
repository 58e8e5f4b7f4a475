"""Sliding windows that are scored row by row, so that volume times classes never exists."""

from medloss.integrations.sliding_window.score import Score, SlidingWindowScore
from medloss.integrations.sliding_window.stitch import Rows

__all__ = ["Rows", "Score", "SlidingWindowScore"]
