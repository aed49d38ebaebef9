"""Paired stratified bootstrap over the seeds of several streams (Agarwal et al. 2021).

Shape legend: M methods, S_b seeds of stream b, R resamples. Seeds are resampled within each stream
and the same seeds for every method, so that the intervals keep the pairing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.many_studies.strata import Stratum
from analysis.statistics import estimates
from analysis.statistics.estimates import Array

Indices = NDArray[np.int64]

TRIMMED = 0.25  # on either side: what is left is the interquartile mean
ROUND_OFF = 1e-12


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    No limits where the seeds are too few, or where no resample differs from another: an interval
    without width would look like certainty.
    """

    value: float
    low: float | None
    high: float | None


def resampled_seeds(sizes: Sequence[int], resamples: int, seed: int) -> list[Indices]:
    """Positions of the seeds drawn with replacement, of each stream [R, S_b]."""
    rng = np.random.default_rng(seed)
    return [rng.integers(n, size=(resamples, n)) for n in sizes]


def interquartile_mean(pooled: Array) -> Array:
    """IQM [...] of the last axis: the mean without the lowest and the highest quarter.

    floor(N / 4) values go on either side, as in scipy and in Agarwal et al. (2021).
    """
    return np.asarray(stats.trim_mean(pooled, TRIMMED, axis=-1), dtype=np.float64)


def resampled_iqm(scores: Sequence[Array], draws: Sequence[Indices]) -> Array:
    """IQM over runs and streams of one method's normalised scores [S_b], in each resample [R]."""
    drawn = [x[index] for x, index in zip(scores, draws, strict=True)]
    return interquartile_mean(np.concatenate(drawn, axis=1))


def resampled_mean(values: Sequence[Array], draws: Sequence[Indices]) -> Array:
    """Mean over streams of the mean over seeds [S_b], in each resample [R]."""
    drawn = [x[index].mean(axis=1) for x, index in zip(values, draws, strict=True)]
    return np.asarray(np.mean(drawn, axis=0), dtype=np.float64)


@dataclass(frozen=True)
class Bootstrap:
    """The strata and one set of resampled seeds, which all methods and statistics share."""

    strata: Sequence[Stratum]
    draws: Sequence[Indices]
    confidence: float
    unit: str = "seed"  # of pairing

    def iqm(self, method: str) -> Interval:
        scores = self._normalised(method)
        value = float(interquartile_mean(np.concatenate(scores)))
        return self._interval(value, resampled_iqm(scores, self.draws))

    def iqm_difference(self, method: str, reference: str) -> Interval:
        first, second = self._normalised(method), self._normalised(reference)
        value = interquartile_mean(np.concatenate(first)) - interquartile_mean(
            np.concatenate(second)
        )
        samples = resampled_iqm(first, self.draws) - resampled_iqm(second, self.draws)
        return self._interval(float(value), samples)

    def mean(self, values: Sequence[Array]) -> Interval:
        value = float(np.mean([np.mean(x) for x in values]))
        return self._interval(value, resampled_mean(values, self.draws))

    @property
    def has_intervals(self) -> bool:
        return all(len(s.seeds) >= estimates.FEWEST_FOR_INTERVAL for s in self.strata)

    def constant(self, method: int) -> bool:
        flat = all(estimates.all_identical(s.values[method]) for s in self.strata)
        return flat and self.has_intervals

    def _normalised(self, method: str) -> list[Array]:
        return [s.normalised[s.methods.index(method)] for s in self.strata]

    def _interval(self, value: float, samples: Array) -> Interval:
        if not self.has_intervals:
            return Interval(value, None, None)
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(samples, [tail, 1 - tail])
        if high - low <= ROUND_OFF:
            return Interval(value, None, None)
        return Interval(value, float(low), float(high))
