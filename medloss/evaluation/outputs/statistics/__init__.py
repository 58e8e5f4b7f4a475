"""How sure a number is, and what is like what: pure functions on arrays, a module a subject.

``equal`` says which numbers are equal, ``intervals`` makes intervals of means, quantiles and
shares, ``clusters`` knows of patients with several scans, ``means`` chooses the interval of a mean,
``paired_tests`` tests differences, ``groups`` those between groups of cases, ``agreement``
sets volumes against one another, ``sample_size`` says how many cases it takes.
"""

from medloss.evaluation.outputs.statistics.equal import SHARE, Floats, levels, slack_of
from medloss.evaluation.outputs.statistics.intervals import BOOTSTRAP, Bootstrap, Interval
from medloss.evaluation.outputs.statistics.means import mean_interval

__all__ = [
    "BOOTSTRAP",
    "SHARE",
    "Bootstrap",
    "Floats",
    "Interval",
    "levels",
    "mean_interval",
    "slack_of",
]
