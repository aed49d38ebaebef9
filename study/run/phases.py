"""One study, end to end: pilot, sweeps, confirmation, tables."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from analysis import wording
from analysis.one_study.analyse import Analysis, analyse
from study import check
from study.check import Method
from study.console import Console, duration
from study.folder import Folder, Stack
from study.interruption import heeded
from study.ledger import Ledger
from study.mlflow.mirror import Mirror
from study.record import study_record
from study.report import write_report
from study.run.cluster import connected, slots
from study.run.confirmation import confirmed, failures, run_confirmation
from study.run.driver import QUIET_UNKNOWN
from study.run.pilot import Pilot, measure, pilot_work, sizes
from study.run.pretraining import before_confirmation, before_sweeps, run_pretraining
from study.run.sweep import finished_trials, run_sweep
from study.spec import Spec
from trainables import find_stream
from trainables.errors import InputError
from trainables.streams import datasets
from trainables.streams.datasets import Split

Data = dict[str, Split]


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
    methods = check.resolve(spec, source)
    folder = Folder(place)
    with folder.claim():
        ledger = folder.ledger(console.say, repair=True)
        folder.admit(spec, command, ledger)
        with Mirror(folder, spec, methods, ledger, tracking_uri, console.say) as mirror:
            _run_phases(spec, methods, folder, ledger, root, console, mirror)
            analysis = analyse(study_record(spec, methods, ledger, folder))
            unwritten = _unwritten(analysis, place / "report")
            mirror.finish(analysis)
    of_methods = (failures(spec, method, ledger) for method in methods.values())
    failed = {name: why for found in of_methods for name, why in found.items()}
    return Finished(analysis, failed, unwritten)


def _unwritten(analysis: Analysis, place: Path) -> str:
    """Write a study's report; return why it could not be written."""
    try:
        write_report(analysis, place)
    except InputError as error:
        return str(error)
    return ""


def load_data(spec: Spec, root: Path) -> tuple[Data, Data]:
    """Return what sweeps and the confirmation may read: a sweep is never given a test set."""
    confirming = datasets.load(find_stream(spec.study.stream).dataset, root)
    if spec.tune.protocol == "held_out_stream":
        return datasets.load(
            find_stream(check.tune_stream(spec)).dataset, root, ("train",)
        ), confirming
    return {"train": confirming["train"]}, confirming


def prepared(spec: Spec, tuning: Data, confirming: Data) -> tuple[Data, Data]:
    """Return the data as the study's streams keep them: done once, and not by every trial."""

    def kept(stream: str, data: Data) -> Data:
        return find_stream(stream).prepare(data, check.stream_options(spec, stream))

    whole = kept(spec.study.stream, confirming)
    if spec.tune.protocol == "held_out_stream":
        return kept(check.tune_stream(spec), tuning), whole
    return {"train": whole["train"]}, whole


def try_streams(spec: Spec, tuning: Data, confirming: Data) -> None:
    """Build the streams of a study, so that data which a seed cannot learn are refused before any
    trial begins.
    """
    _try_stream(spec, spec.study.stream, "confirm", spec.confirm_seeds, confirming)
    if spec.tune.trials:
        _try_stream(spec, check.tune_stream(spec), "tune", spec.tune_seeds, tuning)


def _try_stream(spec: Spec, name: str, phase: str, seeds: Sequence[int], data: Data) -> None:
    kind, options = find_stream(name), check.stream_options(spec, name)
    # what is refused is the same for all seeds of a unit
    units = {kind.unit_of(seed, options): seed for seed in seeds}
    one_each = seeds[:1] if kind.unit(options) == "seed" else list(units.values())
    kind(data, spec.study.scenario, one_each, phase, options)


def suspicions(spec: Spec, tuning: Data, confirming: Data) -> list[str]:
    """Return sentences on what is odd about the data of a study, as its streams keep them."""
    held_out = {find_stream(check.tune_stream(spec)).dataset: tuning}
    data = held_out | {find_stream(spec.study.stream).dataset: confirming}
    return [text for name, each in data.items() for text in datasets.suspicions(name, each)]


def data_hashes(spec: Spec, tuning: Data, confirming: Data) -> dict[str, str]:
    """Return a hash of the arrays of each data set that a study reads."""
    held_out = {find_stream(check.tune_stream(spec)).dataset: _digest(tuning)}
    return held_out | {find_stream(spec.study.stream).dataset: _digest(confirming)}


