"""Counts and surface distances of label maps that are tensors, on whatever device they are.

The same facts as those of the compiled loops in :mod:`medloss.scoring.surface`, by torch and the
distance transform. Nothing in :mod:`medloss.scoring` imports this before it is given a tensor or a
device: scoring on the CPU needs no torch.
"""

from medloss.scoring.tensors.maps import TensorMaps, tensor_of
from medloss.scoring.tensors.surfaces import TensorBands, tensor_distances

__all__ = ["TensorBands", "TensorMaps", "tensor_distances", "tensor_of"]
