"""Methods of further studies against the reference of the first one, seed by seed.

Seeds of two studies are pairs where both learnt the same stream, with the same options, from the
same data: a seed then fixes the class order, the batches and the initial weights of both. Such a
comparison was planned by neither study; its verdict is a hint for a study that names both methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from analysis.one_study import pairing
from analysis.one_study.analyse import Analysis
from analysis.one_study.pairing import Pairs
from analysis.one_study.verdicts import Comparison, Rules, compare_family
from analysis.records import MethodRecord, StudyRecord

SHARED = ("stream", "scenario", "metric", "unit")  # of two studies with pairs, with `conditions`


@dataclass(frozen=True)
class Further:
    """The comparisons with the reference of the first study, and the studies without any.

    `differing` has a sentence for each study whose seeds are no pairs with those of the first.
    """

    study: str
    reference: str
    rules: Rules
    comparisons: tuple[Comparison, ...]
    differing: tuple[str, ...]


def compare_further(analyses: Sequence[Analysis]) -> Further:
    """Return the methods of all studies but the first against the first study's reference.

    All of them are one family, by the rules of the first study.
    """
    first, *others = (analysis.record for analysis in analyses)
    differing = {record.study: _difference(first, record) for record in others}
    pairs = [
        pair for record in others if not differing[record.study] for pair in _pairs(first, record)
    ]
    rules = replace(analyses[0].rules, family_size=len(pairs) or 1)
    return Further(
        first.study,
        first.reference,
        rules,
        compare_family(pairs, rules),
        tuple(f"{study}: {text}" for study, text in differing.items() if text),
    )


def _difference(first: StudyRecord, other: StudyRecord) -> str:
    """Return what keeps the seeds of two studies from being pairs; empty if nothing does."""
    ours, theirs = (
        {name: getattr(record, name) for name in SHARED} | dict(record.conditions)
        for record in (first, other)
    )
    unlike = [
        f"{name} {ours.get(name, 'none')} in {first.study}, {theirs.get(name, 'none')} here"
        for name in {**ours, **theirs}
        if ours.get(name) != theirs.get(name)
    ]
    return f"seeds are no pairs ({'; '.join(unlike)})" if unlike else ""


def _pairs(first: StudyRecord, other: StudyRecord) -> Iterator[Pairs]:
    """Yield the pairs of each competitor of another study with the reference of the first."""
    reference = pairing.find_side(first, first.reference)
    for method in other.methods:
        if reference is not None and not method.offline:
            named = replace(method, method=f"{method.method} ({other.study})")
            yield pairing.pair(_joined(first, other, reference, named), named, reference)


def _joined(
    first: StudyRecord, other: StudyRecord, reference: MethodRecord, method: MethodRecord
) -> StudyRecord:
    """Return a study of the two methods, on the seeds that have run for both."""
    shared = reference.attempted_seeds & method.attempted_seeds
    return replace(
        first,
        methods=[reference, method],
        planned_seeds=sorted(shared),
        tune_seeds=sorted({*first.tune_seeds, *other.tune_seeds}),
    )
