"""The differences between methods that a study has seen: what its power is reckoned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.one_study.units import grouped, means
from study import check
from study.check import Method
from study.folder import Folder
from study.ledger import Ledger
from study.record import opened
from study.run.confirmation import confirmed
from study.run.sweep import best_trial
from study.scores import seed_scores
from study.spec import Spec


@dataclass(frozen=True)
class SeenDifferences:
    """Paired differences of one method to the reference seen so far, and where."""

    differences: tuple[float, ...]
    source: str


def seen_differences(
    spec: Spec, methods: Mapping[str, Method], folder: Folder
) -> dict[str, SeenDifferences]:
    """Return what a study knows of the spread of its differences: those of the confirmation, else
    those between the best trials on the tuning seeds.
    """
    ledger = folder.ledger()
    scores = {name: _seen(spec, method, ledger) for name, method in methods.items()}
    sources = (
        ("the confirmation", spec.study.stream),
        ("the tuning seeds", check.tune_stream(spec)),
    )
    found = {}
    for name in methods:
        pairs = zip(scores[name], scores[spec.study.reference], sources, strict=True)
        for mine, theirs, (source, stream) in pairs:
            differences = _unit_differences(spec, mine, theirs, stream)
            if name != spec.study.reference and len(differences) > 1:
                found[name] = SeenDifferences(differences, source)
                break
    return found


def _unit_differences(
    spec: Spec, mine: Mapping[int, float], theirs: Mapping[int, float], stream: str
) -> tuple[float, ...]:
    """Return the mean difference of each unit, over the seeds that both methods have."""
    differences = {seed: mine[seed] - theirs[seed] for seed in set(mine) & set(theirs)}
    units = grouped(set(differences), lambda seed: check.unit_of(spec, seed, stream))
    return tuple(means(differences, units).values())


def differences_of(place: Path) -> dict[str, tuple[float, ...]]:
    """Return the paired differences seen of each method, from a study's folder alone."""
    folder, spec, methods = opened(place)
    found = seen_differences(spec, methods, folder)
    return {name: seen.differences for name, seen in found.items()}


def _seen(spec: Spec, method: Method, ledger: Ledger) -> tuple[dict[int, float], dict[int, float]]:
    """Return a method's scores by seed: in the confirmation, and of its best trial."""
    metric = spec.study.metric
    confirming = {
        seed: seed_scores(ledger.outcome(entry), metric)[position]
        for seed, (entry, position) in confirmed(spec, method, ledger).places.items()
    }
    best = best_trial(spec, method, ledger)
    tuning = (
        dict(zip(best.seeds, seed_scores(ledger.outcome(best), metric), strict=True))
        if best
        else {}
    )
    return confirming, tuning
