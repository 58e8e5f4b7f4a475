"""What a difference says, in a sentence that never says more than its interval.

A run is called better only where the interval of the mean difference does not hold 0 and the test,
adjusted for its family, is below 0.05.
"""

from __future__ import annotations

import math

from medloss.evaluation.compare.paired import Difference
from medloss.evaluation.outputs.formats import number, p_value
from medloss.evaluation.outputs.statistics.clusters import FLIP_DECIDES_TO, LEAST
from medloss.evaluation.outputs.statistics.intervals import LEAST_FOR_MEAN

LEVEL = 0.05
"""Of tests."""


def is_better(found: Difference) -> bool:
    """Whether one of the runs may be called better."""
    shown = found.interval.known and not found.interval.holds(0.0)
    return shown and found.primary and found.p_holm < LEVEL


def verdict(found: Difference) -> str:
    """The sentence, without an end."""
    said = [_superiority(found)]
    if found.margin is not None:
        said.append(_margin(found))
    if found.interval.caution and found.ties < found.n:
        decides = " and the flip test decides" if 0 < found.clusters <= FLIP_DECIDES_TO else ""
        said.append(f"{found.interval.caution}{decides}")
    if found.complete is not None:
        said.append(_complete(found))
    return "; ".join(said)


def _superiority(found: Difference) -> str:
    first, second, n = found.first, found.second, found.n
    many = f"{n} {'case' if n == 1 else 'cases'}"
    if not n:
        return f"nothing is known of {second} and {first}: no case has a number in both"
    if not math.isfinite(found.mean):
        return (
            f"the means of {second} and {first} cannot be compared, for values are infinite; by "
            f"ranks {second} is ahead in {found.wins} of {many} and behind in {found.losses} "
            f"({_p(found)})"
        )
    if found.ties == n:
        return f"{second} and {first} are equal in {'the' if n == 1 else 'all'} {many}"
    size = _told(abs(found.mean), found)
    unit = f" {found.measure.unit}" if found.measure.unit else ""
    if not found.interval.known:
        few = (
            f"{found.clusters} {'cluster is' if found.clusters == 1 else 'clusters are'} too few "
            f"(at least {LEAST})"
            if found.clusters
            else f"{many} {'is' if n == 1 else 'are'} too few (at least {LEAST_FOR_MEAN})"
        )
        return f"{few} to tell {second} from {first}"
    evidence = f"{_interval(found)}, {_p(found)}"
    winner = found.favours
    if not winner:
        return f"no difference is shown between {second} and {first} ({evidence})"
    other = first if winner == second else second
    if found.interval.holds(0.0):
        return (
            f"no difference is shown between {second} and {first}: the mean of {winner} is ahead "
            f"by {size}{unit}, which may be chance ({evidence})"
        )
    if is_better(found):
        return f"{winner} is better than {other} by {size}{unit} ({evidence})"
    why = "the tests of the family do not establish it" if found.primary else "descriptive only"
    return f"the mean of {winner} is ahead of that of {other} by {size}{unit}; {why} ({evidence})"


def _interval(found: Difference) -> str:
    low, high = (_told(end, found) for end in (found.ci_low, found.ci_high))
    return f"{found.second} minus {found.first}: 95% interval {low} to {high}"


def _told(value: float, found: Difference) -> str:
    """A number that is no 0 is not rounded to one: which side an end lies on is what matters."""
    text = number(value, found.measure.unit)
    return f"{value:.2g}" if value and not float(text) else text


def _p(found: Difference) -> str:
    if math.isnan(found.p):
        return "no test"
    if not found.primary:
        return f"p {p_value(found.p)} unadjusted"
    return f"p {p_value(found.p)}, adjusted {p_value(found.p_holm)}"


def _margin(found: Difference) -> str:
    against = found.margin
    if against is None or against.non_inferior is None:
        return "nothing is said about the margin"
    size = f"{against.margin:g}{f' {found.measure.unit}' if found.measure.unit else ''}"
    words = "not worse than" if against.non_inferior else "not shown to be not worse than"
    said = f"{found.second} is {words} {found.first} by {size} or more"
    alike = "are equivalent" if against.equivalent else "are not shown to be equivalent"
    rest = ""
    if against.equivalent and not against.equivalent95:
        rest = " (90% interval, the 95% interval reaches beyond)"
    return f"{said}; they {alike} within {size}{rest}"


def _complete(found: Difference) -> str:
    rest = found.complete
    if rest is None:
        return ""
    given = [
        f"{count} of {name}"
        for count, name in (
            (found.worst_first, found.first),
            (found.worst_second, found.second),
        )
        if count
    ]
    mean, low, high = (
        number(x, found.measure.unit) for x in (rest.mean, rest.interval.low, rest.interval.high)
    )
    ends = f" ({low} to {high})" if rest.interval.known else ""
    return (
        f"missing values count as the worst ({', '.join(given)}); without these cases the "
        f"difference is {mean}{ends} in {rest.n}"
    )
