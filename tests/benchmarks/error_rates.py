"""How often a study says something false: every kind of claim, simulated.

    python tests/benchmarks/error_rates.py [STUDIES]

prints the tables of docs/statistics.md. All methods of a study are compared with one reference, so
their differences are correlated; or two differences of two methods are compared, whose four methods
vary unequally. Each study is judged by `analysis.one_study.verdicts`.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from analysis.one_study import verdicts
from analysis.one_study.pairing import Pairs
from analysis.statistics import estimates, paired, power

Array = NDArray[np.float64]
Law = Callable[[np.random.Generator, tuple[int, int]], Array]
Make = Callable[..., list[str]]  # of a generator and the gain
Cells = Sequence[Iterator[float]]

SEEDS = (6, 8, 10, 20, 30)
FAMILIES = (1, 3, 5, 10, 30)
MARGIN = 4.0  # in standard deviations of a score
SCALES = (0.5, 1.0, 2.0, 1.5)  # of the four methods of two differences
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
    return judged(scores[1:], scores[0])


def study_of_differences(rng: np.random.Generator, law: Law, n: int, gain: float) -> list[str]:
    """Return the verdict on whether one method gains more on a second than a third on a fourth."""
    scores = law(rng, (4, n)) * np.array(SCALES)[:, None]
    shared = law(rng, (2, n))  # of the seeds, in the two methods of each difference
    one, two = scores[:2] + shared[0]
    three, four = scores[2:] + shared[1]
    return judged((one - two + gain)[None], three - four)


def judged(methods: Array, reference: Array) -> list[str]:
    """Return the verdicts on methods, a row of scores each, against a reference."""
    rules = verdicts.Rules(True, MARGIN, ALPHA, len(methods), test=INTERVAL_ALONE)
    seeds, other = tuple(range(len(reference))), tuple(reference.tolist())
    pairs = [
        Pairs(f"m{i}", "r", seeds, tuple(row.tolist()), other) for i, row in enumerate(methods)
    ]
    return [
        c.verdict.removeprefix(verdicts.SUGGESTIVE) for c in verdicts.compare_family(pairs, rules)
    ]


def rates(make: Make, key: list[int], studies: int) -> Iterator[float]:
    """Yield, for each kind of claim, the share of studies that make a false one."""
    rng = np.random.default_rng(key)
    null = [make(rng, gain=0.0) for _ in range(studies)]
    edge = [make(rng, gain=MARGIN) for _ in range(studies)]
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


def print_table(title: str, heads: Sequence[str], rows: Mapping[int, Cells]) -> None:
    """Print a table of rates, with a row for each number of seeds."""
    print(f"\n{title}: false better or worse / by more than the margin / inside the margin (%)\n")
    print(f"| n | {' | '.join(heads)} |\n{'|---' * (len(heads) + 1)}|")
    for n, cells in rows.items():
        shown = [" / ".join(f"{100 * rate:.1f}" for rate in cell) for cell in cells]
        print(f"| {n} | {' | '.join(shown)} |", flush=True)


def main(studies: int) -> None:
    laws = (normal, skewed, collapsing, one_sided)
    for law in laws:
        rows = {
            n: [rates(partial(study, law=law, n=n, m=m), [n, m], studies) for m in FAMILIES]
            for n in SEEDS
        }
        print_table(law.__name__, [f"m = {m}" for m in FAMILIES], rows)
    rows = {
        n: [
            rates(partial(study_of_differences, law=law, n=n), [n, i], studies)
            for i, law in enumerate(laws)
        ]
        for n in SEEDS
    }
    print_table("two differences", [law.__name__ for law in laws], rows)


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
