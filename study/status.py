"""The progress of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study.ledger import PRETRAINING
from study.state import Study


def status(place: Path) -> list[dict[str, Any]]:
    """Return a row of plain values for each method: trials and seeds done, failed and unfinished.

    >>> [row["tuned"] for row in status(Path("studies/digits"))]
    ['8/8', '8/8', '8/8', '8/8']
    """
    study = Study.open(place)
    unfinished = study.ledger.unfinished()
    rows: list[dict[str, Any]] = []
    for name in study.methods:
        sweep = study.sweep(name)
        rows.append(
            {
                "method": name,
                "tuned": f"{len(sweep.finished)}/{sweep.budget}",
                "best": round(sweep.best.values[0], 4) if sweep.best else None,
                "confirmed": _seeds_done(study, name, "confirm"),
                "rechecked": _seeds_done(study, name, "recheck"),
                "failed": len(study.failures_of(name)),
                "unfinished": sum(entry.method == name for entry in unfinished),
            }
        )
    under_way = sum(entry.method == PRETRAINING for entry in unfinished)
    if under_way:
        rows.append(
            {
                "method": "first tasks that trials share",
                "tuned": None,
                "best": None,
                "confirmed": None,
                "rechecked": None,
                "failed": 0,
                "unfinished": under_way,
            }
        )
    return rows


def _seeds_done(study: Study, method: str, phase: str) -> str:
    best, *others = study.all_fresh_seeds(method, phase)
    states = [best, *(state for state in others if state.configuration)]
    done = sum(len(state.places(state.seeds).found) for state in states)
    return f"{done}/{sum(len(state.seeds) for state in states)}"
