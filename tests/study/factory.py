"""Small studies without Ray: study files, hand-made outcomes, and a stand-in for Ray Tune."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.schedulers import TrialScheduler

from search_spaces.space import values_within
from study.check import resolve
from study.design import FRESH_PHASES, PHASES, Design, Method
from study.folder import Folder, StackSize
from study.ledger import Entry, Ledger, entry_for
from study.run.confirmation import FreshSeedTrials
from study.run.context import RunContext, Stacks
from study.run.driver import Driver, Pruning
from study.run.foundations import Foundations
from study.run.pretraining import PretrainingTrials
from study.run.schedule import Node
from study.run.source import Room, Source
from study.run.sweep import SweepTrials
from study.search import SweepSearch, entry_fields
from study.spec import Spec
from study.state import Study
from trainables.engine.outcome import Outcome

TASKS, CLASSES = 5, 10
SAMPLES = 1000  # of each task's test set
HELD = {"parameters": 4000, "memory": 640, "auxiliary": 0}

SMALL: dict[str, Any] = {
    "study": {"name": "small", "stream": "split_digits", "reference": "replay", "margin": 0.01},
    "methods": {"finetune": {}, "replay": {}},
    "tune": {"trials": 4, "seeds": [0, 1], "sampler": "random"},
    "confirm": {"seeds": {"first": 100, "count": 4}},
}

# with the fixture `halves`
HELD_OUT = {"tune.protocol": "held_out_stream", "tune.stream": "halves"}


def make_spec(changes: Mapping[str, Any] | None = None) -> Spec:
    """Return a small study, with changes such as ``{"tune.trials": 6}``."""
    values = copy.deepcopy(SMALL)
    for key, value in (changes or {}).items():
        *tables, last = key.split(".")
        place = values
        for table in tables:
            place = place.setdefault(table, {})
        place[last] = value
    return Spec.parse(values, "small.toml")


def make_design(changes: Mapping[str, Any] | None = None) -> Design:
    """Return what a small study asks for."""
    return resolve(make_spec(changes), "small.toml")


def make_method(
    changes: Mapping[str, Any] | None = None, name: str = "replay"
) -> tuple[Design, Method]:
    """Return a small study and one of its methods."""
    design = make_design(changes)
    return design, design.methods[name]


def make_study(spec: Spec, ledger: Ledger, retry_failed: bool = False) -> Study:
    """Return a study with a ledger that lies where a study's own would."""
    place = ledger.folder.parent
    known = (place / "study.json").exists()
    folder = Folder.open(place)[0] if known else Folder(place)
    return Study(resolve(spec, "small.toml"), folder, ledger, retry_failed)


def make_run(
    spec: Spec,
    ledger: Ledger,
    slots: int = 2,
    stack: int = 2,
    console: Any = None,
    retry_failed: bool = False,
) -> RunContext:
    """Return a study and what runs it."""
    study = make_study(spec, ledger, retry_failed)
    stacks = Stacks(study, {"cpu"})
    stacks.given = stack
    return RunContext(
        study,
        console or Silent(),
        nodes=lambda: [Node(slots)],
        stacks=stacks,
        data=dict.fromkeys((*PHASES, "pilot")),
        foundations=Foundations(ledger, lambda shared: shared),
        unfinished=ledger.unfinished(),
    )


def make_outcome(
    seeds: Sequence[int],
    accuracy: Any = 0.8,
    rows: int = TASKS,
    diverged: Sequence[int] = (),
    outputs: int = CLASSES,
    samples: int = SAMPLES,
) -> Outcome:
    """Return an outcome with the accuracies given, [S, rows, T] or what broadcasts to it."""
    shape = (len(seeds), rows, TASKS)
    right = np.rint(np.broadcast_to(accuracy, shape) * samples).astype(np.uint32)
    counts = np.zeros((*shape, outputs, outputs), dtype=np.uint32)
    counts[..., 0, 0], counts[..., 0, 1] = right, samples - right
    finite = np.ones(shape[:2], dtype=bool)
    finite[[list(seeds).index(seed) for seed in diverged], -1] = False
    return Outcome(
        seeds=np.array(seeds),
        counts={"main": counts},
        initial={"main": counts[:, 0]},
        finite=finite,
        seconds=np.full(rows, 0.5),
        samples=np.full(rows, 100),
        trained=np.full(rows, 200),
        footprint={kind: np.full(rows, size) for kind, size in HELD.items()},
        between={
            "task": np.zeros(0, dtype=int),
            "counts": np.zeros((len(seeds), 0, TASKS, outputs, outputs), dtype=np.uint32),
        },
        extras={},
    )


