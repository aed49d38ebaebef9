"""The sentences that stand beside a comparison over several streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis import wording
from analysis.many_studies.bootstrap import Bootstrap
from analysis.many_studies.strata import Stratum
from analysis.statistics import estimates

if TYPE_CHECKING:
    from analysis.many_studies.compare import Contrast

FEWEST_STREAMS = 2  # below, the study's own report says all there is
FEW_SEEDS = 20  # below, percentile intervals are visibly too narrow
WILSON = "Wilson"


def write(
    frame: Bootstrap,
    methods: tuple[str, ...],
    contrasts: Sequence[Contrast],
    no_reference: str,
    seed: int,
) -> list[str]:
    few = _too_few(frame, methods)
    if few:
        return [few]
    notes = [
        no_reference,
        _scope(frame, seed),
        *_seeds(frame),
        *_shared_data(frame),
        *_flat(frame, methods, contrasts),
        _directions(frame, contrasts),
    ]
    return [note for note in notes if note]


def _too_few(frame: Bootstrap, methods: tuple[str, ...]) -> str:
    if not methods:
        return "No method has complete scores on every stream, so nothing is compared."
    if not frame.strata:
        units = wording.plural(frame.unit)
        return f"No stream has {units} that all methods share, so nothing is compared."
    if len(frame.strata) < FEWEST_STREAMS:
        only = frame.strata[0].source.stream
        return f"{only} is the only stream: nothing is averaged over streams; see its own report."
    return ""


def _scope(frame: Bootstrap, seed: int) -> str:
    units = wording.plural(frame.unit)
    streams = wording.count(len(frame.strata), "stream")
    if not frame.has_intervals:
        thin = [
            s.source.stream for s in frame.strata if len(s.seeds) < estimates.FEWEST_FOR_INTERVAL
        ]
        least = estimates.FEWEST_FOR_INTERVAL
        return f"No intervals: fewer than {least} shared {units} on {', '.join(thin)}."
    return (
        f"The {wording.percent(frame.confidence)} intervals come from {len(frame.draws[0]):,} "
        f"resamples of the {units} within each stream, the same {units} for every method "
        f"(percentile bootstrap, generator PCG64 with seed {seed}). They speak of new {units} on "
        f"these {streams}, not of further streams."
    )


def _seeds(frame: Bootstrap) -> list[str]:
    sizes, units = [len(s.seeds) for s in frame.strata], wording.plural(frame.unit)
    notes = [_unshared(s) for s in frame.strata]
    if len(set(sizes)) > 1:
        notes.append(
            f"Streams differ in their number of {units} ({min(sizes)} to {max(sizes)}): those with "
            "more weigh more in the interquartile mean, and all alike in P(win) and the difference."
        )
    if estimates.FEWEST_FOR_INTERVAL <= min(sizes) < FEW_SEEDS:
        notes.append(
            f"With {min(sizes)} {units} a stream the intervals are somewhat too narrow: in "
            "simulations 95 % intervals of this kind covered about 90 % with 5 of them and 93 % "
            "with 10."
        )
    return [note for note in notes if note]


def _unshared(stratum: Stratum) -> str:
    counts = Counter(seed for method in stratum.methods for seed in stratum.source.scores[method])
    unused = set(counts) - set(stratum.seeds)
    if not unused:
        return ""
    return (
        f"{wording.begin(wording.plural(stratum.source.unit))} {wording.seed_list(unused)} of "
        f"{stratum.source.stream} are not shared by all methods and do not count."
    )


def _shared_data(frame: Bootstrap) -> list[str]:
    """Which streams are made from one data set, two scenarios of a stream among them."""
    made: dict[str, list[str]] = {}
    for source in (stratum.source for stratum in frame.strata):
        if source.dataset:
            made.setdefault(source.dataset, []).append(source.stream)
    return [
        f"{', '.join(streams)} share the data of {dataset} and are no independent streams: "
        f"averages and ranks over streams count that data {len(streams)} times."
        for dataset, streams in made.items()
        if len(streams) > 1
    ]


def _flat(frame: Bootstrap, methods: tuple[str, ...], contrasts: Sequence[Contrast]) -> list[str]:
    constant = [m for i, m in enumerate(methods) if frame.constant(i)]
    identical = [c.method for c in contrasts if c.identical]
    certain = [c.method for c in contrasts if c.p_win_by == WILSON]
    notes = []
    if constant:
        notes.append(
            f"{', '.join(constant)}: the scores of each stream do not vary over "
            f"{wording.plural(frame.unit)}, so the interquartile mean has no interval."
        )
    if identical:
        notes.append(
            f"The difference has no interval for {', '.join(identical)}: on each stream every "
            f"{frame.unit} differs by the same amount."
        )
    if certain:
        notes.append(
            f"P(win) is the same in every resample for {', '.join(certain)}, which is no "
            "certainty: the interval is Wilson's over all pairs instead."
        )
    return notes


def _directions(frame: Bootstrap, contrasts: Sequence[Contrast]) -> str:
    if not contrasts or len({s.source.sign for s in frame.strata}) == 1:
        return ""
    return (
        "On some streams a larger score is better, on others a smaller one: no mean difference in "
        "metric units is given; P(win) and normalised scores take the direction into account."
    )
