"""The same methods on several streams: averages over streams, and their uncertainty over seeds.

Shape legend: M methods, B streams, S_b seeds of stream b, R resamples. Scores of a stream are
[M, S_b]; lists run over streams.

Scores are normalised between two fixed anchors of each stream, z = (x - chance) / (best - chance),
like human-normalised scores between a random and a human player (Agarwal et al. 2021): 0 is
guessing, 1 is perfect. The scores are not scaled to the minimum and maximum of the compared
methods, because one method more or less would then change the scores of all others. Scores are not
clipped: a score worse than guessing is negative.

Seeds are resampled within each stream, the same seeds for every method, so that the intervals keep
the pairing. The intervals cover new seeds on these streams, not further streams.

A stratum is a stream restricted to the comparable methods and seeds; a standing is one method over
all streams; a contrast is one method against the reference over all streams.
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
    make_strata,
    oriented_means,
    usable_streams,
)
from analysis.one_study.analyse import Analysis
from analysis.statistics import estimates, paired
from analysis.statistics.estimates import Array

RESAMPLES = 10_000
BOOTSTRAP = "bootstrap"

__all__ = [
    "Contrast",
    "Interval",
    "LeftOut",
    "ManyStudies",
    "Ranking",
    "Standing",
    "StreamScores",
    "compare_streams",
    "streams_of",
]


@dataclass(frozen=True)
class Standing:
    """One method over all streams: the interquartile mean of the normalised scores."""

    method: str
    iqm: Interval


@dataclass(frozen=True)
class StreamContrast:
    """A contrast on one stream; `difference` is the mean of method - reference."""

    stream: str
    n: int
    difference: float
    wins: estimates.Wins


@dataclass(frozen=True)
class Contrast:
    """A method against the reference over all streams (`Comparison` is the same on one stream).

    `p_win` is the mean over streams of the paired probability of outperforming, `p_win_by` the
    method behind its interval. `difference` is the mean over streams of method - reference in
    metric units (None if the streams differ in direction). `iqm_difference` is the difference of
    the interquartile means of normalised scores; positive is better.
    """

    method: str
    reference: str
    p_win: Interval
    p_win_by: str  # "bootstrap", "Wilson", or "" without an interval
    difference: Interval | None
    iqm_difference: Interval
    streams: tuple[StreamContrast, ...]
    identical: bool  # whether all seeds of a stream differ by the same amount, on every stream


@dataclass(frozen=True)
class ManyStudies:
    """The complete content of a report about several streams."""

    unit: str  # of pairing; "unit" if the streams have different units
    streams: tuple[str, ...]
    seeds: tuple[tuple[int, ...], ...]  # of each stream, shared by all methods
    methods: tuple[str, ...]
    reference: str | None
    left_out: tuple[LeftOut, ...]
    standings: tuple[Standing, ...]
    contrasts: tuple[Contrast, ...]
    ranking: Ranking | None
    no_ranking: str  # the reason for a missing ranking; empty otherwise
    confidence: float
    resamples: int
    notes: tuple[str, ...]


def streams_of(analyses: Sequence[Analysis]) -> list[StreamScores]:
    """Return the scores of several studies, named by the stream, or by the stream and the scenario
    if two studies share a stream.
    """
    names = _stream_names(analyses)
    return [_stream_scores(name, a) for name, a in zip(names, analyses, strict=True)]


def _stream_names(analyses: Sequence[Analysis]) -> list[str]:
    streams = [a.record.stream for a in analyses]
    if len(set(streams)) == len(streams):
        return streams
    return [f"{a.record.stream} ({a.record.scenario})" for a in analyses]


def _stream_scores(name: str, analysis: Analysis) -> StreamScores:
    record, worst = analysis.record, analysis.metric.worst
    failed: dict[str, dict[int, float]] = {row.method: {} for row in analysis.methods}
    for failure in analysis.failures:
        # a failure without a score blocks the method, where a missing seed is only left out
        if failure.counted_as is None and failure.seed is not None:
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
        imputed={row.method: row.failed for row in analysis.methods if row.counted_as is not None},
        bounds=frozenset(row.method for row in analysis.methods if row.is_offline),
    )


def common_alpha(streams: Sequence[StreamScores]) -> float:
    """Return the alpha of all streams; a `ValueError` lists the streams if alpha differs."""
    levels = {stream.alpha for stream in streams}
    if len(levels) > 1:
        listed = ", ".join(f"{stream.stream} {stream.alpha:g}" for stream in streams)
        raise ValueError(f"streams of different alpha cannot be compared at one level: {listed}")
    return levels.pop() if levels else 0.05


def compare_streams(
    streams: Sequence[StreamScores],
    resamples: int = RESAMPLES,
    seed: int = paired.RESAMPLING_SEED,
) -> ManyStudies:
    """Compare the methods that all streams have in common, over all streams.

    Args:
        streams: one per study. Their alpha is the two-sided level of the intervals, of Friedman's
            test and of Nemenyi's test.
        resamples: number of bootstrap resamples.
        seed: of the bootstrap's generator (numpy's PCG64); the same scores always give the same
            interval.

    The comparison is over the methods with scores on every stream and without a failed seed (a
    failed seed is a result; leaving the seed out would flatter the method), and over the seeds that
    all these methods share on a stream. Everything left out is listed with the reason. Raises
    `ValueError` for streams of different alpha.
    """
    alpha, unit = common_alpha(streams), _common_unit(streams)
    usable, unusable = usable_streams(streams)
    methods, absent = common_methods(usable)
    strata, unshared = make_strata(usable, methods)
    enough = len(strata) >= notes.FEWEST_STREAMS
    reference, no_reference = _reference(strata, methods)
    bounds = frozenset().union(*(stream.bounds for stream in streams))
    competitors = tuple(m for m in methods if m not in bounds)
    means = oriented_means(strata, [methods.index(m) for m in competitors])
    ranking, no_ranking = rank_methods(competitors, means, alpha)
    draws = resampled_seeds([len(s.seeds) for s in strata], resamples, seed) if enough else []
    bootstrap = Bootstrap(strata, draws, 1 - alpha, unit)
    rivals = [m for m in competitors if m != reference] if enough and reference else []
    standings = tuple(Standing(m, bootstrap.iqm(m)) for m in methods) if enough else ()
    contrasts = tuple(_contrast(bootstrap, m, reference or "") for m in rivals)
    return ManyStudies(
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
        notes=tuple(notes.notes_of(bootstrap, methods, contrasts, no_reference, seed)),
    )


def _common_unit(streams: Sequence[StreamScores]) -> str:
    units = {stream.unit for stream in streams}
    return units.pop() if len(units) == 1 else "unit" if units else "seed"


def _contrast(bootstrap: Bootstrap, method: str, reference: str) -> Contrast:
    differences = [s.differences(method, reference) for s in bootstrap.strata]
    gains = [s.source.sign * d for s, d in zip(bootstrap.strata, differences, strict=True)]
    p_win, p_win_by = _p_win(bootstrap, gains)
    identical = all(estimates.all_identical(d) for d in differences)
    one_direction = len({s.source.sign for s in bootstrap.strata}) == 1
    rows = zip(bootstrap.strata, differences, gains, strict=True)
    return Contrast(
        method=method,
        reference=reference,
        p_win=p_win,
        p_win_by=p_win_by,
        difference=bootstrap.mean(differences) if one_direction else None,
        iqm_difference=bootstrap.iqm_difference(method, reference),
        streams=tuple(_stream_contrast(s, d, gain, bootstrap.confidence) for s, d, gain in rows),
        identical=identical,
    )


def _p_win(bootstrap: Bootstrap, gains: Sequence[Array]) -> tuple[Interval, str]:
    """Return the mean over streams of P(win), ties 1/2, and the method behind the interval.

    If all resamples are equal (all seeds won, for example), the bootstrap would claim certainty.
    The interval is then the Wilson interval over all pairs, which is too wide if streams differ.
    """
    shares = [(np.sign(gain) + 1) / 2 for gain in gains]
    estimate = bootstrap.mean(shares)
    if not bootstrap.has_intervals:
        return estimate, ""
    if estimate.low is not None:
        return estimate, BOOTSTRAP
    pairs = sum(map(len, shares))
    low, high = estimates.wilson_interval(estimate.value * pairs, pairs, bootstrap.confidence)
    return Interval(estimate.value, low, high), notes.WILSON


def _stream_contrast(
    stratum: Stratum, differences: Array, gains: Array, confidence: float
) -> StreamContrast:
    wins = estimates.probability_of_outperforming(gains, confidence)
    mean = float(np.mean(differences))
    return StreamContrast(stratum.source.stream, len(differences), mean, wins)


def _reference(strata: Sequence[Stratum], methods: tuple[str, ...]) -> tuple[str | None, str]:
    """Return the reference of all streams; None, or a reason against any comparison with it."""
    references = list(dict.fromkeys(stratum.source.reference for stratum in strata))
    if not references:
        return None, ""
    if len(references) > 1:
        listed = ", ".join(references)
        return None, f"The streams name different references ({listed}): none is compared."
    (reference,) = references
    if reference not in methods:
        return None, f"The reference {reference} is not among the methods in common."
    if len(methods) == 1:
        return reference, f"{reference} is the only method in common, so nothing is compared."
    return reference, ""
