"""Definitions as files: what is scored how, read strictly and applied whole or not at all."""
