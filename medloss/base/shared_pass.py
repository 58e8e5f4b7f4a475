"""Several losses on class sums of the same voxels: one pass for all, each with its own sums."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medloss.base.on_sums import SumsLoss
from medloss.base.targets import Prepared
from medloss.sums import ClassSums, Term
from medloss.sums.terms import as_terms


def sums_of_each(losses: Sequence[SumsLoss], prepared: Prepared) -> list[ClassSums]:
    """The sums of each loss and nothing else, from one pass over the voxels.

    What several ask for is summed once. Maps of one name that are not the same tensor are apart.

    Args:
        losses: any, none too.
        prepared: checked inputs.
    """
    maps: dict[str, Tensor] = {}
    own: list[tuple[Term, ...]] = []
    asked: list[tuple[Term, ...]] = []
    for loss in losses:
        names = {}
        for name, given in loss.maps(prepared).items():
            known_as = name
            while maps.setdefault(known_as, given) is not given:
                known_as += "'"
            names[name] = known_as
        own.append(as_terms(loss.terms()))
        asked.append(tuple(_with_map(term, names) for term in own[-1]))
    everything = [term for terms in asked for term in terms]
    if not everything:
        return [ClassSums((), ()) for _ in losses]
    whole = prepared.sums(everything, maps)
    pairs = zip(own, asked, strict=True)
    return [ClassSums(tuple(whole[each] for each in there), here) for here, there in pairs]


def _with_map(term: Term, names: dict[str, str]) -> Term:
    """The term with its map as the pass knows it."""
    return term if term.map is None else Term(term.name, None, names.get(term.map, term.map))
