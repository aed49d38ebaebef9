"""Run a study from end to end: pilots, sweeps, confirmation, recheck, report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from analysis import numbers
from analysis.one_study.analyse import Analysis, analyse
from study.console import Console, duration
from study.data import Data, StudyData
from study.design import FRESH_PHASES, Design, Method, method_of
from study.first_tasks import first_tasks_of_fresh_seeds, first_tasks_of_sweeps
from study.folder import Folder, StackSize
from study.interruption import stopping_in_order
from study.mlflow.mirror import Mirror
from study.record import study_record
from study.report import write_report
from study.run.cluster import connected, slots
from study.run.confirmation import FreshSeedTrials, fresh_seed_rounds
from study.run.context import RunContext
from study.run.driver import QUIET_UNKNOWN
from study.run.pilot import Pilot, pilot_work, run_pilot, stack_sizes
from study.run.pretraining import run_pretraining
from study.run.sweep import run_sweep
from study.state import Study
from trainables.errors import InputError


@dataclass(frozen=True)
class FinishedStudy:
    """The end of a run: the analysis of the study, and the failures."""

    analysis: Analysis
    failed: dict[str, str]  # reasons by trial or seed
    crashed: int = 0  # trials and seeds that may end otherwise if they run again
    unwritten: str = ""  # why the report could not be written


@dataclass(frozen=True)
class RunOptions:
    """The settings of a run that are no part of the study.

    Attributes:
        root: folder of the data sets.
        command: command line of the run, for the report.
        tracking_uri: URI of MLflow; None: SQLite in the study's folder.
        retry_failed: whether to run again the trials and seeds that crashed.
    """

    root: Path
    command: str
    tracking_uri: str | None = None
    retry_failed: bool = False


def run_study(design: Design, place: Path, options: RunOptions, console: Console) -> FinishedStudy:
    """Run the missing trials of a study and write its report; ``place``: folder of the study."""
    folder = Folder(place)
    with folder.claim():
        ledger = folder.ledger(console.say, repair=True)
        folder.admit(design.spec, options.command, ledger)
        study = Study(design, folder, ledger, options.retry_failed)
        with Mirror(study, options.tracking_uri, console.say) as mirror:
            _run_phases(study, options.root, console, mirror)
            console.step("writing the report")
            analysis = analyse(study_record(study))
            unwritten = _write_report(analysis, place / "report")
            console.step("bringing MLflow up to date")
            mirror.finish(analysis)
    return FinishedStudy(analysis, study.failures(), study.crashed, unwritten)


def _write_report(analysis: Analysis, place: Path) -> str:
    """Write a study's report; return why the report could not be written, or an empty text."""
    try:
        write_report(analysis, place)
    except InputError as error:
        return str(error)
    return ""


def _run_phases(study: Study, root: Path, console: Console, mirror: Mirror) -> None:
    console.step("reading the data")
    loaded = StudyData.load(study.design, root)
    _use_data(loaded, study, console)
    if study.complete:
        console.say(f"all trials of {', '.join(study.spec.methods)} are in the ledger")
        _forget_unfinished(study)
        return
    data = loaded.prepared()
    data.try_streams()
    for text in data.suspicions():
        console.say(text)
    resources, log = study.spec.resources, study.folder.path / "ray.log"
    is_local = resources.address == "local"
    console.step("starting Ray" if is_local else f"joining Ray at {resources.address}")
    with connected(resources, log, console.say) as available, stopping_in_order():
        stacks = _stack_sizes(study, {"train": data.confirm["train"]}, console)
        run = RunContext(study, console, slots(resources, available), stacks)
        foundations = run_pretraining(run, "tune", first_tasks_of_sweeps(study), data.tune)
        for name in study.methods:
            run_sweep(run, name, data.tune, foundations)
            mirror.poke()
        for phase in FRESH_PHASES:
            _run_fresh_seeds(run, phase, data.of(phase))
            mirror.poke()
    _forget_unfinished(study)