@dataclass(frozen=True)
class Run:
    """How a trial goes: its accuracy, where it is stopped, which seeds diverge, what it raises."""

    accuracy: Any = 0.8
    rows: int = TASKS
    diverged: Sequence[int] = ()
    failure: str = ""
    memory: int | None = None

    def reports(self, work: Mapping[str, Any], objectives: Sequence[str]) -> Iterator[Any]:
        """What a trial would report, task by task."""
        if self.failure:
            reason = self.failure.splitlines()[-1]
            failed = {"done": True, "failure": self.failure, "reason": reason}
            yield {**failed, "score": math.nan, "task": 0}
            return
        seeds = work["seeds"]
        accuracy = np.broadcast_to(self.accuracy, (len(seeds), TASKS, TASKS))
        curve: list[float] = []
        for task in range(1, self.rows + 1):
            last = self.diverged if task == self.rows else ()
            outcome = make_outcome(seeds, accuracy[:, :task], task, last)
            if self.memory is not None:
                outcome.footprint["memory"][:] = self.memory
            scores = []
            for name in objectives:
                score = float(outcome.footprint["memory"][0, -1])
                if name != "memory_bytes":
                    right = outcome.counts["main"][:, -1, :, 0, 0] / SAMPLES
                    score = math.nan if last else float(right.mean())
                scores.append(score)
            curve = [*curve, scores[0]]
            yield {
                "task": task,
                "score": scores[0],
                "scores": scores,
                "curve": curve,
                "outcome": outcome.to_bytes(),
                "resumed": 0,
                "done": task == self.rows,
                "torch": "2.9",
                "device": "cpu",
                "host": "node1",
                "processor": "a processor",
            }


Learn = Callable[[Mapping[str, Any]], Run]


class Tune:
    """Asks a driver for trials and tells it and its scheduler results, as Ray Tune would.

    Args:
        source: a driver, or the source or sources of its trials.
    """

    def __init__(
        self, source: Driver | Source | Sequence[Source], learn: Learn | None = None
    ) -> None:
        sources = [source] if isinstance(source, Source) else source
        self.driver = (
            sources if isinstance(sources, Driver) else Driver(sources[0].run, list(sources))
        )
        self.learn = learn or by_learning_rate
        self.scheduler = Pruning(self.driver)
        self.asked: dict[str, dict[str, Any]] = {}
        self._names = (f"trial{i}" for i in itertools.count())

    def ask(self) -> str | None:
        """Start the next trial; None when there are no more."""
        trial = next(self._names)
        config = self.driver.suggest(trial)
        if config is None or config == type(self.driver).FINISHED:
            return None
        self.asked[trial] = config
        return trial

    def end(self, trial: str, run: Run | None = None) -> None:
        """Run a trial to its end, or until the scheduler stops it."""
        work = self.asked[trial]["work"]
        for report in (run or self.learn(work)).reports(work, self.asked[trial]["objectives"]):
            if report["done"] or self.stops(trial, report):
                self.driver.on_trial_complete(trial, report)
                return
            self.driver.on_trial_result(trial, report)

    def stops(self, trial: str, report: dict[str, Any]) -> bool:
        """Ask the scheduler, which hears of a result before the source does."""
        told = SimpleNamespace(trial_id=trial)
        return self.scheduler.on_trial_result(None, told, report) == TrialScheduler.STOP

    def run(self, count: int | None = None) -> list[dict[str, Any]]:
        """Run trials one at a time, at most ``count``; return their configurations."""
        found = []
        while count is None or len(found) < count:
            trial = self.ask()
            if trial is None:
                break
            found.append(self.asked[trial]["work"]["configuration"])
            self.end(trial)
        return found


def by_learning_rate(work: Mapping[str, Any]) -> Run:
    """A score that has one best learning rate, the same for all seeds."""
    return Run(accuracy=0.9 - 0.1 * abs(math.log10(work["configuration"]["lr"]) + 2.7))


def tried(work: Mapping[str, Any]) -> Run:
    """Scores that depend on the learning rate and the seed, whichever trial the seed is in."""
    best = by_learning_rate(work).accuracy
    return Run(np.array([best - 0.001 * (seed % 7) for seed in work["seeds"]])[:, None, None])


@dataclass
class Silent:
    """A console that keeps what it is told."""

    said: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    def step(self, text: str) -> None:
        self.steps.append(text)

    def progress(self, find: Callable[[], str]) -> None:
        self.steps.append(find())


