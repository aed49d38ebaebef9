"""What a study will take."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.one_study.planning import margins, plan_seeds
from study.check import resolve, try_sweeps
from study.data import StudyData
from study.design import PHASES, Design, Method
from study.first_tasks import SharedTask, foreseen
from study.folder import Folder
from study.run import WORKERS
from study.run.pilot import has_own_loop, measure, pilot_work, sizes, steps_per_trial
from study.seen import seen_differences
from study.spec import Spec
from study.state import Study
from trainables.engine.course import Course


def plan(spec: Spec, source: str, place: Path, root: Path) -> dict[str, Any]:
    """Resolve a study and time a pilot of each method on this machine; nothing is written."""
    for name, value in WORKERS.items():  # pilots are timed as workers train
        os.environ.setdefault(name, value)
    import torch

    design = resolve(spec, source)
    try_sweeps(design, source)
    data = StudyData.load(design, root).prepared()
    data.try_streams()
    torch.set_num_threads(max(int(spec.resources.cpus_per_trial), 1))
    device = "cuda" if spec.resources.gpus_per_trial and torch.cuda.is_available() else "cpu"
    methods = design.methods.values()
    pilots = {method.name: _pilots(method, data, device) for method in methods}
    shared = {phase: foreseen(design, phase) for phase in PHASES}
    rows = [_row(method, pilots[method.name], shared, data) for method in methods]
    rows += [
        _shared_row(each, pilots[each.methods[0]].stack, data, device)
        for phase in PHASES
        for each in shared[phase]
    ]
    total = sum(row["seconds"] or 0 for row in rows)
    return {
        "study": spec.study.name,
        "folder": str(place),
        "methods": rows,
        "seconds": total,
        "notes": [
            *data.suspicions(),
            *_time_notes(spec, rows, total, device),
            *_power_notes(design, place),
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


def _pilots(method: Method, data: StudyData, device: str) -> Timed:
    design = data.design
    asked = sizes(design, method)
    found = measure(pilot_work(design, method), asked, data.confirm, device)
    stack = found.fastest
    if not found.rates:
        return Timed(stack, {}, problem=found.problem)
    rates = {"confirm": found.rates[stack], "tune": found.rates[stack]}
    if design.streams["tune"].name != design.stream.name:
        elsewhere = measure(pilot_work(design, method, "tune"), [stack], data.tune, device)
        rates["tune"] = elsewhere.rates.get(stack, rates["tune"])
    return Timed(stack, rates, found.ends.get(stack, 0.0))


def _row(
    method: Method, pilots: Timed, shared: Mapping[str, list[SharedTask]], data: StudyData
) -> dict[str, Any]:
    """What one method will take, without first tasks that trials share; no time where its pilot
    failed.
    """
    spec = data.design.spec
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
        course = _course(method, phase, data)
        shares = any(method.name in each.methods for each in shared[phase])
        steps = steps_per_trial(course, first=int(shares))
        seconds += runs[phase] * (steps / pilots.rates[phase] + course.tasks * pilots.ends)
    own = has_own_loop(method.learner)
    return row | {"seconds": round(seconds, 1), "own_loop": own}


def _course(method: Method, phase: str, data: StudyData) -> Course:
    """A seed's course through the stream of a phase, at the published values."""
    design = data.design
    seeds = design.seeds(phase)[:1]
    work = design.assignment(method, method.configuration({}), phase, seeds)
    return Course(work, seeds, data.of(phase))


def _shared_row(shared: SharedTask, stack: int, data: StudyData, device: str) -> dict[str, Any]:
    """What a first task takes that trials have in common, and that is learnt once."""
    work, tuning = shared.work, shared.work.phase == "tune"
    readable = data.of(work.phase)
    found = measure(dataclasses.replace(work, phase="tune"), [stack], readable, device)
    seconds = None
    if found.rates:
        steps = steps_per_trial(Course(work, work.seeds[:1], readable))
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


def _power_notes(design: Design, place: Path) -> list[str]:
    """What the seeds, or their units, can show; in the metric's own units where the folder has
    paired scores.
    """
    spec, stream = design.spec, design.stream
    compared = [name for name in design.methods if name != spec.study.reference]
    seen = {}
    if (place / "study.json").exists():
        folder = Folder.open(place)[0]
        seen = seen_differences(Study(design, folder, folder.ledger()))
    paired = {stream.unit_of(seed) for seed in spec.confirm_seeds}
    known = [name for name in compared if name in seen]
    notes = []
    for name in known or [""]:
        plan_ = plan_seeds(
            len(paired),
            len(compared),
            seen[name].differences if known else (),
            margins(spec.study.margin) if known else (),
            spec.study.alpha,
            unit=stream.unit,
        )
        source = f"{name}, from {seen[name].source}: " if known else ""
        notes += [f"{source}{sentence}" for sentence in plan_.sentences]
    return notes