def _run_fresh_seeds(run: RunContext, phase: str, data: Data) -> None:
    """Run the missing trials of the confirmation, or of the recheck."""
    for queue in fresh_seed_rounds(run.study, phase, run.slots):
        shared = first_tasks_of_fresh_seeds(run.study, phase)
        foundations = run_pretraining(run, phase, shared, data)
        run.console.phase(phase, len(queue), 0)
        run.fit(FreshSeedTrials(run, phase, queue), phase, data, foundations)


def _use_data(data: StudyData, study: Study, console: Console) -> None:
    """Use only trials on the data of this run, and report trials on other data."""
    hashes = data.hashes()
    study.folder.keep_data(hashes)
    study.keep_to_data(study.folder.facts.data)
    if others := study.ledger.entries_of_other_data():
        console.say(
            f"{numbers.count(len(others), 'trial')} in the ledger learnt other data than the "
            f"current ones ({', '.join(hashes)}): kept, and not used."
        )


def _forget_unfinished(study: Study) -> None:
    """Remove the records of unfinished trials that the study no longer asks for."""
    for entry in study.ledger.unfinished():
        study.ledger.abandon(entry)


def _stack_sizes(study: Study, data: Data, console: Console) -> dict[str, int]:
    """Return the stack size of each method: from the study file, from its folder, or by a pilot.

    All sweeps of a method have the same.
    """
    resources, kept = study.spec.resources, study.folder.facts.stacks
    if isinstance(resources.seeds_per_stack, int):
        return dict.fromkeys(study.methods, resources.seeds_per_stack)
    device = "cuda" if resources.gpus_per_trial else "cpu"
    methods = study.design.of_sweep(0)
    known = {name: kept[name].size for name in methods if _same_device(kept.get(name), device)}
    unknown = [method for name, method in methods.items() if name not in known]
    if unknown:
        console.step(f"pilot: timing stack sizes of {', '.join(method.name for method in unknown)}")
    pilots = _run_pilots(study, unknown, data, device, console)
    for name, pilot in pilots.items():
        if not pilot.rates:
            console.say(f"methods.{name}: its pilot failed ({pilot.problem})")
            continue
        stack = StackSize(size=pilot.fastest, device=device, seed_steps_per_second=pilot.rates)
        study.folder.keep_stack(name, stack)
    sizes = known | {name: pilot.fastest for name, pilot in pilots.items()}
    return {name: sizes[method_of(name)] for name in study.methods}


def _same_device(stack: StackSize | None, device: str) -> bool:
    return stack is not None and stack.device == device


def _run_pilots(
    study: Study, methods: list[Method], data: Data, device: str, console: Console
) -> dict[str, Pilot]:
    design, resources, shared_data = study.design, study.spec.resources, ray.put(data)
    remote_pilot = ray.remote(num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial)(
        run_pilot
    )
    waiting = {
        remote_pilot.remote(
            pilot_work(design, method), stack_sizes(design, method), shared_data, device
        ): method.name
        for method in methods
    }
    late = _late_pilots(waiting, resources.task_minutes, console)
    return {
        name: Pilot({}, "the pilot did not end in time")
        if reference in late
        else _pilot_result(reference)
        for reference, name in waiting.items()
    }


def _late_pilots(waiting: Mapping[Any, str], minutes: float | None, console: Console) -> list[Any]:
    """Wait for pilots; stop and return those that exceed the time limit of a task, if there is one.

    As pilots may run one after the other, the limit is the sum of their limits.
    """
    limit = None if minutes is None else 60 * minutes * len(waiting)
    patience = QUIET_UNKNOWN if limit is None else limit
    late: list[Any]
    _, late = ray.wait(list(waiting), num_returns=len(waiting), timeout=patience)
    if late and limit is None:
        names = ", ".join(waiting[reference] for reference in late)
        console.say(f"pilot: no result of {names} for {duration(patience)}.")
        _, late = ray.wait(list(waiting), num_returns=len(waiting))
    for reference in late:
        ray.cancel(reference, force=True)
    return late


def _pilot_result(reference: Any) -> Pilot:
    try:
        pilot: Pilot = ray.get(reference)
    except RayError as error:  # the pilot's process died
        return Pilot({}, str(error).strip().splitlines()[0])
    return pilot