def make_sweep(
    spec: Spec, name: str, ledger: Ledger, slots: int = 2, retry_failed: bool = False
) -> SweepTrials:
    """Return the trials of one method's sweep."""
    run = make_run(spec, ledger, slots, stack=1, retry_failed=retry_failed)
    return SweepTrials(run, name, no_pretraining(run))


def no_pretraining(run: RunContext) -> PretrainingTrials:
    """Return a source without trials."""
    return PretrainingTrials(run, "tune", lambda: [])


def make_confirmation(
    spec: Spec,
    ledger: Ledger,
    slots: int = 2,
    phase: str = "confirm",
    retry_failed: bool = False,
) -> list[FreshSeedTrials]:
    """Return the confirmation of all methods, or their recheck; their sweeps have ended."""
    run = make_run(spec, ledger, slots, retry_failed=retry_failed)
    first = no_pretraining(run)
    return [
        FreshSeedTrials(run, phase, SweepTrials(run, name, first), first)
        for name in run.study.methods
    ]


def waiting(
    spec: Spec,
    ledger: Ledger,
    slots: int = 2,
    phase: str = "confirm",
    retry_failed: bool = False,
) -> list[Entry]:
    """Return the trials of a confirmation or recheck that have to run, method by method."""
    found = []
    sources = make_confirmation(spec, Ledger(ledger.folder), slots, phase, retry_failed)
    for source in sources:
        later = sum(other.left for other in sources) - 1
        while source.ready:
            entry = source.next(Room(slots, slots, later, later))
            source.running[entry.folder] = entry
            found.append(entry)
    return found


def add(
    ledger: Ledger,
    spec: Spec,
    method: str,
    phase: str = "confirm",
    *,
    seeds: Sequence[int] | None = None,
    number: int | None = None,
    state: str = "complete",
    values: Sequence[float] = (),
    outcome: Outcome | None = None,
    failure: str = "",
    params: Mapping[str, Any] | None = None,
    seconds: float = 1.0,
    samples: int = 10,
) -> Entry:
    """Write a finished trial into a ledger by hand."""
    entry = make_entry(spec, method, phase, seeds=seeds, number=number, params=params)
    entry = replace(
        entry,
        state=state,
        values=list(values),
        failure=failure,
        seconds=seconds,
        samples=samples,
    )
    if outcome is None and state != "failed":
        outcome = make_outcome(entry.seeds, diverged=entry.seeds if state == "diverged" else ())
    return ledger.finish(entry, outcome.to_bytes() if outcome else b"")


def make_entry(
    spec: Spec,
    method: str,
    phase: str = "confirm",
    *,
    seeds: Sequence[int] | None = None,
    number: int | None = None,
    params: Mapping[str, Any] | None = None,
) -> Entry:
    """Return a trial of a study that has not run."""
    design = resolve(spec, "small.toml")
    resolved = design.methods[method]
    configuration, asked = resolved.configuration(params or {}), {}
    if phase == "tune":
        search = SweepSearch(resolved.space, ["maximize"], "random", "by hand")
        trial = search.ask(0, values_within(resolved.space, configuration))
        configuration, asked = resolved.configuration(trial.params), entry_fields(trial)
    work = design.assignment(resolved, configuration, phase, seeds or None)
    return replace(entry_for(work, method, number), **asked)


def admit(place: Path, changes: Mapping[str, Any] | None = None) -> tuple[Folder, Spec, Ledger]:
    """Do what a run does to the folder of a study before anything else."""
    spec, folder = make_spec(changes), Folder(place)
    with folder.claim():
        ledger = folder.ledger(repair=True)
        folder.admit(spec, "python -m study run own.toml", ledger)
    return folder, spec, ledger


def build_study(place: Path, spec: Spec, learn: Learn | None = None) -> Ledger:
    """Make the folder of a finished study, as a run would leave it but for MLflow and report."""
    folder = Folder(place)
    with folder.claim():
        ledger = folder.ledger(repair=True)
        folder.admit(spec, "python -m study run small.toml", ledger)
        for name in spec.methods:
            if name not in folder.facts.stacks:
                rates = {1: 10.0, 2: 15.0}
                folder.keep_stack(
                    name, StackSize(size=2, device="cpu", seed_steps_per_second=rates)
                )
        for name in resolve(spec, "small.toml").methods:
            Tune(make_sweep(spec, name, ledger), learn).run()
        slots = 2 if len(spec.methods) == 1 else 1  # a method alone is confirmed in two trials
        for phase in FRESH_PHASES:
            Tune(make_confirmation(spec, ledger, slots, phase), learn).run()
    return ledger
