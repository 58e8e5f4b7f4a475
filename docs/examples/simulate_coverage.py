"""How often the intervals of medloss hold the true mean: the tables of docs/statistics.md.

    python docs/examples/simulate_coverage.py [--samples 2000]

Three populations of Dice values: one that is nearly always good, one with rare failures (8% zeros),
one with many (25% zeros). Then patients with one to four scans each, of which the patient makes
half of the variance.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.outputs.statistics import Bootstrap, mean_interval
from medloss.evaluation.outputs.statistics.intervals import bca_interval, quantile_interval

Values = NDArray[np.float64]
SEED = 2026
BOOTSTRAP = Bootstrap(resamples=1000)


def good(rng: np.random.Generator, n: int) -> Values:
    """Beta(20, 2)."""
    return rng.beta(20, 2, n)


def rare(rng: np.random.Generator, n: int) -> Values:
    """Beta(8, 2), of which 8% fail."""
    return np.where(rng.random(n) < 0.08, 0.0, rng.beta(8, 2, n))


def many(rng: np.random.Generator, n: int) -> Values:
    """Beta(2, 1.2), of which 25% fail."""
    return np.where(rng.random(n) < 0.25, 0.0, rng.beta(2, 1.2, n))


POPULATIONS: dict[str, tuple[Callable[[np.random.Generator, int], Values], float]] = {
    "nearly always good": (good, 20 / 22),
    "rare failures": (rare, 0.92 * 0.8),
    "many failures": (many, 0.75 * 2 / 3.2),
}


def cases(samples: int) -> None:
    """Coverage by the number of independent cases."""
    print("| population | n | used | its coverage | BCa alone | median, by ranks |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    for name, (draw, mean) in POPULATIONS.items():
        median = float(np.median(draw(np.random.default_rng(SEED), 2_000_000)))
        for n in (5, 10, 30, 100):
            rng = np.random.default_rng(SEED + n)
            held = np.zeros(3)
            method, ranks = "", ""
            for _ in range(samples):
                values = draw(rng, n)
                found = mean_interval(values, BOOTSTRAP)
                method = found.method or method
                low, high = bca_interval(values, bootstrap=BOOTSTRAP)
                least, most = quantile_interval(values, 0.5)
                held += (
                    found.low <= mean <= found.high,
                    low <= mean <= high,
                    least <= median <= most,
                )
            shares = held / samples
            ranks = f"{shares[2]:.3f}" if n >= 6 else "none"
            row = (name, n, method, f"{shares[0]:.3f}", f"{shares[1]:.3f}", ranks)
            print(f"| {' | '.join(map(str, row))} |", flush=True)


def patients(samples: int) -> None:
    """Coverage by the number of patients, who have one to four scans each."""
    print("| patients | used | its coverage | each scan for itself | design effect |")
    print("| ---: | --- | ---: | ---: | ---: |")
    for count in (5, 6, 10, 20, 30, 50):
        rng = np.random.default_rng(SEED + count)
        held, effects, method = np.zeros(2), [], "none"
        for _ in range(samples):
            sizes = rng.integers(1, 5, count)
            sizes[0] = max(sizes[0], 2)  # or each would stand for itself
            names = np.repeat(np.arange(count), sizes)
            person = rng.normal(0, 1, count)
            values = person[names] + rng.normal(0, 1, len(names))
            found = mean_interval(values, BOOTSTRAP, clusters=[*map(str, names)])
            alone = mean_interval(values, BOOTSTRAP)
            held += (found.low <= 0 <= found.high, alone.low <= 0 <= alone.high)
            method = found.method or method
            effects.append(1 + ((sizes**2).sum() / sizes.sum() - 1) * 0.5)
        shares = held / samples
        own = f"{shares[0]:.3f}" if method != "none" else "none"
        row = (count, method, own, f"{shares[1]:.3f}", f"{np.mean(effects):.2f}")
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2000)
    samples = parser.parse_args().samples
    print(f"{samples} samples each, seed {SEED}, {BOOTSTRAP.resamples} resamples, nominal 0.95\n")
    cases(samples)
    print()
    patients(samples)


if __name__ == "__main__":
    main()
