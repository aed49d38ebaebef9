"""One study, end to end: pilot, sweeps, confirmation, tables."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ray
from ray.exceptions import RayError

from analysis.results import Analysis, analyse
from study import plan, tracking
from study.cluster import connected, slots
from study.confirm import confirmed, failures, run_confirmation
from study.console import Console
from study.folder import Folder, Stack
from study.ledger import Ledger
from study.pilot import Pilot, measure, pilot_work, sizes
from study.plan import Method
from study.pretraining import before_confirmation, before_sweeps, run_pretraining
from study.report import write_report
from study.results import study_record
from study.spec import Spec
from study.sweep import finished_trials, run_sweep
from trainables import find_stream
from trainables.streams import datasets
from trainables.streams.datasets import Split

Data = dict[str, Split]


@dataclass(frozen=True)
class Finished:
    """How a study ended: its analysis, and what did not work."""

    analysis: Analysis
    failed: list[str]  # trials that failed or were lost


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
    methods = plan.resolve(spec, source)
    folder = Folder(place)
    with folder.claim():
        ledger = folder.ledger(console.say, repair=True)
        folder.admit(spec, command, ledger)
        with tracking.Mirror(folder, spec, methods, ledger, tracking_uri, console.say) as mirror:
            lost = _run_phases(spec, methods, folder, ledger, root, console, mirror)
            analysis = analyse(study_record(spec, methods, ledger, folder))
            write_report(analysis, place / "report")
            mirror.finish(analysis)
    failed = [name for method in methods.values() for name in failures(spec, method, ledger)]
    return Finished(analysis, failed + lost)


def load_data(spec: Spec, root: Path) -> tuple[Data, Data]:
    """Return what sweeps and the confirmation may read: a sweep is never given a test set."""
    confirming = datasets.load(find_stream(spec.study.stream).dataset, root)
    if spec.tune.protocol == "held_out_stream":
        return datasets.load(
            find_stream(plan.tune_stream(spec)).dataset, root, ("train",)
        ), confirming
    return {"train": confirming["train"]}, confirming


def prepared(spec: Spec, tuning: Data, confirming: Data) -> tuple[Data, Data]:
    """Return the data as the study's streams keep them: done once, and not by every trial."""

    def kept(stream: str, data: Data) -> Data:
        return find_stream(stream).prepare(data, plan.stream_options(spec, stream))

    whole = kept(spec.study.stream, confirming)
    if spec.tune.protocol == "held_out_stream":
        return kept(plan.tune_stream(spec), tuning), whole
    return {"train": whole["train"]}, whole


def data_hashes(spec: Spec, tuning: Data, confirming: Data) -> dict[str, str]:
    """Return a hash of the arrays of each data set that a study reads."""
    held_out = {find_stream(plan.tune_stream(spec)).dataset: _digest(tuning)}
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
    mirror: tracking.Mirror,
) -> list[str]:
    if complete(spec, methods, ledger):
        console.say(f"all trials of {', '.join(methods)} are in the ledger")
        _forget(ledger, [])
        return []
    tuning, confirming = load_data(spec, root)
    folder.keep_data(data_hashes(spec, tuning, confirming))
    tuning, confirming = prepared(spec, tuning, confirming)
    lost: list[str] = []
    with connected(spec.resources) as has:
        stacks = _stack_sizes(spec, methods, folder, {"train": confirming["train"]}, console)
        settings = {"objectives": spec.objectives, "gpus": spec.resources.gpus_per_trial}
        size, storage = slots(spec.resources, has), folder.storage
        where = (settings, stacks, size, storage, console)
        wanted = before_sweeps(spec, methods, ledger)
        pretrained, failed = run_pretraining(spec, wanted, ledger, tuning, *where)
        lost += failed
        for name, method in methods.items():
            own = {**settings, "stack": stacks[name]}
            lost += run_sweep(spec, method, ledger, tuning, pretrained, own, storage, console)
            mirror.poke()
        wanted = before_confirmation(spec, methods, ledger)
        pretrained, failed = run_pretraining(spec, wanted, ledger, confirming, *where)
        lost += failed
        lost += run_confirmation(spec, methods, ledger, confirming, pretrained, *where)
        mirror.poke()
    _forget(ledger, lost)
    return lost


def complete(spec: Spec, methods: Mapping[str, Method], ledger: Ledger) -> bool:
    """Whether nothing has to run."""
    tuned = (len(finished_trials(spec, m, ledger)) for m in methods.values())
    states = (confirmed(spec, m, ledger) for m in methods.values())
    return all(count == spec.tune.trials for count in tuned) and all(
        state.configuration is None or set(spec.confirm_seeds) <= set(state.places)
        for state in states
    )


def _forget(ledger: Ledger, lost: list[str]) -> None:
    """Forget what an earlier version of the study asked for, when all that is wanted has run."""
    for entry in ledger.running():
        if entry.folder not in lost:
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
    pilots = _pilots(spec, unknown, data, device)
    for name, pilot in pilots.items():
        if not pilot.rates:
            console.say(f"methods.{name}: its pilot failed ({pilot.problem})")
            continue
        stack = Stack(size=pilot.fastest, device=device, seed_steps_per_second=pilot.rates)
        folder.keep_stack(name, stack)
    return known | {name: pilot.fastest for name, pilot in pilots.items()}


def _same_device(stack: Stack | None, device: str) -> bool:
    return stack is not None and stack.device == device


def _pilots(spec: Spec, methods: list[Method], data: Data, device: str) -> dict[str, Pilot]:
    resources, shared = spec.resources, ray.put(data)
    timed = ray.remote(num_cpus=resources.cpus_per_trial, num_gpus=resources.gpus_per_trial)(
        measure
    )
    waiting = {
        m.name: timed.remote(pilot_work(spec, m), sizes(spec, m), shared, device) for m in methods
    }
    found = {}
    for name, reference in waiting.items():
        try:
            found[name] = ray.get(reference)
        except RayError as error:  # the pilot's process died
            found[name] = Pilot({}, str(error).strip().splitlines()[0])
    return found
