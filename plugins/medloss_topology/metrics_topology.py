"""Topology metrics: errors of Betti numbers and of the Euler number, objects without a partner."""

from __future__ import annotations

from collections.abc import Iterator

from medloss.scoring import Topology
from medloss.scoring.topology import Betti, Pairing, Patch


def betti_error(
    topology: Topology,
    *,
    dimension: int | str = "sum",
    connectivity: Pairing = "corners",
    patch_voxels: Patch = None,
    stride_voxels: Patch = None,
    of_reference: bool = False,
) -> float:
    """Betti number error: difference in the numbers of objects, tunnels and cavities.

    Formula:
        |b_k(P) − b_k(G)|, reference G and prediction P, for k = 0 (objects), 1 (tunnels, handles
        and rings; in 2D holes), 2 (cavities, closed on all sides; none in 2D), or the sum of the
        three. It is blind to place: as many objects somewhere else are no error.

    Range:
        0 (best) upwards, a number of objects, tunnels and cavities.

    Empty:
        the numbers of the other mask if the class is missed or spurious, 0 if it is in neither.

    Args:
        topology: of the class. Voxels that do not count are in neither mask.
        dimension: 0, 1, 2, or "sum".
        connectivity: how voxels are joined: across "corners" (26 neighbours, and 6 in the
            background; in 2D 8 and 4) or across "faces" (6 and 26; 4 and 8).
        patch_voxels: size of patches, one number or one for each axis of a volume, over which
            errors are added up: another metric, to which a gap between two patches is none. Without
            it there is the whole image.
        stride_voxels: from one patch to the next; always given beside ``patch_voxels``.
        of_reference: instead, the error between the two connectivities of the reference itself, a
            floor: as a diagonal line is one object or many, an error below it says nothing.

    Example:
        >>> import numpy as np
        >>> ring = np.ones((5, 5), dtype=bool)
        >>> ring[1:4, 1:4] = False
        >>> cut = ring.copy()
        >>> cut[2, 4] = False
        >>> [betti_error(Topology(ring, cut), dimension=k) for k in (0, 1, 2)]
        [0.0, 1.0, 0.0]

    Source:
        Hu et al. 2019, arXiv:1906.05404; Berger et al. 2025, arXiv:2412.14619 (state connectivity,
        keep dimensions apart, know the floor).
    """
    if isinstance(dimension, bool) or dimension not in (0, 1, 2, "sum"):
        raise ValueError(f"dimension: expected 0, 1, 2 or 'sum', got {dimension!r}")
    numbers = range(3) if isinstance(dimension, str) else (dimension,)
    pairs = _pairs(topology, connectivity, patch_voxels, stride_voxels, of_reference)
    return float(sum(abs(other[k] - one[k]) for one, other in pairs for k in numbers))


def euler_error(
    topology: Topology,
    *,
    connectivity: Pairing = "corners",
    patch_voxels: Patch = None,
    stride_voxels: Patch = None,
    of_reference: bool = False,
) -> float:
    """Euler number error: one number for all of the topology, in which errors may cancel.

    Formula:
        |χ(P) − χ(G)|, reference G and prediction P, with χ = b0 − b1 + b2, the numbers of objects,
        tunnels and cavities. One more object and one more ring are no error together.

    Range:
        0 (best) upwards, a number.

    Empty:
        the Euler number of the other mask if the class is missed or spurious, 0 if it is in
        neither.

    Args:
        topology: of the class. Voxels that do not count are in neither mask.
        connectivity: across "corners" or "faces", as of ``betti_error``.
        patch_voxels: size of patches over which errors are added up, as of ``betti_error``.
        stride_voxels: from one patch to the next; always given beside ``patch_voxels``.
        of_reference: instead, the error between the two connectivities of the reference itself.

    Example:
        >>> import numpy as np
        >>> ring = np.ones((5, 5), dtype=bool)
        >>> ring[1:4, 1:4] = False
        >>> euler_error(Topology(ring, np.ones_like(ring)))
        1.0

    Source:
        scikit-image's ``measure.euler_number`` has the same χ, with the same connectivities.
    """
    pairs = _pairs(topology, connectivity, patch_voxels, stride_voxels, of_reference)
    return float(sum(abs(other.euler - one.euler) for one, other in pairs))


def component_match_error(topology: Topology, *, connectivity: Pairing = "corners") -> float:
    """Component match error: objects of either mask that have no partner in the other one.

    Formula:
        b0(P) + b0(G) − 2 M, with b0 the numbers of objects of the prediction P and the reference G,
        and M the objects of P ∪ G that hold voxels of both. An object has at most one partner, and
        it has to be in one piece with it. Unlike the error of b0 it sees where objects are. It is
        no Betti matching error, for which persistent homology is needed, and has other values.

    Range:
        0 (best) upwards, a number of objects.

    Empty:
        the objects of the other mask if the class is missed or spurious, 0 if it is in neither.

    Args:
        topology: of the class. Voxels that do not count are in neither mask.
        connectivity: across "corners" or "faces", as of ``betti_error``.

    Example:
        >>> import numpy as np
        >>> here, there = np.array([[1, 0, 0, 1, 0]]) > 0, np.array([[1, 0, 0, 0, 0]]) > 0
        >>> component_match_error(Topology(here, there))
        1.0

    Source:
        This package; the matching in all dimensions is that of Stucki et al. 2023,
        arXiv:2211.15272.
    """
    return float(topology.unmatched(connectivity))


def _pairs(
    topology: Topology,
    connectivity: Pairing,
    patch_voxels: Patch,
    stride_voxels: Patch,
    of_reference: bool,
) -> Iterator[tuple[Betti, Betti]]:
    """Betti numbers of what is compared, for each patch."""
    for part in topology.parts(patch_voxels, stride_voxels):
        one, other = part.betti(connectivity)
        yield (part.betti("corners")[0], part.betti("faces")[0]) if of_reference else (one, other)
