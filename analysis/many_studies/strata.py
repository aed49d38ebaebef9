"""The comparable part of several streams: common methods and seeds, and reasons for the rest.

Shape legend: M methods, B streams, S_b seeds of stream b.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis import numbers
from analysis.statistics import estimates
from analysis.statistics.estimates import Array

METHOD = "method"
STREAM = "stream"


@dataclass(frozen=True)
class StreamScores:
    """The scores of one study, which has a stream of its own.

    Args:
        stream: name of the stream; only the first of two studies with one name counts.
        metric: the primary metric.
        chance: the score normalised to 0: the score of guessing, or `Metric.worst` if defined.
        higher_is_better: direction of the metric; the best value is 1 if true, else 0.
        reference: the method that all others are compared with.
        scores: method -> seed -> score; NaN for a failed seed.
        alpha: two-sided level of the study's tests and intervals.
        unit: of pairing: a seed, a speaker, a class.
        dataset: data set behind the stream; streams of one data set are not independent.
        imputed: method -> number of failed seeds that count as the worst score.
        bounds: offline bounds, which have a standing and are neither compared nor ranked.
    """

    stream: str
    metric: str
    chance: float
    higher_is_better: bool
    reference: str
    scores: Mapping[str, Mapping[int, float]]
    alpha: float = 0.05
    unit: str = "seed"
    dataset: str = ""
    imputed: Mapping[str, int] = field(default_factory=dict)
    bounds: frozenset[str] = frozenset()

    @property
    def best(self) -> float:
        """The score normalised to 1."""
        return 1.0 if self.higher_is_better else 0.0

    @property
    def sign(self) -> int:
        """+1 where a larger score is better, -1 where a smaller score is better."""
        return 1 if self.higher_is_better else -1

    @property
    def failed(self) -> dict[str, list[int]]:
        """Seeds without a finite score, by method."""
        return {
            method: [seed for seed, score in scores.items() if not math.isfinite(score)]
            for method, scores in self.scores.items()
            if not all(map(math.isfinite, scores.values()))
        }


@dataclass(frozen=True)
class LeftOut:
    """A method or a stream left out of the comparison, and the reason."""

    kind: str  # "method" or "stream"
    name: str
    reason: str


@dataclass(frozen=True)
class Stratum:
    """A stream restricted to the common methods and to the seeds shared by all of them."""

    source: StreamScores
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Array  # [M, S_b]

    @property
    def normalised(self) -> Array:
        """Scores between chance (0) and the best value (1) [M, S_b]."""
        chance, best = self.source.chance, self.source.best
        return (self.values - chance) / (best - chance)

    def differences(self, method: str, reference: str) -> Array:
        """Return method - reference [S_b], with round-off set to zero."""
        row, reference_row = self.methods.index(method), self.methods.index(reference)
        return estimates.paired_differences(self.values[row], self.values[reference_row])


def usable_streams(streams: Sequence[StreamScores]) -> tuple[list[StreamScores], list[LeftOut]]:
    """Return the streams with comparable scores, and the streams left out."""
    usable: list[StreamScores] = []
    left_out = []
    for stream in streams:
        reason = _reason_against(stream, usable)
        if reason:
            left_out.append(LeftOut(STREAM, stream.stream, reason))
        else:
            usable.append(stream)
    return usable, left_out


def _reason_against(stream: StreamScores, earlier: Sequence[StreamScores]) -> str:
    name = stream.stream
    if name in [s.stream for s in earlier]:
        return f"{name} is given twice; the second is left out, because it would count twice."
    if earlier and stream.metric != earlier[0].metric:
        return f"The metric of {name} is {stream.metric}, that of the first {earlier[0].metric}."
    if not any(stream.scores.values()):
        return f"{name} has no complete scores."
    if not stream.sign * (stream.best - stream.chance) > 0 or not math.isfinite(stream.chance):
        return (
            f"The chance level of {name}, {stream.chance:g}, is not worse than the best possible "
            f"score, {stream.best:g}, so its scores cannot be normalised."
        )
    return ""


def common_methods(streams: Sequence[StreamScores]) -> tuple[tuple[str, ...], list[LeftOut]]:
    """Return the methods with complete scores on every stream, and the methods left out."""
    names = list(dict.fromkeys(method for stream in streams for method in stream.scores))
    reasons = {name: _absence_reason(name, streams) for name in names}
    common = tuple(name for name in names if not reasons[name])
    return common, [LeftOut(METHOD, name, reasons[name]) for name in names if reasons[name]]


def _absence_reason(method: str, streams: Sequence[StreamScores]) -> str:
    missing = [stream.stream for stream in streams if not stream.scores.get(method)]
    reasons = [f"{method} has no complete scores on {', '.join(missing)}."] if missing else []
    reasons += [
        f"{method} failed on {s.stream} ({numbers.plural(s.unit)} "
        f"{numbers.seed_list(s.failed[method])}); that study's report says which may run again "
        'and how failed = "worst" counts them.'
        for s in streams
        if method in s.failed
    ]
    return " ".join(reasons)


def make_strata(
    streams: Sequence[StreamScores], methods: tuple[str, ...]
) -> tuple[list[Stratum], list[LeftOut]]:
    """Return a stratum for each stream with shared seeds, and the streams left out."""
    if not methods:
        return [], []
    strata = [_stratum(stream, methods) for stream in streams]
    unshared = [
        LeftOut(STREAM, s.stream, f"No {s.unit} of {s.stream} is shared by all methods.")
        for s in (stratum.source for stratum in strata if not stratum.seeds)
    ]
    return [stratum for stratum in strata if stratum.seeds], unshared


def _stratum(stream: StreamScores, methods: tuple[str, ...]) -> Stratum:
    shared = set.intersection(*(set(stream.scores[method]) for method in methods))
    seeds = tuple(sorted(shared))
    values = [[stream.scores[method][seed] for seed in seeds] for method in methods]
    return Stratum(stream, methods, seeds, np.array(values, dtype=np.float64))


def oriented_means(strata: Sequence[Stratum], rows: Sequence[int]) -> Array:
    """Return the mean over seeds of each method on each stream [M, B], with larger as better.

    Args:
        rows: of the M methods in the strata.
    """
    if not strata:
        return np.empty((0, 0))
    return np.stack([s.source.sign * s.values[rows].mean(axis=1) for s in strata], axis=1)
