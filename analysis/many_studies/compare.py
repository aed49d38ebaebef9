"""Several streams, the same methods: what holds on average, and how far seeds could move it.

Shape legend: M methods, B streams, S_b seeds of stream b, R resamples. Scores of a stream are
[M, S_b]; lists run over streams.

Scores are normalised between two fixed anchors of each stream, z = (x - chance) / (best - chance),
as human-normalised scores are between a random and a human player (Agarwal et al. 2021): 0 is
guessing, 1 is perfect. Min-max over the compared methods is not used, because a method more or less
would then change the scores of all others. Nothing is clipped: worse than guessing is negative.

Seeds are resampled within each stream and the same seeds for every method, so that the intervals
keep the pairing. They speak of new seeds on these streams, not of further streams.

Words of this comparison: a stratum is a stream cut to what can be compared on it; a standing is one
method over all streams, a contrast one method against the reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.many_studies import notes
from analysis.many_studies.bootstrap import Bootstrap, Interval, resampled_seeds
from analysis.many_studies.ranks import Ranking, rank_methods
from analysis.many_studies.strata import (
    LeftOut,
    Stratum,
    StreamScores,
    common_methods,
    cut,
    oriented_means,
    usable_streams,
)
from analysis.one_study.analyse import Analysis
from analysis.statistics import estimates, paired
from analysis.statistics.estimates import Array

RESAMPLES = 10_000
BOOTSTRAP = "bootstrap"

__all__ = [
    "Across",
    "Contrast",
    "Interval",
    "LeftOut",
    "Ranking",
    "Standing",
    "StreamScores",
    "compare_streams",
    "streams_of",
]


@dataclass(frozen=True)
class Standing:
    """A method by itself over all streams: interquartile mean of its normalised scores."""

    method: str
    iqm: Interval


@dataclass(frozen=True)
class StreamContrast:
    """A contrast on one of its streams; `difference` is method - reference."""

    stream: str
    n: int
    difference: float
    wins: estimates.Wins


@dataclass(frozen=True)
class Contrast:
    """A method against the reference over all streams: what `Comparison` is on one.

    `p_win` is the mean over streams of the paired probability of outperforming, `p_win_by` how its
    interval was found. `difference` is the mean over streams of method - reference in metric units
    (None where the streams differ in direction), `iqm_difference` that of the interquartile means
    of normalised scores, where positive is always good.
    """

    method: str
    reference: str
    p_win: Interval
    p_win_by: str  # "bootstrap", "Wilson", or "" without an interval
    difference: Interval | None
    iqm_difference: Interval
    streams: tuple[StreamContrast, ...]
    identical: bool  # on every stream all seeds differ by the same amount

    @property
    def meaningful(self) -> bool:
        """Whether the mean P(win) is meaningfully above one half."""
        return estimates.is_meaningful(self.p_win.low, self.p_win.high)


@dataclass(frozen=True)
class Across:
    """Everything a report says about several streams; a renderer computes nothing."""

    unit: str  # of pairing; "unit" where the streams differ in it
    streams: tuple[str, ...]
    seeds: tuple[tuple[int, ...], ...]  # shared by all methods, of each stream
    methods: tuple[str, ...]
    reference: str | None
    left_out: tuple[LeftOut, ...]
    standings: tuple[Standing, ...]
    contrasts: tuple[Contrast, ...]
    ranking: Ranking | None
    no_ranking: str  # why there is no ranking; empty where there is one
    confidence: float
    resamples: int
    notes: tuple[str, ...]


def streams_of(analyses: Sequence[Analysis]) -> list[StreamScores]:
    """What several studies contribute; each is named by its stream, or more where two share it."""
    names = _distinct([a.record.stream for a in analyses], analyses)
    return [_stream(name, a) for name, a in zip(names, analyses, strict=True)]


def _distinct(streams: list[str], analyses: Sequence[Analysis]) -> list[str]:
    if len(set(streams)) == len(streams):
        return streams
    return [f"{a.record.stream} ({a.record.scenario})" for a in analyses]


def _stream(name: str, analysis: Analysis) -> StreamScores:
    record, worst = analysis.record, analysis.metric.worst
    failed: dict[str, dict[int, float]] = {row.method: {} for row in analysis.methods}
    for failure in analysis.failures:
        if failure.counted_as is None and failure.seed is not None:  # it blocks, it is no gap
            failed[failure.method][failure.seed] = math.nan
    return StreamScores(
        stream=name,
        metric=record.metric,
        chance=record.chance if worst is None else worst,
        higher_is_better=analysis.metric.higher_is_better,
        reference=record.reference,
        scores={row.method: {**row.scores, **failed[row.method]} for row in analysis.methods},
        alpha=record.alpha,
        unit=record.unit,
        dataset=record.dataset or record.stream,
    )


def common_alpha(streams: Sequence[StreamScores]) -> float:
    """The level that all streams were tested at; a `ValueError` names those that differ."""
    levels = {stream.alpha for stream in streams}
    if len(levels) > 1:
        listed = ", ".join(f"{stream.stream} {stream.alpha:g}" for stream in streams)
        raise ValueError(f"streams of different alpha cannot be compared at one level: {listed}")
    return levels.pop() if levels else 0.05


def compare_streams(
    streams: Sequence[StreamScores],
    resamples: int = RESAMPLES,
    seed: int = paired.RESAMPLING_SEED,
) -> Across:
    """Compare the methods that all streams have, over all streams.

    Args:
        streams: one study each. Their alpha is the two-sided level of the intervals, of Friedman's
            test and of Nemenyi's.
        resamples: of the bootstrap.
        seed: of its generator (numpy's PCG64): the same scores always give the same interval.

    Takes part what can be compared: methods with scores on every stream and no failed seed (a
    failed seed is a result; dropping it would flatter the method), and the seeds that all of them
    share on a stream. The rest is listed with the reason. Streams of different alpha are a
    `ValueError`, nothing else of this shape is an error.
    """
    alpha, unit = common_alpha(streams), _common_unit(streams)
    usable, unusable = usable_streams(streams)
    methods, absent = common_methods(usable)
    strata, unshared = cut(usable, methods)
    enough = len(strata) >= notes.FEWEST_STREAMS
    reference, no_reference = _reference(strata, methods)
    ranking, no_ranking = rank_methods(methods, oriented_means(strata), alpha)
    draws = resampled_seeds([len(s.seeds) for s in strata], resamples, seed) if enough else []
    frame = Bootstrap(strata, draws, 1 - alpha, unit)
    rivals = [m for m in methods if m != reference] if enough and reference else []
    standings = tuple(Standing(m, frame.iqm(m)) for m in methods) if enough else ()
    contrasts = tuple(_contrast(frame, m, reference or "") for m in rivals)
    return Across(
        unit=unit,
        streams=tuple(s.source.stream for s in strata),
        seeds=tuple(s.seeds for s in strata),
        methods=methods,
        reference=reference,
        left_out=(*unusable, *absent, *unshared),
        standings=standings,
        contrasts=contrasts,
        ranking=ranking,
        no_ranking=no_ranking,
        confidence=1 - alpha,
        resamples=resamples,
        notes=tuple(notes.write(frame, methods, contrasts, no_reference, seed)),
    )


def _common_unit(streams: Sequence[StreamScores]) -> str:
    units = {stream.unit for stream in streams}
    return units.pop() if len(units) == 1 else "unit" if units else "seed"


def _contrast(frame: Bootstrap, method: str, reference: str) -> Contrast:
    differences = [s.differences(method, reference) for s in frame.strata]
    gains = [s.source.sign * d for s, d in zip(frame.strata, differences, strict=True)]
    p_win, by = _p_win(frame, gains)
    identical = all(estimates.all_identical(d) for d in differences)
    one_direction = len({s.source.sign for s in frame.strata}) == 1
    rows = zip(frame.strata, differences, gains, strict=True)
    return Contrast(
        method=method,
        reference=reference,
        p_win=p_win,
        p_win_by=by,
        difference=frame.mean(differences) if one_direction else None,
        iqm_difference=frame.iqm_difference(method, reference),
        streams=tuple(_on_stream(s, d, gain, frame.confidence) for s, d, gain in rows),
        identical=identical,
    )


def _p_win(frame: Bootstrap, gains: Sequence[Array]) -> tuple[Interval, str]:
    """Mean over streams of P(win), ties 1/2, and how its interval was found.

    Where every resample gives the same value (all seeds won, say), the bootstrap claims certainty;
    the Wilson interval over all pairs stands in, wider than need be if the streams differ.
    """
    shares = [(np.sign(gain) + 1) / 2 for gain in gains]
    found = frame.mean(shares)
    if not frame.has_intervals:
        return found, ""
    if found.low is not None:
        return found, BOOTSTRAP
    pairs = sum(map(len, shares))
    limits = estimates.wilson_interval(found.value * pairs, pairs, frame.confidence)
    return Interval(found.value, *limits), notes.WILSON


def _on_stream(
    stratum: Stratum, differences: Array, gains: Array, confidence: float
) -> StreamContrast:
    wins = estimates.probability_of_outperforming(gains, confidence)
    mean = float(np.mean(differences))
    return StreamContrast(stratum.source.stream, len(differences), mean, wins)


def _reference(strata: Sequence[Stratum], methods: tuple[str, ...]) -> tuple[str | None, str]:
    """The reference of all streams, or None and why nothing is compared with it."""
    named = list(dict.fromkeys(stratum.source.reference for stratum in strata))
    if not named:
        return None, ""
    if len(named) > 1:
        return (
            None,
            f"The streams name different references ({', '.join(named)}): none is compared.",
        )
    if named[0] not in methods:
        return None, f"The reference {named[0]} is not among the methods in common."
    if len(methods) == 1:
        return named[0], f"{named[0]} is the only method in common, so nothing is compared."
    return named[0], ""
