"""What a reader of a study's tables is told of how its trials ran: what was left out because it
belongs to other data or other code, what differed between trials, whose workers were lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from analysis import wording
from study.ledger import Entry
from study.state import Study
from trainables.engine.assignment import Assignment

NUMERICAL = ("torch", "numpy")  # packages whose versions change results in the last digits


def circumstances(study: Study) -> list[str]:
    """Return sentences on how the trials of a study ran; none where there is nothing to say."""
    used = [entry for name in study.methods for entry in _used(study, name)]
    return [*_left_out(study), *_differences(used), *_losses(used)]


def _used(study: Study, method: str) -> list[Entry]:
    """Return the trials that the tables rest on."""
    places = study.confirmation(method).places().found.values()
    confirming = {entry.folder: entry for entry, _ in places}
    return [*study.sweep(method).entries, *confirming.values()]


def _left_out(study: Study) -> Iterator[str]:
    if others := study.ledger.of_other_data():
        yield (
            f"{wording.count(len(others), 'trial')} in this folder learnt other data than those of "
            "the last run: kept, and in no table."
        )
    for name, method in study.methods.items():
        # a method may have had another learner before, which need not be installed any more
        mine = (e for e in study.ledger.entries(method=name) if e.work["learner"] == method.learner)
        changed = [e for e in mine if e.versions != _versions_now(e)]
        if changed:
            yield (
                f"{wording.count(len(changed), 'trial')} of {name} ran with other code or another "
                "version of it: kept, and in no table."
            )


def _versions_now(entry: Entry) -> dict[str, int | str]:
    return Assignment(**entry.work).versions()


def _differences(used: Iterable[Entry]) -> Iterator[str]:
    """What trials of one table ran with or on that was not the same for all."""
    found: dict[str, set[str]] = {}
    for entry in used:
        ran_with = {name: entry.software.get(name, "") for name in NUMERICAL}
        for what, which in {**ran_with, "device": entry.device}.items():
            found.setdefault(what, set()).update({which} - {""})
    several = {what: sorted(which) for what, which in found.items() if len(which) > 1}
    if several:
        listed = "; ".join(f"{what} {', '.join(which)}" for what, which in several.items())
        yield (
            f"Trials did not all run with the same ({listed}): their results agree to rounding, "
            "which training may amplify."
        )


def _losses(used: Iterable[Entry]) -> Iterator[str]:
    lost = [entry for entry in used if entry.losses and entry.state != "failed"]
    if lost:
        listed = "; ".join(f"{entry.folder}, {entry.losses[-1]['reason']}" for entry in lost)
        yield f"Trials whose worker was lost, and that went on from their last task: {listed}."
