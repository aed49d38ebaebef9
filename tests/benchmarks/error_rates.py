"""How often a study says something false: every kind of claim, simulated.

    python tests/benchmarks/error_rates.py [STUDIES]

prints the tables of docs/statistics.md. All methods of a study are compared with one reference, so
their differences are correlated. Each study is judged by `analysis.one_study.verdicts`.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from analysis.one_study import verdicts
from analysis.one_study.pairing import Pairs
from analysis.statistics import estimates, paired, power

Array = NDArray[np.float64]
Law = Callable[[np.random.Generator, tuple[int, int]], Array]

SEEDS = (6, 8, 10, 20, 30)
FAMILIES = (1, 3, 5, 10, 30)
MARGIN = 4.0  # in standard deviations of a score
STUDIES = 2_000
ALPHA = 0.05
INTERVAL_ALONE = replace(paired.EXACT, p=lambda differences: 1.0)  # no verdict reads the p


def normal(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    return rng.normal(size=size)


def skewed(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """Skewed scores, equally in every method: the differences are symmetric."""
    return 1 - rng.exponential(size=size)


def collapsing(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """A tenth of the seeds of every method far below the others."""
    return rng.normal(size=size) - 10 * (rng.random(size) < 0.1)


def one_sided(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """Skewed scores of mean 0 against a normal reference: the differences are not symmetric."""
    scores = 1 - rng.exponential(size=size)
    scores[0] = rng.normal(size=size[1]) / 10
    return scores


def study(rng: np.random.Generator, law: Law, n: int, m: int, gain: float) -> list[str]:
    """Return the verdicts of one study in which every method is better by `gain`."""
    scores = law(rng, (m + 1, n))
    scores[1:] += gain
    rules = verdicts.Rules(True, MARGIN, ALPHA, m, test=INTERVAL_ALONE)
    reference = tuple(scores[0].tolist())
    pairs = [
        Pairs(f"m{i}", "r", tuple(range(n)), tuple(row.tolist()), reference)
        for i, row in enumerate(scores[1:])
    ]
    return [
        c.verdict.removeprefix(verdicts.SUGGESTIVE) for c in verdicts.compare_family(pairs, rules)
    ]


def rates(law: Law, n: int, m: int, studies: int) -> Iterator[float]:
    """Yield, for each kind of claim, the share of studies that make a false one."""
    rng = np.random.default_rng([n, m])
    null = [study(rng, law, n, m, 0.0) for _ in range(studies)]
    edge = [study(rng, law, n, m, MARGIN) for _ in range(studies)]
    yield share(null, lambda word: word.startswith((verdicts.BETTER, verdicts.WORSE)))
    yield share(edge, lambda word: verdicts.BY_MORE in word)
    inside = (verdicts.EQUIVALENT, verdicts.BETTER + verdicts.BY_LESS)
    yield share(edge, lambda word: word in inside)


def share(studies: list[list[str]], is_false: Callable[[str], bool]) -> float:
    """Return the share of studies with one false verdict or more."""
    return sum(any(map(is_false, words)) for words in studies) / len(studies)


def price(studies: int) -> None:
    """Print how often a true difference is found by Holm's procedure and by the intervals."""
    print(f"\ndifferences found with 10 seeds (%, {studies} studies)\n")
    print("| comparisons, d_z | Holm | intervals |\n|---|---|---|")
    for m, effect in itertools.product((3, 5, 10), (1.0, 1.5, 2.0)):
        rng, found = np.random.default_rng(m), np.zeros(2)
        for _ in range(studies):
            d = rng.normal(effect * np.sqrt(2), 1, (m, 10)) - rng.normal(size=10)
            p = np.array([paired.sign_flip_p(row) for row in d])
            found += [np.mean(multipletests(p, ALPHA, "holm")[0]), np.mean(m * p <= ALPHA)]
        shares = " | ".join(f"{100 * share:.1f}" for share in found / studies)
        print(f"| {m}, {effect} | {shares} |", flush=True)


def main(studies: int) -> None:
    kinds = "false better or worse / by more than the margin / inside the margin"
    for law in (normal, skewed, collapsing, one_sided):
        print(f"\n{law.__name__}: {kinds} (%, {studies} studies)\n")
        print("| n | " + " | ".join(f"m = {m}" for m in FAMILIES) + " |")
        print("|---" * (len(FAMILIES) + 1) + "|")
        for n in SEEDS:
            cells = [
                " / ".join(f"{100 * r:.1f}" for r in rates(law, n, m, studies)) for m in FAMILIES
            ]
            print(f"| {n} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    nothing = estimates.Effect(0.0, 0.0, 0.0)
    with (  # what no verdict reads takes most of the time
        mock.patch.object(power, "visible_effect", return_value=1.0),
        mock.patch.object(power, "seeds_for_difference", return_value=10),
        mock.patch.object(estimates, "hedges_g", return_value=nothing),
        mock.patch.object(estimates, "correlation", return_value=0.0),
        mock.patch.object(estimates, "probability_of_outperforming", return_value=None),
        mock.patch.object(paired, "paired_t_p", return_value=1.0),
        mock.patch.object(paired.sign_flip_interval, "__defaults__", (9_999,)),
    ):
        main(int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES)
    price(400)
