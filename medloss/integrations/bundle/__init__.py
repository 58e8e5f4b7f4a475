"""MONAI bundles: what is in them, and scores of what they predict, by sliding windows."""
