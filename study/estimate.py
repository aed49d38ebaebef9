"""What a study will take, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.planning import margins, plan_seeds
from study import plan
from study.confirm import confirmed, failures
from study.folder import Folder
from study.pilot import has_own_loop, measure, pilot_work, sizes, steps_per_trial
from study.plan import Method
from study.results import opened
from study.run import Data, load_data, prepared
from study.seen import seen_differences
from study.spec import Spec
from study.sweep import best_trial, finished_trials
from trainables import find_stream
from trainables.course import Course


def estimate(spec: Spec, source: str, place: Path, root: Path) -> dict[str, Any]:
    """Resolve a study and time a pilot of each method on this machine; nothing is written."""
    import torch

    methods = plan.resolve(spec, source)
    tuning, confirming = prepared(spec, *load_data(spec, root))
    torch.set_num_threads(max(int(spec.resources.cpus_per_trial), 1))
    device = "cuda" if spec.resources.gpus_per_trial and torch.cuda.is_available() else "cpu"
    rows = [_row(spec, method, tuning, confirming, device) for method in methods.values()]
    total = sum(row["seconds"] or 0 for row in rows)
    return {
        "study": spec.study.name,
        "folder": str(place),
        "methods": rows,
        "seconds": total,
        "notes": [*_time_notes(spec, rows, total, device), *_power_notes(spec, methods, place)],
    }


def _row(spec: Spec, method: Method, tuning: Data, confirming: Data, device: str) -> dict[str, Any]:
    """What one method will take; no time where its pilot failed."""
    trained = measure(pilot_work(spec, method), sizes(spec, method), confirming, device)
    stack = trained.fastest
    row = {
        "method": method.name,
        "tune_trials": spec.tune.trials,
        "tune_seeds": len(spec.tune_seeds),
        "confirm_seeds": len(spec.confirm_seeds),
        "stack": stack,
        "seconds": None,
        "problem": trained.problem if not trained.rates else "",
        "own_loop": False,
    }
    if not trained.rates:
        return row
    ends = trained.ends.get(stack, 0.0)
    rates = {"confirm": trained.rates[stack], "tune": trained.rates[stack]}
    if plan.tune_stream(spec) != spec.study.stream:
        elsewhere = measure(pilot_work(spec, method, "tune"), [stack], tuning, device)
        rates["tune"] = elsewhere.rates.get(stack, rates["tune"])
    seeds = {"tune": spec.tune.trials * len(spec.tune_seeds), "confirm": len(spec.confirm_seeds)}
    data = {"tune": tuning, "confirm": confirming}
    seconds = sum(
        seeds[phase] * (steps / rates[phase] + tasks * ends)
        for phase in seeds
        if seeds[phase]
        for steps, tasks in [_length(spec, method, phase, data[phase])]
    )
    return row | {"seconds": round(seconds, 1), "own_loop": has_own_loop(method.learner)}


def _length(spec: Spec, method: Method, phase: str, data: Data) -> tuple[int, int]:
    """Steps and tasks of a seed."""
    seeds = (spec.tune_seeds if phase == "tune" else spec.confirm_seeds)[:1]
    work = plan.assignment(spec, method, plan.configuration(method, {}), phase, seeds)
    course = Course(work, seeds, data)
    return steps_per_trial(course), course.tasks


def _time_notes(
    spec: Spec, rows: Sequence[Mapping[str, Any]], total: float, device: str
) -> list[str]:
    notes = [
        f"About {total:.0f} s of training on one device of this machine ({device}), without tests, "
        "checkpoints and start-up; the sweeps are timed at the published defaults."
    ]
    if spec.resources.gpus_per_trial and device == "cpu":
        notes.append("The study asks for GPUs and this machine has none: expect other times there.")
    notes += [
        f"The pilot of '{row['method']}' failed: {row['problem']}."
        for row in rows
        if row["problem"]
    ]
    own = [row["method"] for row in rows if row["own_loop"]]
    if own:
        notes.append(
            f"{', '.join(own)}: trained in a loop of its own, which the pilot does not time: it "
            "takes longer."
        )
    return notes


def _power_notes(spec: Spec, methods: Mapping[str, Method], place: Path) -> list[str]:
    """What the seeds, or their units, can show; in the metric's own units where the folder has
    paired scores.
    """
    compared = [name for name in methods if name != spec.study.reference]
    seen = seen_differences(spec, methods, Folder.open(place)[0]) if _begun(place) else {}
    paired = {plan.unit_of(spec, seed) for seed in spec.confirm_seeds}
    unit = find_stream(spec.study.stream).unit(plan.stream_options(spec))
    known = [name for name in compared if name in seen]
    notes = []
    for name in known or [""]:
        plan_ = plan_seeds(
            len(paired),
            len(compared),
            seen[name].differences if known else (),
            margins(spec.study.margin) if known else (),
            spec.study.alpha,
            unit=unit,
        )
        source = f"{name}, from {seen[name].source}: " if known else ""
        notes += [f"{source}{sentence}" for sentence in plan_.sentences]
    return notes


def _begun(place: Path) -> bool:
    return (place / "study.json").exists()


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
    return rows
