"""Connected components, where losses look for them; :mod:`medloss.components` has them."""

from medloss.components import connected_components

__all__ = ["connected_components"]
