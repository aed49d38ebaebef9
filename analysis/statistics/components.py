"""The variance of scores in groups, split into a part between groups and a part within them.

Shape legend: K groups of S scores each; S may differ between groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.statistics.estimates import SMALLEST_DIFFERENCE, Array


@dataclass(frozen=True)
class Components:
    """Standard deviations between and within groups.

    `share` is the part of the groups in the variance of one score; None for equal scores.
    """

    between: float
    within: float
    share: float | None


def one_way(groups: Sequence[Array]) -> Components | None:
    """Return the components of the one-way random-effects model, by the ANOVA estimator.

    A score is mean + group + rest, the last two independent with mean 0. With n_i scores in group
    i, N in all, the variance between groups is (MS_between - MS_within) / n_0, where
    n_0 = (N - sum n_i^2 / N) / (K - 1); a negative estimate counts as 0.

    None with fewer than 2 groups, or without 2 scores in any group.

    >>> one_way([np.array([1.0, 3.0]), np.array([5.0, 7.0])])  # MS 16 and 2, n_0 = 2
    Components(between=2.6457513110645907, within=1.4142135623730951, share=0.7777777777777778)
    """
    sizes = np.array([len(group) for group in groups if len(group)])
    scores = np.concatenate([*groups]) if groups else np.zeros(0)
    count, total = len(sizes), len(scores)
    if count < 2 or total == count:
        return None
    means = np.array([np.mean(group) for group in groups if len(group)])
    between = float(sizes @ (means - np.mean(scores)) ** 2) / (count - 1)
    within = sum(float(np.sum((g - np.mean(g)) ** 2)) for g in groups if len(g)) / (total - count)
    size = (total - float(sizes @ sizes) / total) / (count - 1)
    variance = max((between - within) / size, 0.0)
    if variance + within <= SMALLEST_DIFFERENCE**2:  # round-off
        return Components(0.0, 0.0, None)
    return Components(variance**0.5, within**0.5, variance / (variance + within))
