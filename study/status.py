"""How far a study is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study.ledger import PRETRAINING
from study.state import Study


def status(place: Path) -> list[dict[str, Any]]:
    """Return, for each method, what the ledger has of what is asked."""
    study = Study.open(place)
    unfinished = study.ledger.running()
    rows: list[dict[str, Any]] = []
    for name in study.methods:
        sweep, confirmation = study.sweep(name), study.confirmation(name)
        rows.append(
            {
                "method": name,
                "tuned": f"{len(sweep.finished)}/{sweep.asked}",
                "best": round(sweep.best.values[0], 4) if sweep.best else None,
                "confirmed": f"{len(confirmation.places().found)}/{len(study.spec.confirm_seeds)}",
                "failed": len(study.failures_of(name)),
                "unfinished": sum(entry.method == name for entry in unfinished),
            }
        )
    under_way = sum(entry.method == PRETRAINING for entry in unfinished)
    if under_way:
        nothing = dict.fromkeys(("tuned", "best", "confirmed"))
        first = {"method": "first tasks that trials share", "failed": 0, "unfinished": under_way}
        rows.append(nothing | first)
    return rows
