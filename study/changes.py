"""Changes to a study's question after the first confirmation.

The questions are in ``study.json``, the results seen are in the ledger. The ledger reveals a choice
made after looking at results even if the study file has been changed back since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from analysis import numbers
from study.family import confirmed_methods
from study.folder import DatedQuestion, Planned, Question
from study.spec import Spec
from study.state import Study


def changes(study: Study) -> list[str]:
    """Return the changes made after the first confirmation, in short sentences."""
    spec, facts = study.spec, study.folder.facts
    planned, confirmed = facts.planned, confirmed_methods(study.ledger)
    removed = {*planned.methods, *confirmed} - {*spec.methods}
    changed: dict[str, Sequence[object]] = {
        "methods confirmed and left out": sorted(removed & {*confirmed}),
        "methods left out": sorted(removed - {*confirmed}),
        "methods added": [name for name in spec.methods if name not in planned.methods],
        "seeds run and left out": _seeds_left_out(study),
        "confirmed before with another configuration": [*_other_configurations(study)],
    }
    lists = [f"{kind}: {', '.join(map(str, items))}" for kind, items in changed.items() if items]
    return [*_changed_questions(facts.asked), *lists]


def kept_seeds(spec: Spec, planned: Planned) -> list[int]:
    """Return the planned seeds that a study file no longer asks for.

    A planned seed cannot be withdrawn: the report still shows it.
    """
    return sorted({*planned.seeds} - {*spec.confirm_seeds})


def _changed_questions(questions: list[DatedQuestion]) -> Iterator[str]:
    """Yield, for each part of the question that changed, its values in turn and the days."""
    for key in Question.model_fields:
        dated = [(getattr(each.question, key), each.since) for each in questions]
        changes = [after for before, after in pairwise(dated) if before[0] != after[0]]
        if changes:
            values = (dated[0][0], *(value for value, _ in changes))
            first, *between, last = map(_shown, values)
            earlier = "".join(f", then {value}" for value in between)
            days = ", ".join(dict.fromkeys(day for _, day in changes))
            name = {"trials": "tune.trials", "stop": "confirm.stop"}.get(key, key)
            yield f"{name} was {first}{earlier}, now {last} (changed {days})"


def _shown(value: object) -> str:
    if not isinstance(value, list):
        return f"{value}"
    pairs = (f"{method} against {other}" for method, other in value)
    return f"({', '.join(pairs)})" if value else "(each method against the reference)"


def _seeds_left_out(study: Study) -> list[int]:
    """Return the confirmed seeds that the report does not show; planned seeds are always shown."""
    confirmed = {
        seed
        for entry in study.ledger.entries("confirm")
        if entry.method in study.spec.methods and (entry.state != "failed" or len(entry.seeds) == 1)
        for seed in entry.seeds
    }
    return sorted(confirmed - {*study.spec.confirm_seeds, *study.folder.facts.planned.seeds})


def _other_configurations(study: Study) -> Iterator[str]:
    """Yield the methods that were confirmed with another configuration than the current one."""
    for name in study.spec.methods:
        current = [state.configuration for state in study.all_fresh_seeds(name, "confirm")]
        seeds = {
            seed
            for entry in study.ledger.entries("confirm", name)
            if current[0] and entry.state != "failed" and entry.work["configuration"] not in current
            for seed in entry.seeds
        }
        if seeds:
            yield f"{name} ({numbers.count(len(seeds), 'seed')})"
