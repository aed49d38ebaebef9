"""The paired differences between methods seen so far, from which power is estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.one_study.units import seeds_by_unit, unit_means
from analysis.records import scores_of
from study.design import PhaseStream
from study.scores import seed_scores
from study.state import Study


@dataclass(frozen=True)
class SeenDifferences:
    """Paired differences of a comparison, and the phase they come from."""

    differences: tuple[float, ...]
    source: str


def seen_differences(study: Study) -> dict[tuple[str, str], SeenDifferences]:
    """Return the differences seen of each comparison that has at least two.

    They come from the confirmation, else from the best trials on the tuning seeds.
    """
    sources = {"confirm": "the confirmation", "tune": "the tuning seeds"}
    by_method = {name: _scores(study, name) for name in study.spec.methods}
    scores = {phase: {name: of[phase] for name, of in by_method.items()} for phase in sources}
    found = {}
    for method, other in study.design.comparisons:
        for phase, source in sources.items():
            stream = study.design.streams[phase]
            sides = (scores_of(side, scores[phase]) for side in (method, other))
            differences = _unit_differences(stream, *sides)
            if len(differences) > 1:
                found[method, other] = SeenDifferences(differences, source)
                break
    return found


def _unit_differences(
    stream: PhaseStream, scores: Mapping[int, float], reference: Mapping[int, float]
) -> tuple[float, ...]:
    """Return the mean difference of each unit, over the seeds that both sides have."""
    seeds = set(scores) & set(reference)
    differences = {seed: scores[seed] - reference[seed] for seed in seeds}
    units = seeds_by_unit(set(differences), stream.unit_of)
    return tuple(unit_means(differences, units).values())


def differences_of(place: Path) -> dict[tuple[str, str], tuple[float, ...]]:
    """Return the paired differences seen of each comparison, from a study's folder."""
    found = seen_differences(Study.open(place))
    return {pair: seen.differences for pair, seen in found.items()}


def _scores(study: Study, method: str) -> dict[str, dict[int, float]]:
    """Return a method's scores by phase and seed: of the best trial, and of the confirmation."""
    metric, ledger, best = study.spec.study.metric, study.ledger, study.sweep(method).best
    confirming = study.confirmation(method).scores()
    tuning: dict[int, float] = {}
    if best is not None:
        tuning = dict(zip(best.seeds, seed_scores(ledger.outcome(best), metric), strict=True))
    return {"tune": tuning, "confirm": confirming}
