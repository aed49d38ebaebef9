"""What a study will take, and how far it is."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.one_study.planning import margins, plan_seeds
from study import check
from study.check import Method
from study.folder import Folder
from study.run.cluster import WORKERS
from study.run.phases import Data, load_data, prepared, suspicions, try_streams
from study.run.pilot import has_own_loop, measure, pilot_work, sizes, steps_per_trial
from study.run.pretraining import Shared, foreseen
from study.seen import seen_differences
from study.spec import Spec
from trainables import find_stream
from trainables.engine.course import Course


def estimate(spec: Spec, source: str, place: Path, root: Path) -> dict[str, Any]:
    """Resolve a study and time a pilot of each method on this machine; nothing is written."""
    for name, value in WORKERS.items():  # pilots are timed as workers train
        os.environ.setdefault(name, value)
    import torch

    methods = check.resolve(spec, source)
    tuning, confirming = prepared(spec, *load_data(spec, root))
    try_streams(spec, tuning, confirming)
    torch.set_num_threads(max(int(spec.resources.cpus_per_trial), 1))
    device = "cuda" if spec.resources.gpus_per_trial and torch.cuda.is_available() else "cpu"
    data = {"tune": tuning, "confirm": confirming}
    pilots = {m.name: _pilots(spec, m, data, device) for m in methods.values()}
    shared = {phase: foreseen(spec, methods, phase) for phase in data}
    rows = [_row(spec, method, pilots[method.name], shared, data) for method in methods.values()]
    rows += [
        _shared_row(each, pilots[each.methods[0]].stack, data[phase], device)
        for phase in data
        for each in shared[phase]
    ]
    total = sum(row["seconds"] or 0 for row in rows)
    return {
        "study": spec.study.name,
        "folder": str(place),
        "methods": rows,
        "seconds": total,
        "notes": [
            *suspicions(spec, tuning, confirming),
            *_time_notes(spec, rows, total, device),
            *_power_notes(spec, methods, place),
        ],
    }


@dataclass(frozen=True)
class Timed:
    """What the pilots of a method found: seed-steps per second in each phase with the stack to use,
    none where they failed; seconds it takes a seed to end a task.
    """

    stack: int
    rates: dict[str, float]
    ends: float = 0.0
    problem: str = ""


def _pilots(spec: Spec, method: Method, data: Mapping[str, Data], device: str) -> Timed:
    found = measure(pilot_work(spec, method), sizes(spec, method), data["confirm"], device)
    stack = found.fastest
    if not found.rates:
        return Timed(stack, {}, problem=found.problem)
    rates = {"confirm": found.rates[stack], "tune": found.rates[stack]}
    if check.tune_stream(spec) != spec.study.stream:
        elsewhere = measure(pilot_work(spec, method, "tune"), [stack], data["tune"], device)
        rates["tune"] = elsewhere.rates.get(stack, rates["tune"])
    return Timed(stack, rates, found.ends.get(stack, 0.0))


def _row(
    spec: Spec,
    method: Method,
    pilots: Timed,
    shared: Mapping[str, list[Shared]],
    data: Mapping[str, Data],
) -> dict[str, Any]:
    """What one method will take, without first tasks that trials share; no time where its pilot
    failed.
    """
    row = {
        "method": method.name,
        "tune_trials": spec.tune.trials,
        "tune_seeds": len(spec.tune_seeds),
        "confirm_seeds": len(spec.confirm_seeds),
        "stack": pilots.stack,
        "seconds": None,
        "problem": pilots.problem,
        "own_loop": False,
    }
    if not pilots.rates:
        return row
    runs = {"tune": spec.tune.trials * len(spec.tune_seeds), "confirm": len(spec.confirm_seeds)}
    seconds = 0.0
    for phase in (phase for phase in runs if runs[phase]):
        course = _course(spec, method, phase, data[phase])
        shares = any(method.name in each.methods for each in shared[phase])
        steps = steps_per_trial(course, first=int(shares))
        seconds += runs[phase] * (steps / pilots.rates[phase] + course.tasks * pilots.ends)
    own = has_own_loop(method.learner)
    return row | {"seconds": round(seconds, 1), "own_loop": own}


def _course(spec: Spec, method: Method, phase: str, data: Data) -> Course:
    """A seed's course through the stream of a phase, at the published values."""
    seeds = (spec.tune_seeds if phase == "tune" else spec.confirm_seeds)[:1]
    work = check.assignment(spec, method, check.configuration(method, {}), phase, seeds)
    return Course(work, seeds, data)


def _shared_row(shared: Shared, stack: int, data: Data, device: str) -> dict[str, Any]:
    """What a first task takes that trials have in common, and that is learnt once."""
    work, tuning = shared.work, shared.work.phase == "tune"
    found = measure(dataclasses.replace(work, phase="tune"), [stack], data, device)
    seconds = None
    if found.rates:
        steps = steps_per_trial(Course(work, work.seeds[:1], data))
        seconds = round(len(work.seeds) * steps / found.rates[stack], 1)
    return {
        "method": f"first task of {', '.join(shared.methods)} ({work.phase})",
        "tune_trials": int(tuning),
        "tune_seeds": len(work.seeds) if tuning else 0,
        "confirm_seeds": 0 if tuning else len(work.seeds),
        "stack": stack,
        "seconds": seconds,
        "problem": found.problem if not found.rates else "",
        "own_loop": False,
    }


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
            f"{', '.join(own)}: trained in a loop of its own, which the pilot does not time: "
            "expect another time."
        )
    return notes


def _power_notes(spec: Spec, methods: Mapping[str, Method], place: Path) -> list[str]:
    """What the seeds, or their units, can show; in the metric's own units where the folder has
    paired scores.
    """
    compared = [name for name in methods if name != spec.study.reference]
    seen = seen_differences(spec, methods, Folder.open(place)[0]) if _begun(place) else {}
    paired = {check.unit_of(spec, seed) for seed in spec.confirm_seeds}
    unit = find_stream(spec.study.stream).unit(check.stream_options(spec))
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
