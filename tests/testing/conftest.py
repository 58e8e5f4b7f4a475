"""Modules that are imported as plugins are: their examples are the contract's business."""

collect_ignore = ["broken_losses.py", "broken_metrics.py", "heavy.py"]
