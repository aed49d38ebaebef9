"""Paired stratified bootstrap over the seeds of several streams (Agarwal et al. 2021).

Shape legend: M methods, S_b seeds of stream b, R resamples. Seeds are resampled within each stream,
the same seeds for every method, so that the intervals keep the pairing.
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

TRIMMED = 0.25  # share trimmed on either side for the interquartile mean
ROUND_OFF = 1e-12


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval.

    The limits are None for too few seeds, and if all resamples are equal: an interval without width
    would look like certainty.
    """

    value: float
    low: float | None
    high: float | None


def resampled_seeds(sizes: Sequence[int], resamples: int, seed: int) -> list[Indices]:
    """Return for each stream the indices of seeds drawn with replacement [R, S_b]."""
    rng = np.random.default_rng(seed)
    return [rng.integers(n, size=(resamples, n)) for n in sizes]


def interquartile_mean(pooled: Array) -> Array:
    """Return the interquartile mean [...] over the last axis [..., N].

    floor(N / 4) values are trimmed on either side, as in scipy and in Agarwal et al. (2021).
    """
    return np.asarray(stats.trim_mean(pooled, TRIMMED, axis=-1), dtype=np.float64)


def resampled_iqm(scores: Sequence[Array], draws: Sequence[Indices]) -> Array:
    """Return the IQM over seeds and streams of one method's scores [S_b], per resample [R]."""
    drawn = [x[index] for x, index in zip(scores, draws, strict=True)]
    return interquartile_mean(np.concatenate(drawn, axis=1))


def resampled_mean(values: Sequence[Array], draws: Sequence[Indices]) -> Array:
    """Return the mean over streams of the mean over seeds [S_b], per resample [R]."""
    drawn = [x[index].mean(axis=1) for x, index in zip(values, draws, strict=True)]
    return np.asarray(np.mean(drawn, axis=0), dtype=np.float64)


@dataclass(frozen=True)
class Bootstrap:
    """The strata and one set of resampled seeds, shared by all methods and statistics."""

    strata: Sequence[Stratum]
    draws: Sequence[Indices]
    confidence: float
    unit: str = "seed"  # of pairing

    def iqm(self, method: str) -> Interval:
        """Return the interquartile mean of a method's normalised scores over all streams."""
        scores = self._normalised(method)
        value = float(interquartile_mean(np.concatenate(scores)))
        return self._interval(value, resampled_iqm(scores, self.draws))

    def iqm_difference(self, method: str, reference: str) -> Interval:
        """Return the difference of two interquartile means of normalised scores."""
        scores, baseline = self._normalised(method), self._normalised(reference)
        value = interquartile_mean(np.concatenate(scores)) - interquartile_mean(
            np.concatenate(baseline)
        )
        samples = resampled_iqm(scores, self.draws) - resampled_iqm(baseline, self.draws)
        return self._interval(float(value), samples)

    def mean(self, values: Sequence[Array]) -> Interval:
        """Return the mean over streams of the mean over seeds; `values` are [S_b] per stream."""
        value = float(np.mean([np.mean(x) for x in values]))
        return self._interval(value, resampled_mean(values, self.draws))

    @property
    def has_intervals(self) -> bool:
        """Whether every stream has enough seeds for an interval."""
        return all(len(s.seeds) >= estimates.FEWEST_FOR_INTERVAL for s in self.strata)

    def is_constant(self, method: int) -> bool:
        """Return whether the scores of a method, by index, do not vary on any stream."""
        constant = all(estimates.all_identical(s.values[method]) for s in self.strata)
        return constant and self.has_intervals

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
