"""How a profile ranks, checked and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from medloss.evaluation.profiles.reading import ReadProfile

_METHODS = {
    "rank_then_aggregate": "Runs are ranked in each case, and the {aggregate} of the ranks counts",
    "aggregate_then_rank": "Runs are ranked by the {aggregate} of their values over the cases",
    "test_then_rank": "Runs are ranked by how many others each is significantly better than "
    "(one-sided signed-rank tests, Holm, {level:g})",
}


@dataclass(frozen=True)
class Rules:
    """How a profile ranks.

    Args:
        method: ``rank_then_aggregate``, ``aggregate_then_rank`` or ``test_then_rank``.
        aggregate: ``mean`` or ``median``, over cases.
        ties: whether equal values share the ``mean`` of their ranks or the ``min``, the best one.
        missing: a run without a value in a case has the ``worst`` one, or the case is dropped
            for that run (``drop``).
        level: of the tests.
        label_mean: labels are averaged ``of_each_case`` or ``of_all_cases`` before they are ranked;
            empty where each is ranked by itself.
        tie_break: metric that decides between equal runs; empty for none.
        metrics: columns that count, ``METRIC`` or ``METRIC[LABEL]``; empty for all.
        labels: names or numbers of the labels that count; empty for all.
        weights: of metrics and of labels, by their names; 1 where nothing is said.
        penalties: value of a run without one, by metric.
    """

    method: str
    aggregate: str = "mean"
    ties: str = "mean"
    missing: str = "worst"
    level: float = 0.05
    label_mean: str = ""
    tie_break: str = ""
    metrics: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    penalties: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, profile: ReadProfile) -> Rules:
        """Those of a profile.

        Raises:
            ValueError: it has none, or they contradict one another.
        """
        said = dict(profile.part("ranking"))
        if not said:
            raise ValueError(f"the profile {profile.name} has no [ranking]")
        for name in ("metrics", "labels"):
            said[name] = tuple(said.get(name, ()))
        rules = cls(**said)
        if rules.label_mean == "of_all_cases" and rules.method != "aggregate_then_rank":
            raise ValueError(
                f"{profile.origin}: ranking.label_mean: of_all_cases needs the method "
                f"aggregate_then_rank, got {rules.method}"
            )
        return rules

    def describe(self) -> str:
        """What was done, in sentences."""
        said = [_METHODS[self.method].format(aggregate=self.aggregate, level=self.level)]
        words = {
            "of_each_case": "the labels of each case are averaged first",
            "of_all_cases": "the means of the labels are averaged",
        }
        if self.label_mean:
            said[0] += f"; {words[self.label_mean]}"
        shared = "mean of their ranks" if self.ties == "mean" else "best of their ranks"
        said.append(f"Equal values share the {shared}")
        told = ", ".join(f"{name} {value:g}" for name, value in self.penalties.items())
        if self.missing == "drop":
            said.append("A case without a value is left out for that run")
        else:
            worst = f"{told}; else " if told else ""
            said.append(
                f"A case that failed, or a label that has no value because it was missed or "
                f"spurious, counts as {worst}the worst value of any run"
            )
        if self.weights:
            parts = [
                f"{name} {x:g}" for table in self.weights.values() for name, x in table.items()
            ]
            said.append(f"Weights: {', '.join(parts)}")
        if self.tie_break:
            said.append(f"Between equal runs {self.tie_break} decides")
        return f"{'. '.join(said)}."
