"""The progress of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study.ledger import HEATS, PRETRAINING
from study.progress import progress
from study.state import Study

WATCH_SECONDS = 2.0  # between two looks


def status(place: Path) -> list[dict[str, Any]]:
    """Return the rows of the study in a folder.

    >>> [row["tuned"] for row in status(Path("studies/digits"))]
    ['8/8', '8/8', '8/8', '8/8']
    """
    return rows_of(Study.open(place))


def rows_of(study: Study) -> list[dict[str, Any]]:
    """Return a row of plain values for each method: its trials and seeds."""
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


def now(study: Study) -> str:
    """Return the progress of a study in a line, as its run shows it."""
    if not study.folder.is_claimed:
        more = "" if study.complete else "; not running: the same `run` command continues it"
        return progress(study).line + more
    # a trial that races is there as its present heat, too
    running = sum(not entry.method.startswith(HEATS) for entry in study.ledger.unfinished())
    return progress(study, running, study.folder.facts.slots).line


def _seeds_done(study: Study, method: str, phase: str) -> str:
    best, *others = study.all_fresh_seeds(method, phase)
    states = [best, *(state for state in others if state.configuration)]
    done = sum(len(state.places(state.seeds).found) for state in states)
    return f"{done}/{sum(len(state.seeds) for state in states)}"
