"""How far a study is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study.ledger import PRETRAINING
from study.record import opened
from study.run.confirmation import confirmed, failures
from study.run.sweep import best_trial, finished_trials


def progress(place: Path) -> list[dict[str, Any]]:
    """Return, for each method, what the ledger has of what is asked."""
    folder, spec, methods = opened(place)
    ledger = folder.ledger()
    unfinished = ledger.running()
    rows = []
    for name, method in methods.items():
        best = best_trial(spec, method, ledger)
        state = confirmed(spec, method, ledger)
        tuned = finished_trials(spec, method, ledger)
        rows.append(
            {
                "method": name,
                "tuned": f"{len(tuned)}/{spec.tune.trials}",
                "best": round(best.values[0], 4) if best else None,
                "confirmed": f"{len(state.places)}/{len(spec.confirm_seeds)}",
                "failed": len(failures(spec, method, ledger)),
                "unfinished": sum(e.method == name for e in unfinished),
            }
        )
    under_way = sum(e.method == PRETRAINING for e in unfinished)
    if under_way:
        nothing = dict.fromkeys(("tuned", "best", "confirmed"))
        first = {"method": "first tasks that trials share", "failed": 0, "unfinished": under_way}
        rows.append(nothing | first)
    return rows
