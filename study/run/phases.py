"""One study, end to end: pilot, sweeps, confirmation, tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from analysis import wording
from analysis.one_study.analyse import Analysis, analyse
from study.check import resolve, try_sweeps
from study.console import Console, duration
from study.data import Data, StudyData
from study.design import Method
from study.first_tasks import before_confirmation, before_sweeps
from study.folder import Folder, StackSize
from study.interruption import heeded
from study.mlflow.mirror import Mirror
from study.record import study_record
from study.report import write_report
from study.run.cluster import connected, slots
from study.run.confirmation import run_confirmation
from study.run.context import RunContext
from study.run.driver import QUIET_UNKNOWN
from study.run.pilot import Pilot, measure, pilot_work, sizes
from study.run.pretraining import run_pretraining
from study.run.sweep import run_sweep
from study.spec import Spec
from study.state import Study
from trainables.errors import InputError


@dataclass(frozen=True)
class Finished:
    """How a study ended: its analysis, and what did not work."""

    analysis: Analysis
    failed: dict[str, str]  # trials and seeds that failed, and why
    unwritten: str = ""  # why its report could not be written


def run_study(
    spec: Spec,
    source: str,
    place: Path,
    root: Path,
    console: Console,
    command: str,
    tracking_uri: str | None = None,
) -> Finished:
    """Run what a study lacks and write its report; what the ledger has is not run again.

    Args:
        source: name of the study file, for errors.
        place: the study's own folder.
        root: where data sets are.
        command: as typed, for the report.
        tracking_uri: MLflow's; default: SQLite in the folder.
    """
    design = resolve(spec, source)
    try_sweeps(design, source)
    folder = Folder(place)
    with folder.claim():
        ledger = folder.ledger(console.say, repair=True)
        folder.admit(spec, command, ledger)
        study = Study(design, folder, ledger)
        with Mirror(study, tracking_uri, console.say) as mirror:
            _run_phases(study, root, console, mirror)
            analysis = analyse(study_record(study))
            unwritten = _unwritten(analysis, place / "report")
            mirror.finish(analysis)
    return Finished(analysis, study.failures(), unwritten)


def _unwritten(analysis: Analysis, place: Path) -> str:
    """Write a study's report; return why it could not be written."""
    try:
        write_report(analysis, place)
    except InputError as error:
        return str(error)
    return ""


def _run_phases(study: Study, root: Path, console: Console, mirror: Mirror) -> None:
    loaded = StudyData.load(study.design, root)
    _use(loaded, study, console)
    if study.complete:
        console.say(f"all trials of {', '.join(study.methods)} are in the ledger")
        _forget_unfinished(study)
        return
    data = loaded.prepared()
    data.try_streams()
    for text in data.suspicions():
        console.say(text)
    resources, log = study.spec.resources, study.folder.path / "ray.log"
    with connected(resources, log, console.say) as has, heeded():
        stacks = _stack_sizes(study, {"train": data.confirm["train"]}, console)
        run = RunContext(study, console, slots(resources, has), stacks)
        first_tasks = run_pretraining(run, before_sweeps(study), data.tune)
        for name in study.methods:
            run_sweep(run, name, data.tune, first_tasks)
            mirror.poke()
        first_tasks = run_pretraining(run, before_confirmation(study), data.confirm)
        run_confirmation(run, data.confirm, first_tasks)
        mirror.poke()
    _forget_unfinished(study)


def _use(data: StudyData, study: Study, console: Console) -> None:
    """Keep to the trials that learnt the data of this run, and say which others there are."""
    hashes = data.hashes()
    study.folder.keep_data(hashes)
    study.use_data(study.folder.facts.data)
    if others := study.ledger.of_other_data():
        console.say(
            f"{wording.count(len(others), 'trial')} in the ledger learnt other data than those "
            f"given now ({', '.join(hashes)}): kept, and not used."
        )


def _forget_unfinished(study: Study) -> None:
    """Forget what an earlier version of the study asked for, when all that is wanted has run."""
    for entry in study.ledger.running():
        study.ledger.abandon(entry)


def _stack_sizes(study: Study, data: Data, console: Console) -> dict[str, int]:
    """Return how many seeds each method trains at once: as given, as kept, or as a pilot finds."""
    resources, kept = study.spec.resources, study.folder.facts.stacks
    if isinstance(resources.seeds_per_stack, int):
        return dict.fromkeys(study.methods, resources.seeds_per_stack)
    device = "cuda" if resources.gpus_per_trial else "cpu"
    known = {
        name: kept[name].size for name in study.methods if _same_device(kept.get(name), device)
    }
    unknown = [method for name, method in study.methods.items() if name not in known]
    if unknown:
        console.say(f"pilot: timing stack sizes of {', '.join(method.name for method in unknown)}")
    pilots = _pilots(study, unknown, data, device, console)
    for name, pilot in pilots.items():
        if not pilot.rates:
            console.say(f"methods.{name}: its pilot failed ({pilot.problem})")
            continue
        stack = StackSize(size=pilot.fastest, device=device, seed_steps_per_second=pilot.rates)
        study.folder.keep_stack(name, stack)
    return known | {name: pilot.fastest for name, pilot in pilots.items()}


def _same_device(stack: StackSize | None, device: str) -> bool:
    return stack is not None and stack.device == device


def _pilots(
    study: Study, methods: list[Method], data: Data, device: str, console: Console
) -> dict[str, Pilot]:
    design, resources, shared = study.design, study.spec.resources, ray.put(data)
    timed = ray.remote(num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial)(
        measure
    )
    waiting = {
        timed.remote(pilot_work(design, method), sizes(design, method), shared, device): method.name
        for method in methods
    }
    late = _late(waiting, resources.task_minutes, console)
    return {
        name: Pilot({}, "it did not end in time") if reference in late else _answer(reference)
        for reference, name in waiting.items()
    }


def _late(waiting: Mapping[Any, str], minutes: float | None, console: Console) -> list[Any]:
    """Wait for pilots; stop and return those that have not ended when each had a task's time."""
    allowed = None if minutes is None else 60 * minutes * len(waiting)
    patience = QUIET_UNKNOWN if allowed is None else allowed
    late: list[Any]
    _, late = ray.wait(list(waiting), num_returns=len(waiting), timeout=patience)
    if late and allowed is None:
        named = ", ".join(waiting[reference] for reference in late)
        console.say(f"pilot: nothing from {named} for {duration(patience)}.")
        _, late = ray.wait(list(waiting), num_returns=len(waiting))
    for reference in late:
        ray.cancel(reference, force=True)
    return late


def _answer(reference: Any) -> Pilot:
    try:
        found: Pilot = ray.get(reference)
    except RayError as error:  # the pilot's process died
        return Pilot({}, str(error).strip().splitlines()[0])
    return found
