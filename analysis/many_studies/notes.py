"""The notes of a report over several streams: sentences on the scope of its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis import numbers
from analysis.many_studies.bootstrap import Bootstrap
from analysis.many_studies.strata import Stratum
from analysis.statistics import estimates

if TYPE_CHECKING:
    from analysis.many_studies.compare import Contrast

FEWEST_STREAMS = 2  # a single stream has its own report
FEW_SEEDS = 20  # with fewer seeds, percentile intervals are visibly too narrow
WILSON = "Wilson"


def notes_of(
    bootstrap: Bootstrap,
    methods: tuple[str, ...],
    contrasts: Sequence[Contrast],
    no_reference: str,
    seed: int,
) -> list[str]:
    """Return the notes of a comparison, or the one reason why nothing is compared."""
    not_compared = _not_compared(bootstrap, methods)
    if not_compared:
        return [not_compared]
    notes = [
        no_reference,
        _scope(bootstrap, seed),
        *_seeds(bootstrap),
        *_shared_data(bootstrap),
        *_imputed(bootstrap, methods),
        *_missing_intervals(bootstrap, methods, contrasts),
        _directions(bootstrap, contrasts),
    ]
    return [note for note in notes if note]


def _not_compared(bootstrap: Bootstrap, methods: tuple[str, ...]) -> str:
    if not methods:
        return "No method has complete scores on every stream, so nothing is compared."
    if not bootstrap.strata:
        units = numbers.plural(bootstrap.unit)
        return f"No stream has {units} that all methods share, so nothing is compared."
    if len(bootstrap.strata) < FEWEST_STREAMS:
        only = bootstrap.strata[0].source.stream
        return f"{only} is the only stream: nothing is averaged over streams; see its own report."
    return ""


def _scope(bootstrap: Bootstrap, seed: int) -> str:
    units = numbers.plural(bootstrap.unit)
    level = numbers.percent(bootstrap.confidence)
    streams = numbers.count(len(bootstrap.strata), "stream")
    if not bootstrap.has_intervals:
        fewest = estimates.FEWEST_FOR_INTERVAL
        short = [s.source.stream for s in bootstrap.strata if len(s.seeds) < fewest]
        return f"No intervals: fewer than {fewest} shared {units} on {', '.join(short)}."
    return (
        f"The {level} intervals come from {len(bootstrap.draws[0]):,} "
        f"resamples of the {units} within each stream, the same {units} for every method "
        f"(percentile bootstrap, generator PCG64 with seed {seed}). The intervals cover new "
        f"{units} on these {streams}, not further streams."
    )


def _seeds(bootstrap: Bootstrap) -> list[str]:
    sizes, units = [len(s.seeds) for s in bootstrap.strata], numbers.plural(bootstrap.unit)
    notes = [_unshared_seeds(s) for s in bootstrap.strata]
    if len(set(sizes)) > 1:
        notes.append(
            f"Streams differ in their number of {units} ({min(sizes)} to {max(sizes)}): streams "
            f"with more {units} have more weight in the interquartile mean. All streams have equal "
            "weight in P(win) and the difference."
        )
    if estimates.FEWEST_FOR_INTERVAL <= min(sizes) < FEW_SEEDS:
        notes.append(
            f"With {min(sizes)} {units} per stream the intervals are somewhat too narrow: in "
            f"simulations 95 % intervals of this kind covered about 90 % with 5 {units} and 93 % "
            "with 10."
        )
    return [note for note in notes if note]


def _unshared_seeds(stratum: Stratum) -> str:
    counts = Counter(seed for method in stratum.methods for seed in stratum.source.scores[method])
    unused = set(counts) - set(stratum.seeds)
    if not unused:
        return ""
    return (
        f"{numbers.begin(numbers.plural(stratum.source.unit))} {numbers.seed_list(unused)} of "
        f"{stratum.source.stream} are not shared by all methods and do not count."
    )


def _shared_data(bootstrap: Bootstrap) -> list[str]:
    """Return a note for each data set behind two or more streams (or scenarios of a stream)."""
    streams_by_dataset: dict[str, list[str]] = {}
    for source in (stratum.source for stratum in bootstrap.strata):
        for dataset in filter(None, source.dataset.split(" + ")):  # a stream may have several
            streams_by_dataset.setdefault(dataset, []).append(source.stream)
    return [
        f"{', '.join(streams)} share the data of {dataset} and are no independent streams: "
        f"averages and ranks over streams count the data {len(streams)} times."
        for dataset, streams in streams_by_dataset.items()
        if len(streams) > 1
    ]


def _imputed(bootstrap: Bootstrap, methods: tuple[str, ...]) -> list[str]:
    """Return a note on the failed seeds that count as the worst score."""
    counts = [
        f"{method} {s.source.imputed[method]} on {s.source.stream}"
        for method in methods
        for s in bootstrap.strata
        if method in s.source.imputed
    ]
    if not counts:
        return []
    return [
        f"Failed {numbers.plural(bootstrap.unit)} that count as the worst score: "
        f"{', '.join(counts)}. All averages and intervals of these methods contain that score."
    ]


def _missing_intervals(
    bootstrap: Bootstrap, methods: tuple[str, ...], contrasts: Sequence[Contrast]
) -> list[str]:
    """Return notes on estimates without a bootstrap interval, because all resamples are equal."""
    constant = [m for i, m in enumerate(methods) if bootstrap.is_constant(i)]
    identical = [c.method for c in contrasts if c.identical]
    certain = [c.method for c in contrasts if c.p_win_by == WILSON]
    notes = []
    if constant:
        notes.append(
            f"{', '.join(constant)}: the scores of each stream do not vary over "
            f"{numbers.plural(bootstrap.unit)}, so the interquartile mean has no interval."
        )
    if identical:
        notes.append(
            f"The difference has no interval for {', '.join(identical)}: on each stream every "
            f"{bootstrap.unit} differs by the same amount."
        )
    if certain:
        notes.append(
            f"P(win) is the same in every resample for {', '.join(certain)}. This is not "
            "certainty, so the interval is Wilson's over all pairs instead."
        )
    return notes


def _directions(bootstrap: Bootstrap, contrasts: Sequence[Contrast]) -> str:
    if not contrasts or len({s.source.sign for s in bootstrap.strata}) == 1:
        return ""
    return (
        "On some streams a larger score is better, on others a smaller one: no mean difference in "
        "metric units is given; P(win) and normalised scores take the direction into account."
    )
