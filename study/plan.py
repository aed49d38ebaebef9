"""Estimate the cost of a study before it runs: trials, seeds, time, detectable effect."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import numbers
from analysis.forms import form_of
from analysis.one_study.planning import margins, plan_seeds, plan_until_decided
from analysis.records import DECIDED
from study.check import resolve, try_sweeps
from study.data import StudyData
from study.design import FRESH_PHASES, PHASES, Design, Method, method_of
from study.first_tasks import SharedTask, first_tasks_of_phase
from study.folder import Folder
from study.run import WORKERS
from study.run.pilot import pilot_work, stack_sizes
from study.seen_differences import seen_differences
from study.spec import Spec
from study.state import Study
from trainables.engine.course import Course
from trainables.engine.pilot import has_own_loop, run_pilot, steps_per_trial


def plan(
    spec: Spec,
    source: str,
    place: Path,
    root: Path,
    notify: Callable[[str], None] = lambda activity: None,
) -> dict[str, Any]:
    """Resolve a study and time a pilot of each method on this machine, without writing anything.

    Args:
        notify: called with the name of each activity as it begins.

    Returns:
        plain values: a row per method and shared first task, total seconds, and notes.
    """
    for name, value in WORKERS.items():  # pilots run with the settings of workers
        os.environ.setdefault(name, value)
    import torch

    design = resolve(spec, source)
    try_sweeps(design, source)
    data = StudyData.load(design, root).prepared()
    data.try_streams()
    torch.set_num_threads(max(int(spec.resources.cpus_per_trial), 1))
    methods = design.of_sweep(0).values()
    on_gpu = {method.name for method in methods if spec.request(method.name).gpus}
    devices = {
        method.name: "cuda" if method.name in on_gpu and torch.cuda.is_available() else "cpu"
        for method in methods
    }
    pilots = {}
    for method in methods:
        notify(f"pilot: timing {method.name}")
        pilots[method.name] = _time_method(method, data, devices[method.name])
    shared = {phase: first_tasks_of_phase(design, phase) for phase in PHASES}
    rows = [_row(method, pilots[method.name], shared, data) for method in methods]
    rows += [
        _shared_row(phase, each, pilots[each.methods[0]].stack, data, devices[each.methods[0]])
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
            *_budget_notes(design),
            *_time_notes(rows, total, {*devices.values()}, asks_gpus=bool(on_gpu)),
            *_power_notes(design, place),
        ],
    }


@dataclass(frozen=True)
class PilotTimes:
    """The times that the pilots of a method measured.

    Attributes:
        stack: size of the stack to use.
        rates: seed-steps per second by phase; empty if the pilot failed.
        end_seconds: time of a seed to end a task.
        problem: why the pilot failed.
    """

    stack: int
    rates: dict[str, float]
    end_seconds: float = 0.0
    problem: str = ""


def _time_method(method: Method, data: StudyData, device: str) -> PilotTimes:
    design = data.design
    sizes = stack_sizes(design, method)
    pilot = run_pilot(pilot_work(design, method), sizes, data.confirm, device)
    stack = pilot.fastest
    if not pilot.rates:
        return PilotTimes(stack, {}, problem=pilot.problem)
    rates = dict.fromkeys(PHASES, pilot.rates[stack])
    if design.streams["tune"].name != design.stream.name:
        held_out = run_pilot(pilot_work(design, method, "tune"), [stack], data.tune, device)
        rates["tune"] = rates["recheck"] = held_out.rates.get(stack, rates["tune"])
    return PilotTimes(stack, rates, pilot.end_seconds.get(stack, 0.0))


def _row(
    method: Method, pilots: PilotTimes, shared: Mapping[str, list[SharedTask]], data: StudyData
) -> dict[str, Any]:
    """Return the cost of a method, without shared first tasks; no time if the pilot failed.

    The cost is that of all sweeps of the method, and of all configurations that are confirmed.
    """
    tune = data.design.spec.tune
    trials, seeds = tune.trials * tune.repeats, _seeds(data.design, method)
    row = {
        "method": method.name,
        "tune_trials": trials,
        **{f"{phase}_seeds": count for phase, count in seeds.items()},
        "stack": pilots.stack,
        "seconds": None,
        "problem": pilots.problem,
        "own_loop": False,
    }
    if not pilots.rates:
        return row
    runs = {**seeds, "tune": trials * seeds["tune"]}
    seconds = 0.0
    for phase in (phase for phase in runs if runs[phase]):
        course = _course(method, phase, data)
        shares_first = any(method.name in each.methods for each in shared[phase])
        steps = steps_per_trial(course, first=int(shares_first))
        seconds += runs[phase] * (steps / pilots.rates[phase] + course.tasks * pilots.end_seconds)
    return row | {"seconds": round(seconds, 1), "own_loop": has_own_loop(method.learner)}


def _seeds(design: Design, method: Method) -> dict[str, int]:
    """Return the number of seeds of each trial in a sweep, and of all runs on fresh seeds."""
    sweeps = [each for each in design.methods.values() if method_of(each.name) == method.name]
    fresh = {
        phase: sum(
            len(design.seeds(phase, each.repeat)) * design.configurations(each, phase)
            for each in sweeps
        )
        for phase in FRESH_PHASES
    }
    return {"tune": len(design.seeds("tune")), **fresh}


def _course(method: Method, phase: str, data: StudyData) -> Course:
    """Return the course of one seed through the stream of a phase, at the published values."""
    design = data.design
    seeds = design.seeds(phase)[:1]
    work = design.assignment(method, method.configuration({}), phase, seeds)
    return Course(work, seeds, data.of(phase))


def _shared_row(
    phase: str, shared: SharedTask, stack: int, data: StudyData, device: str
) -> dict[str, Any]:
    """Return the cost of a shared first task, which is learnt once."""
    work, phase_data = shared.work, data.of(phase)
    names = dict.fromkeys(map(method_of, shared.methods))
    pilot = run_pilot(dataclasses.replace(work, phase="tune"), [stack], phase_data, device)
    seconds = None
    if pilot.rates:
        steps = steps_per_trial(Course(work, work.seeds[:1], phase_data))
        seconds = round(len(work.seeds) * steps / pilot.rates[stack], 1)
    return {
        "method": f"first task of {', '.join(names)} ({phase})",
        "tune_trials": int(phase == "tune"),
        **{f"{each}_seeds": len(work.seeds) * (each == phase) for each in PHASES},
        "stack": stack,
        "seconds": seconds,
        "problem": pilot.problem if not pilot.rates else "",
        "own_loop": False,
    }


def _budget_notes(design: Design) -> list[str]:
    """Return sentences on several sweeps and on several confirmed configurations."""
    tune, notes = design.spec.tune, []
    if tune.repeats > 1:
        trials = numbers.count(tune.trials, "trial")
        notes.append(f"Each method has {tune.repeats} sweeps of {trials}, each confirmed.")
    first = next(iter(design.methods.values()))
    if (confirmed := design.configurations(first, "confirm")) > 1:
        notes.append(f"The {confirmed} best configurations of each first sweep are confirmed.")
    return notes


def _time_notes(
    rows: Sequence[Mapping[str, Any]], total: float, devices: set[str], asks_gpus: bool
) -> list[str]:
    kinds = ", ".join(sorted(devices))
    notes = [
        f"About {total:.0f} s of training on one device of this machine ({kinds}), without tests, "
        "checkpoints and start-up; sweeps are timed at the published defaults."
    ]
    if asks_gpus and devices == {"cpu"}:
        notes.append(
            "The study asks for GPUs and this machine has none: training will take another time."
        )
    notes += [
        f"The pilot of '{row['method']}', a few steps of training, failed: "
        f"{row['problem'].rstrip('.')}. Its time is not in the estimate."
        for row in rows
        if row["problem"]
    ]
    untimed = [row["method"] for row in rows if row["own_loop"]]
    if untimed:
        notes.append(
            f"{', '.join(untimed)}: trained in a special loop that the pilot does not time: "
            "training will take another time."
        )
    return notes


def _power_notes(design: Design, place: Path) -> list[str]:
    """Return sentences on the effects that the seeds, or their units, can detect.

    Effects are in units of the metric if the folder has paired scores, else in standard deviations.
    """
    spec, stream = design.spec, design.stream
    compared, family, seen = design.comparisons, {*map(frozenset, design.comparisons)}, {}
    if (place / "study.json").exists():
        folder = Folder.open(place)[0]
        study = Study(design, folder, folder.ledger())
        seen = seen_differences(study)
        family |= {*map(frozenset, study.planned_comparisons)}
    paired = {stream.unit_of(seed) for seed in spec.confirm_seeds}
    seen_pairs = [pair for pair in compared if pair in seen]
    if spec.confirm.stop == DECIDED:
        until = plan_until_decided(len(paired), len(family), spec.study.alpha, stream.unit)
        return list(until.sentences)
    notes = []
    for pair in seen_pairs or [("", "")]:
        plan_ = plan_seeds(
            len(paired),
            len(family),
            seen[pair].differences if seen_pairs else (),
            margins(spec.study.margin) if seen_pairs else (),
            spec.study.alpha,
            unit=stream.unit,
            form=form_of(spec.study.metric, spec.study.number),
        )
        source = f"{' against '.join(pair)}, from {seen[pair].source}: " if seen_pairs else ""
        notes += [f"{source}{sentence}" for sentence in plan_.sentences]
    return notes