def _digest(data: Data) -> str:
    digest = hashlib.sha256()
    for name, split in sorted(data.items()):
        for part, array in sorted(split.items()):
            digest.update(f"{name}/{part} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _run_phases(
    spec: Spec,
    methods: Mapping[str, Method],
    folder: Folder,
    ledger: Ledger,
    root: Path,
    console: Console,
    mirror: Mirror,
) -> None:
    data = load_data(spec, root)
    _use(data_hashes(spec, *data), folder, ledger, console)
    if complete(spec, methods, ledger):
        console.say(f"all trials of {', '.join(methods)} are in the ledger")
        _forget(ledger)
        return
    tuning, confirming = prepared(spec, *data)
    try_streams(spec, tuning, confirming)
    for text in suspicions(spec, tuning, confirming):
        console.say(text)
    with connected(spec.resources, folder.path / "ray.log", console.say) as has, heeded():
        stacks = _stack_sizes(spec, methods, folder, {"train": confirming["train"]}, console)
        settings = {"objectives": spec.objectives, "gpus": spec.resources.gpus_per_trial}
        size, storage = slots(spec.resources, has), folder.storage
        where = (settings, stacks, size, storage, console)
        wanted = before_sweeps(spec, methods, ledger)
        pretrained = run_pretraining(spec, wanted, ledger, tuning, *where)
        for name, method in methods.items():
            own = {**settings, "stack": stacks[name]}
            run_sweep(spec, method, ledger, tuning, pretrained, own, storage, console)
            mirror.poke()
        wanted = before_confirmation(spec, methods, ledger)
        pretrained = run_pretraining(spec, wanted, ledger, confirming, *where)
        run_confirmation(spec, methods, ledger, confirming, pretrained, *where)
        mirror.poke()
    _forget(ledger)


def _use(hashes: Mapping[str, str], folder: Folder, ledger: Ledger, console: Console) -> None:
    """Keep to the trials that learnt the data of this run, and say which others there are."""
    folder.keep_data(hashes)
    ledger.data = folder.facts.data
    if others := ledger.of_other_data():
        console.say(
            f"{wording.count(len(others), 'trial')} in the ledger learnt other data than those "
            f"given now ({', '.join(hashes)}): kept, and not used."
        )


def complete(spec: Spec, methods: Mapping[str, Method], ledger: Ledger) -> bool:
    """Whether nothing has to run."""
    tuned = (len(finished_trials(spec, m, ledger)) for m in methods.values())
    states = (confirmed(spec, m, ledger) for m in methods.values())
    return all(count == spec.tune.trials for count in tuned) and all(
        state.configuration is None or set(spec.confirm_seeds) <= set(state.places)
        for state in states
    )


def _forget(ledger: Ledger) -> None:
    """Forget what an earlier version of the study asked for, when all that is wanted has run."""
    for entry in ledger.running():
        ledger.abandon(entry)


def _stack_sizes(
    spec: Spec, methods: Mapping[str, Method], folder: Folder, data: Data, console: Console
) -> dict[str, int]:
    """Return how many seeds each method trains at once: as given, as kept, or as a pilot finds."""
    if isinstance(spec.resources.seeds_per_stack, int):
        return dict.fromkeys(methods, spec.resources.seeds_per_stack)
    device, kept = "cuda" if spec.resources.gpus_per_trial else "cpu", folder.facts.stacks
    known = {name: kept[name].size for name in methods if _same_device(kept.get(name), device)}
    unknown = [method for name, method in methods.items() if name not in known]
    if unknown:
        console.say(f"pilot: timing stack sizes of {', '.join(method.name for method in unknown)}")
    pilots = _pilots(spec, unknown, data, device, console)
    for name, pilot in pilots.items():
        if not pilot.rates:
            console.say(f"methods.{name}: its pilot failed ({pilot.problem})")
            continue
        stack = Stack(size=pilot.fastest, device=device, seed_steps_per_second=pilot.rates)
        folder.keep_stack(name, stack)
    return known | {name: pilot.fastest for name, pilot in pilots.items()}


def _same_device(stack: Stack | None, device: str) -> bool:
    return stack is not None and stack.device == device


def _pilots(
    spec: Spec, methods: list[Method], data: Data, device: str, console: Console
) -> dict[str, Pilot]:
    resources, shared = spec.resources, ray.put(data)
    timed = ray.remote(num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial)(
        measure
    )
    waiting = {
        timed.remote(pilot_work(spec, m), sizes(spec, m), shared, device): m.name for m in methods
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
