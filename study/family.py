"""The family of comparisons: every comparison asked for since before the first confirmation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.records import against_reference
from study.design import method_of
from study.folder import Facts
from study.ledger import Ledger
from trainables import find_learner
from trainables.errors import InputError


def planned_comparisons(facts: Facts, ledger: Ledger) -> tuple[tuple[str, str], ...]:
    """Return every comparison that was asked for since before the first confirmation.

    A comparison cannot be withdrawn: the size of the family counts it to the end.
    """
    names = dict.fromkeys([*facts.planned.methods, *confirmed_methods(ledger)])
    offline = {name: _is_offline(name, facts.identity) for name in names}
    pairs: dict[tuple[str, str], None] = {}
    for each in facts.asked:
        named = [(method, other) for method, other in each.question.comparisons]
        pairs |= dict.fromkeys(named or against_reference(each.question.reference, offline))
    return tuple(pairs)


def confirmed_methods(ledger: Ledger) -> list[str]:
    """Return the methods with confirmed seeds, even those that the study no longer has."""
    entries = [entry for entry in ledger.entries("confirm") if entry.state != "failed"]
    return list(dict.fromkeys(method_of(entry.method) for entry in entries))


def _is_offline(method: str, identity: Mapping[str, Any]) -> bool:
    """Return whether a method is an offline bound, even one that the study file no longer has."""
    settings = identity.get(f"methods.{method}", {})
    try:
        return find_learner(settings.get("learner", method)).offline
    except InputError:  # unknown here: counts as a competitor
        return False
