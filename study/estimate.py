"""What a study will take, and how far it is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from analysis.power import detectable_effect
from study import plan
from study.confirm import confirmed
from study.folder import Folder
from study.pilot import fastest, measure, steps_per_trial
from study.run import load_data, pilot_work
from study.spec import Spec
from study.sweep import best_trial, finished_trials
from trainables.course import Course


def estimate(spec: Spec, source: str, place: Path, root: Path) -> dict[str, Any]:
    """Resolve a study and time a pilot of each method on this machine; nothing is written."""
    import torch

    methods = plan.resolve(spec, source)
    tuning, _ = load_data(spec, root)
    torch.set_num_threads(max(int(spec.resources.cpus_per_trial), 1))
    rows: list[dict[str, Any]] = []
    for method in methods.values():
        work, sizes = pilot_work(spec, method)
        given = spec.resources.seeds_per_stack
        rates = measure(work, sizes if given == "auto" else [int(given)], tuning)
        size = fastest(rates)
        steps = steps_per_trial(Course(work, spec.confirm_seeds[:1], tuning))
        seeds = spec.tune.trials * len(spec.tune_seeds) + len(spec.confirm_seeds)
        rows.append(
            {
                "method": method.name,
                "tune_trials": spec.tune.trials,
                "tune_seeds": len(spec.tune_seeds),
                "confirm_seeds": len(spec.confirm_seeds),
                "stack": size,
                "seconds": round(seeds * steps / rates[size], 1),
            }
        )
    total = sum(row["seconds"] for row in rows)
    return {
        "study": spec.study.name,
        "folder": str(place),
        "methods": rows,
        "seconds": total,
        "notes": _notes(spec, total),
    }


def _notes(spec: Spec, total: float) -> list[str]:
    n, m = len(spec.confirm_seeds), max(len(spec.methods) - 1, 1)
    notes = [
        f"About {total:.0f} s of training on one device of this machine, without tests, "
        "checkpoints and start-up; the sweeps are timed at the published defaults."
    ]
    if n >= 2:
        effect = detectable_effect(n, spec.study.alpha / m)
        notes.append(
            f"With {n} seeds and {m} comparisons with '{spec.study.reference}', the smallest "
            "difference shown with 80 % "
            f"power is {effect:.2f} standard deviations of the paired differences."
        )
    needed = math.ceil(1 + math.log2(m / spec.study.alpha))
    if n < needed:
        notes.append(
            f"The exact test cannot reach {spec.study.alpha:g} with {n} seeds; {needed} seeds can."
        )
    return notes


def progress(place: Path) -> list[dict[str, Any]]:
    """Return, for each method, what the ledger has of what is asked."""
    folder, spec = Folder.open(place)
    methods = plan.resolve(spec, str(place / "study.json"))
    ledger = folder.ledger()
    running = ledger.running()
    rows = []
    for name, method in methods.items():
        best = best_trial(spec, method, ledger)
        state = confirmed(spec, method, ledger)
        entries = ledger.entries(method=name)
        rows.append(
            {
                "method": name,
                "tuned": f"{len(finished_trials(spec, method, ledger))}/{spec.tune.trials}",
                "best": round(best.values[0], 4) if best else None,
                "confirmed": f"{len(state.places)}/{len(spec.confirm_seeds)}",
                "failed": sum(e.state in ("failed", "diverged") for e in entries),
                "running": sum(e.method == name for e in running),
            }
        )
    return rows
