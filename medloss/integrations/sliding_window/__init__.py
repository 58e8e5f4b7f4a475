"""Sliding windows that are scored row by row, so that volume times classes never exists."""

from medloss.integrations.sliding_window.score import SlidingWindowScore, VolumeScore
from medloss.integrations.sliding_window.stitch import Rows

__all__ = ["Rows", "SlidingWindowScore", "VolumeScore"]
