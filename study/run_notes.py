"""Notes on how the trials of a study ran: trials of other data or other code that were left out,
differences between trials, and lost workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from analysis import numbers
from study.ledger import Entry
from study.state import Study
from trainables.engine.assignment import Assignment

NUMERICAL = ("torch", "numpy")  # packages whose version changes the last digits of a result


def circumstances(study: Study) -> list[str]:
    """Return sentences on how the trials of a study ran; empty if there is nothing to note."""
    entries = [entry for name in study.methods for entry in _reported_trials(study, name)]
    return [*left_out(study), *_differences(entries), *_losses(entries)]


def _reported_trials(study: Study, method: str) -> list[Entry]:
    """Return the trials of a method that the report rests on."""
    states = study.all_fresh_seeds(method)
    places = (place for state in states for place in state.places().found.values())
    on_fresh_seeds = {entry.folder: entry for entry, _ in places}
    return [*study.sweep(method).entries, *on_fresh_seeds.values()]


def left_out(study: Study) -> list[str]:
    """Return sentences on the trials in the study's folder that learnt other data or ran with other
    code.
    """
    others = study.ledger.entries_of_other_data()
    of_other_data = (
        f"{numbers.count(len(others), 'trial')} in this folder learnt other data than the last "
        "run: kept, but not in any table."
    )
    return [*([of_other_data] if others else []), *of_other_code(study)]


def of_other_code(study: Study) -> Iterator[str]:
    """Yield a sentence on the trials of each method that ran with other code."""
    for name, method in study.methods.items():
        # an earlier learner of the method need not be installed any more: its versions are unknown
        entries = study.ledger.entries(method=name)
        current = (e for e in entries if e.work["learner"] == method.learner)
        changed = [e for e in current if e.versions != _current_versions(e)]
        if changed:
            yield (
                f"{numbers.count(len(changed), 'trial')} of {name} ran with another version of the "
                "code: kept, but not in any table."
            )


def _current_versions(entry: Entry) -> dict[str, int | str]:
    return Assignment(**entry.work).versions()


def _differences(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield a sentence on the versions and devices that differ between trials, if any do."""
    found: dict[str, set[str]] = {}
    for entry in entries:
        versions = {name: entry.software.get(name, "") for name in NUMERICAL}
        for kind, value in {**versions, "device": entry.device}.items():
            found.setdefault(kind, set()).update({value} - {""})
    differing = {kind: sorted(values) for kind, values in found.items() if len(values) > 1}
    if differing:
        listed = "; ".join(f"{kind} {', '.join(values)}" for kind, values in differing.items())
        yield (
            f"Trials ran with different versions or devices ({listed}): their results agree up to "
            "rounding errors, which training may amplify."
        )


def _losses(entries: Iterable[Entry]) -> Iterator[str]:
    lost = [entry for entry in entries if entry.losses and entry.state != "failed"]
    if lost:
        listed = "; ".join(f"{entry.folder}, {entry.losses[-1]['reason']}" for entry in lost)
        yield f"Trials that lost a worker and continued from their last task: {listed}."
