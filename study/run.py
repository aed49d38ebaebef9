"""One study, end to end: pilot, sweeps, confirmation, tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from analysis.results import Analysis, analyse
from study import plan, results, tracking
from study.cluster import connected, slots
from study.confirm import run_confirmation
from study.console import Console
from study.folder import Folder
from study.ledger import Ledger
from study.pilot import candidates, fastest, measure
from study.plan import Method
from study.spec import Spec
from study.sweep import run_sweep
from trainables import find_learner, find_stream
from trainables.errors import InputError
from trainables.streams import datasets
from trainables.streams.datasets import Split

Data = dict[str, Split]


@dataclass(frozen=True)
class Outcome:
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
) -> Outcome:
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
    with folder.claim(spec):
        ledger = folder.ledger(console.say, repair=True)
        folder.record(spec, command, bool(ledger.entries("confirm")))
        with tracking.Mirror(folder, spec, methods, ledger, tracking_uri, console.say) as mirror:
            lost = _run_phases(spec, methods, folder, ledger, root, console, mirror)
            analysis = analyse(results.study_record(spec, methods, ledger, folder))
            results.write_report(analysis, place / "report")
            mirror.finish(analysis)
    failed = [e.folder for e in ledger.entries() if e.state in ("failed", "diverged")]
    return Outcome(analysis, failed + lost)


def load_data(spec: Spec, root: Path) -> tuple[Data, Data]:
    """Return what sweeps and the confirmation may read: a sweep is never given a test set."""
    confirming = datasets.load(find_stream(spec.study.stream).dataset, root)
    if spec.tune.protocol == "held_out_stream":
        return datasets.load(
            find_stream(plan.tune_stream(spec)).dataset, root, ("train",)
        ), confirming
    return {"train": confirming["train"]}, confirming


def _run_phases(
    spec: Spec,
    methods: Mapping[str, Method],
    folder: Folder,
    ledger: Ledger,
    root: Path,
    console: Console,
    mirror: tracking.Mirror,
) -> list[str]:
    tuning, confirming = load_data(spec, root)
    lost: list[str] = []
    with connected(spec.resources) as has:
        stacks = _stack_sizes(spec, methods, folder, tuning, console)
        settings = {"objectives": spec.objectives, "gpus": spec.resources.gpus_per_trial}
        for name, method in methods.items():
            own = {**settings, "stack": stacks[name]}
            lost += run_sweep(spec, method, ledger, tuning, own, folder.storage, console)
            mirror.poke()
        lost += run_confirmation(
            spec,
            methods,
            ledger,
            confirming,
            settings,
            stacks,
            slots(spec.resources, has),
            folder.storage,
            console,
        )
        mirror.poke()
    return lost


def _stack_sizes(
    spec: Spec, methods: Mapping[str, Method], folder: Folder, data: Data, console: Console
) -> dict[str, int]:
    """Return how many seeds each method trains at once: as given, as kept, or as a pilot finds."""
    if isinstance(spec.resources.seeds_per_stack, int):
        return dict.fromkeys(methods, spec.resources.seeds_per_stack)
    unknown = [name for name in methods if name not in folder.facts["stacks"]]
    if unknown:
        console.say(f"pilot: timing stack sizes of {', '.join(unknown)}")
    device = "cuda" if spec.resources.gpus_per_trial else "cpu"
    shared = ray.put(data)
    timed = ray.remote(
        num_cpus=spec.resources.cpus_per_trial, num_gpus=spec.resources.gpus_per_trial
    )(measure)
    waiting = {
        name: timed.remote(*pilot_work(spec, methods[name]), shared, device) for name in unknown
    }
    for name, reference in waiting.items():
        rates = ray.get(reference)
        if not rates:
            raise InputError(f"methods.{name}: not even one seed fits in the memory of the device.")
        folder.keep_stack(name, fastest(rates), rates)
    return {name: int(folder.facts["stacks"][name]["size"]) for name in methods}


def pilot_work(spec: Spec, method: Method) -> tuple[Any, list[int]]:
    """Return what a pilot trains, and the stack sizes it tries."""
    work = plan.assignment(spec, method, plan.configuration(method, {}), "tune", spec.tune_seeds)
    seeds = max(len(spec.tune_seeds), len(spec.confirm_seeds))
    return dataclasses.replace(work, tasks=None), candidates(
        seeds, find_learner(method.learner).max_stack
    )
