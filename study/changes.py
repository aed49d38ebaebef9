"""What of a study's question is not as it was before anything was confirmed.

What was asked is in ``study.json``; what was looked at is in the ledger, which tells of a choice
made after looking even where the study file has been changed back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from analysis import wording
from study.folder import Asked, Planned, Question
from study.ledger import Ledger
from study.spec import Spec
from study.state import Study


def changes(study: Study) -> list[str]:
    """Return what was changed after the first confirmation, in short sentences."""
    spec, facts = study.spec, study.folder.facts
    planned, looked = facts.planned, confirmed_methods(study.ledger)
    gone = {*planned.methods, *looked} - {*spec.methods}
    named: dict[str, Sequence[object]] = {
        "methods confirmed and left out": sorted(gone & {*looked}),
        "methods left out": sorted(gone - {*looked}),
        "methods added": [name for name in spec.methods if name not in planned.methods],
        "seeds run and left out": _seeds_left_out(study),
        "confirmed before with another configuration": [*_confirmed_otherwise(study)],
    }
    listed = [f"{what}: {', '.join(map(str, which))}" for what, which in named.items() if which]
    return [*_questions(facts.asked), *listed]


def kept_seeds(spec: Spec, planned: Planned) -> list[int]:
    """Return the planned seeds that a study file asks for no longer. They cannot be taken back: the
    report shows them all the same.
    """
    return sorted({*planned.seeds} - {*spec.confirm_seeds})


def confirmed_methods(ledger: Ledger) -> list[str]:
    """Return the methods of which something was confirmed, whether the study still has them."""
    tried = [entry for entry in ledger.entries("confirm") if entry.state != "failed"]
    return list(dict.fromkeys(entry.method for entry in tried))


def _questions(asked: list[Asked]) -> Iterator[str]:
    """What was asked in turn, with the days of the changes."""
    for key in Question.model_fields:
        steps = [(getattr(one.question, key), one.since) for one in asked]
        changed = [after for before, after in pairwise(steps) if before[0] != after[0]]
        if changed:
            *between, last = [f"{value}" for value, _ in changed]
            passed = "".join(f", then {value}" for value in between)
            days = ", ".join(dict.fromkeys(day for _, day in changed))
            name = "tune.trials" if key == "trials" else key
            yield f"{name} was {steps[0][0]}{passed}, now {last} (changed {days})"


def _seeds_left_out(study: Study) -> list[int]:
    """Seeds that were confirmed and that the report does not show; planned ones it always does."""
    run = {
        seed
        for entry in study.ledger.entries("confirm")
        if entry.method in study.methods and (entry.state != "failed" or len(entry.seeds) == 1)
        for seed in entry.seeds
    }
    return sorted(run - {*study.spec.confirm_seeds, *study.folder.facts.planned.seeds})


def _confirmed_otherwise(study: Study) -> Iterator[str]:
    """Name the methods that were confirmed with a configuration that is not today's."""
    for name in study.methods:
        now = study.confirmation(name).configuration
        seeds = {
            seed
            for entry in study.ledger.entries("confirm", name)
            if now and entry.state != "failed" and entry.work["configuration"] != now
            for seed in entry.seeds
        }
        if seeds:
            yield f"{name} ({wording.count(len(seeds), 'seed')})"
