"""Scores of MONAI bundles: inference by sliding windows, and nothing written in between."""

from medloss.integrations.bundle.evaluate import (
    BundleCases,
    bundle_pairs,
    check_losses,
    evaluate_bundle,
)
from medloss.integrations.bundle.settings import BundleInference, read_bundle

__all__ = [
    "BundleCases",
    "BundleInference",
    "bundle_pairs",
    "check_losses",
    "evaluate_bundle",
    "read_bundle",
]
