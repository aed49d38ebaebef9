"""The confirmation seeds to run where seeds are added until every comparison is decided."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from analysis.one_study.pairing import Pairs
from analysis.one_study.verdicts import INCONCLUSIVE, Rules, compare_family
from analysis.records import methods_of, scores_of

GROWTH = 0.25  # seeds added at a time, as a share of those that have run
FEWEST_ADDED = 2


def rounds(first: int, most: int) -> Iterator[int]:
    """Yield the number of seeds after each round.

    The number of rounds is a matter of time alone: the test is valid after every seed.

    >>> list(rounds(first=8, most=20))
    [8, 10, 12, 15, 18, 20]
    """
    count = min(first, most)
    while count < most:
        yield count
        count = min(count + max(int(GROWTH * count), FEWEST_ADDED), most)
    yield most


def seeds_to_run(
    comparisons: Sequence[tuple[str, str]],
    scores: Mapping[str, Mapping[int, float]],
    order: Sequence[int],
    rules: Rules,
) -> dict[str, int]:
    """Return how many of the ordered seeds each method has to run.

    Every method runs the seeds of the first round, the fewest that can decide all comparisons.
    After each round the methods of undecided comparisons run some more seeds, all undecided
    comparisons together: none waits to see what the others show. A decided comparison stays
    decided, and so does one that failed seeds block. The answer is a function of the scores alone,
    whichever of the seeds have run already.

    Args:
        comparisons: pairs of methods, or of differences of two methods.
        scores: by method and seed; NaN for a failed seed.
        order: all seeds, in the order fixed beforehand.
        rules: of the verdicts, with an anytime-valid test.
    """
    counts = list(rounds(rules.fewest_seeds, len(order)))
    asked = dict.fromkeys(scores, counts[0])
    undecided = list(comparisons)
    for now, more in itertools.pairwise(counts):
        seeds = order[:now]
        undecided = [
            pair for pair in undecided if _is_undecided(_pairs(pair, scores, seeds), rules)
        ]
        sides = itertools.chain(*undecided)
        asked |= dict.fromkeys(itertools.chain(*map(methods_of, sides)), more)
    return asked


def _pairs(
    comparison: tuple[str, str], scores: Mapping[str, Mapping[int, float]], seeds: Sequence[int]
) -> Pairs:
    """Return the scores of both sides on the given seeds; NaN where a seed has not run."""
    found = [scores_of(side, scores) for side in comparison]
    first, second = (tuple(side.get(seed, math.nan) for seed in seeds) for side in found)
    return Pairs(*comparison, tuple(seeds), first, second)


@functools.lru_cache(maxsize=10_000)  # asked again with each new seed of the study
def _is_undecided(pairs: Pairs, rules: Rules) -> bool:
    """Return whether all seeds have run and leave a comparison inconclusive."""
    if not all(map(math.isfinite, (*pairs.method_scores, *pairs.reference_scores))):
        return False
    [comparison] = compare_family([pairs], rules)
    return comparison.verdict == INCONCLUSIVE
