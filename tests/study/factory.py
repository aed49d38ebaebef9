"""Small studies without Ray: study files, hand-made outcomes, and a stand-in for Ray Tune."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from study import plan
from study.cluster import Source
from study.confirm import Confirmation
from study.folder import Folder
from study.ledger import Entry, Ledger, entry_for
from study.spec import Spec
from study.sweep import Sweep
from trainables.outcome import Outcome

TASKS, CLASSES = 5, 10
SAMPLES = 1000  # of each task's test set
HELD = {"parameters": 4000, "memory": 640, "auxiliary": 0}

SMALL: dict[str, Any] = {
    "study": {"name": "small", "stream": "split_digits", "reference": "replay", "margin": 0.01},
    "methods": {"finetune": {}, "replay": {}},
    "tune": {"trials": 4, "seeds": [0, 1], "sampler": "random"},
    "confirm": {"seeds": {"first": 100, "count": 4}},
}


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
            yield {"done": True, "failure": self.failure, "score": math.nan, "task": 0}
            return
        seeds = work["seeds"]
        accuracy = np.broadcast_to(self.accuracy, (len(seeds), TASKS, TASKS))
        for task in range(1, self.rows + 1):
            last = self.diverged if task == self.rows else ()
            outcome = make_outcome(seeds, accuracy[:, :task], task, last)
            if self.memory is not None:
                outcome.footprint["memory"][:] = self.memory
            scores = []
            for name in objectives:
                score = float(outcome.footprint["memory"][-1])
                if name != "memory_bytes":
                    right = outcome.counts["main"][:, -1, :, 0, 0] / SAMPLES
                    score = math.nan if last else float(right.mean())
                scores.append(score)
            yield {
                "task": task,
                "score": scores[0],
                "scores": scores,
                "outcome": outcome.to_bytes(),
                "resumed": 0,
                "done": task == self.rows,
            }


Learn = Callable[[Mapping[str, Any]], Run]


class Tune:
    """Asks a source for trials and tells it results, as Ray Tune would."""

    def __init__(self, source: Source, learn: Learn | None = None) -> None:
        self.source, self.learn = source, learn or by_learning_rate
        self.asked: dict[str, dict[str, Any]] = {}
        self._names = (f"trial{i}" for i in itertools.count())

    def ask(self) -> str | None:
        """Start the next trial; None when there are no more."""
        trial = next(self._names)
        config = self.source.suggest(trial)
        if config == type(self.source).FINISHED:
            return None
        self.asked[trial] = config
        return trial

    def end(self, trial: str, run: Run | None = None) -> None:
        """Run a trial to its end."""
        work = self.asked[trial]["work"]
        reports = list((run or self.learn(work)).reports(work, self.asked[trial]["objectives"]))
        for report in reports[:-1]:
            self.source.on_trial_result(trial, report)
        self.source.on_trial_complete(trial, reports[-1])

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


@dataclass
class Silent:
    """A console that keeps what it is told."""

    said: list[str] = field(default_factory=list)
    done: list[tuple[Entry, float | None]] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    def phase(self, name: str, total: int, done: int) -> None:
        self.said.append(f"{name}: {done}/{total}")

    def trial_done(self, entry: Entry, best: float | None) -> None:
        self.done.append((entry, best))


def make_sweep(spec: Spec, name: str, ledger: Ledger) -> Sweep:
    """Return one method's sweep."""
    method = plan.resolve(spec, "small.toml")[name]
    return Sweep(spec, method, ledger, {"objectives": spec.objectives, "stack": 1}, Silent())


def make_confirmation(spec: Spec, ledger: Ledger, slots: int = 2) -> Confirmation:
    """Return the confirmation of all methods."""
    methods = plan.resolve(spec, "small.toml")
    settings = {"objectives": spec.objectives}
    stacks = dict.fromkeys(methods, 2)
    return Confirmation(spec, methods.values(), ledger, settings, stacks, slots, Silent())


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
    changes = {"state": state, "values": list(values), "failure": failure}
    entry = Entry(**{**vars(entry), **changes, "seconds": seconds, "samples": samples})
    if outcome is None and state != "failed":
        outcome = make_outcome(entry.seeds)
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
    resolved = plan.resolve(spec, "small.toml")[method]
    usual = spec.tune_seeds if phase == "tune" else spec.confirm_seeds
    configuration = plan.configuration(resolved, params or {})
    work = plan.assignment(spec, resolved, configuration, phase, tuple(seeds or usual))
    return entry_for(work, method, number)


def build_study(place: Path, spec: Spec, learn: Learn | None = None) -> Ledger:
    """Make the folder of a finished study, as a run would leave it but for MLflow and report."""
    folder = Folder(place)
    with folder.claim(spec):
        ledger = folder.ledger()
        folder.record(spec, "python -m study run small.toml", bool(ledger.entries("confirm")))
        for name in spec.methods:
            if name not in folder.facts["stacks"]:
                folder.keep_stack(name, 2, {1: 10.0, 2: 15.0})
            Tune(make_sweep(spec, name, ledger), learn).run()
        Tune(make_confirmation(spec, ledger), learn).run()
    return ledger
