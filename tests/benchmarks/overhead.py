"""What surrounds the training steps, each beside something measured in the same run.

    python tests/benchmarks/overhead.py [--json] [--only imports trial noop driver ledger tracking]

imports    `import trainables` over `import torch`, medians of fresh processes
trial      processor time of a whole 5-task trial of 10 seeds (replay, 784-128-10, batch 64 + 64,
           one epoch; tests, checkpoints and reports included) over that of its training steps;
           MNIST under STUDY_DATA
noop       seconds between finished trials of one step a task, two at a time on a Ray of their own
driver     milliseconds of the driver for each finished trial of a sweep (random), after 100, 1,000
           and 5,000 trials: to propose one, write it down, and know the best; over the ledger's
           own writing of it, which waits for the disk
ledger     entries written per second
tracking   MLflow trial runs written per second, on SQLite
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from study.check import resolve
from study.console import Console
from study.design import PHASES
from study.folder import Folder
from study.ledger import Entry, Ledger, entry_for
from study.mlflow.runs import Runs
from study.mlflow.store import default_uri
from study.mlflow.writer import Writer
from study.run.cluster import connected
from study.run.context import RunContext, Stacks
from study.run.driver import Driver, fit
from study.run.foundations import Foundations
from study.run.pretraining import PretrainingTrials
from study.run.schedule import Node
from study.run.source import Room, Source, TrialSettings, Urgency
from study.run.sweep import SweepTrials
from study.spec import Request, read
from study.state import Study
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.streams import Task, datasets

ONE_STEP = {"hidden": [8], "epochs": 1, "batch_size": 1000}
ONE_EPOCH = {"hidden": [128], "epochs": 1, "batch_size": 64}


def assignment(
    learner: str, stream: str, values: dict[str, Any], seeds: tuple[int, ...]
) -> Assignment:
    """Return the work of a confirmation trial in the class scenario."""
    return Assignment(learner, values, stream, "class", {}, "confirm", seeds)


def imports() -> dict[str, float]:
    """Time imports in fresh processes, in turns."""
    seconds: dict[str, list[float]] = {"torch": [], "trainables": []}
    for _ in range(7):
        for module, times in seconds.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
            times.append(time.perf_counter() - started)
    middle = {module: statistics.median(times) for module, times in seconds.items()}
    return {
        "import_torch_seconds": middle["torch"],
        "ratio": middle["trainables"] / middle["torch"],
    }


def trial() -> dict[str, float]:
    """Run a trial as a Ray actor would, here, beside its training steps."""
    from trainables.engine.trial import Trial

    root = Path(os.environ.get("STUDY_DATA", tempfile.gettempdir()))
    data = datasets.load("mnist", root)
    work = assignment("replay", "split_mnist", ONE_EPOCH, tuple(range(100, 110)))
    spent = 0.0
    learn = Course.learn

    def timed(course: Course, task: Task) -> None:
        nonlocal spent
        started = time.process_time()
        learn(course, task)
        spent += time.process_time() - started

    with tempfile.TemporaryDirectory() as folder, patch.object(Course, "learn", timed):
        config = {"work": dataclasses.asdict(work), "name": "k", "stack": 10, "storage": folder}
        config |= {"data": [data], "cpus": 1, "gpus": 0, "objectives": ["average_accuracy"]}
        # torch loads its compiler with the first optimiser of a process; actors are reused
        torch.optim.Adam([torch.zeros(1, requires_grad=True)])
        started = time.process_time()
        whole = Trial(config)
        for task in range(5):
            whole.train()
            whole.save(str(Path(folder) / f"checkpoint_{task}"))
        total = time.process_time() - started
    return {"training_cpu_seconds": spent, "trial_cpu_seconds": total, "ratio": total / spent}


class Quiet(Console):
    """Says nothing, and takes no time for it."""

    def say(self, text: str) -> None:
        """Say nothing."""


class Listed(Source):
    """Runs a list of trials and notes when each finished."""

    def __init__(self, run: RunContext, queue: list[Entry]) -> None:
        super().__init__(run, tasks=5)
        self.queue, self.times = queue, [time.perf_counter()]

    @property
    def urgency(self) -> tuple[int, int]:
        return Urgency.CONFIRMATION, 0

    @property
    def request(self) -> Request:
        return Request(cpus=1)

    @property
    def left(self) -> int:
        return len(self.queue)

    def next(self, room: Room) -> Entry | None:
        return self.queue.pop(0)

    def settings(self, entry: Entry) -> TrialSettings:
        return {**self.run.settings("confirm"), "stack": 1}

    def after_write(self, entry: Entry) -> None:
        self.times.append(time.perf_counter())


def a_run(
    study: Study, slots: int, data: Any = None, share: Callable[[Any], Any] = lambda shared: shared
) -> RunContext:
    """Return what runs a study on logical slots; ``data``: for the trials of all phases."""
    return RunContext(
        study=study,
        console=Quiet(),
        nodes=lambda: [Node(slots)],
        stacks=Stacks(study, {"cpu"}),
        data=dict.fromkeys(PHASES, share(data)),
        foundations=Foundations(study.ledger, share),
    )


def noop() -> dict[str, float]:
    """Run trials of one step a task through Ray Tune, two at a time."""
    count = 40
    spec, name = read("digits", ["resources.seeds_per_stack=1"])
    with tempfile.TemporaryDirectory() as place, connected("local") as cluster:
        folder = Folder(Path(place))
        study = Study(resolve(spec, name), folder, folder.ledger(repair=True))
        work = [assignment("finetune", "split_digits", ONE_STEP, (seed,)) for seed in range(count)]
        queue = [entry_for(item, "finetune", number) for number, item in enumerate(work)]
        data = datasets.load("digits", folder.path)
        source = Listed(a_run(study, 2, data, cluster.share), queue)
        fit(Driver(source.run, [source]))
    between = np.diff(source.times)
    return {
        "first_trial_seconds": float(between[0]),
        "seconds_per_trial": float(np.mean(between[2:])),
    }


AT = (100, 1_000, 5_000)  # trials that have finished
WINDOW = 50  # trials that are timed then


def driver() -> dict[str, float]:
    """Take a sweep through thousands of trials that take no time, without Ray."""
    size = f"tune.trials={AT[-1] + WINDOW}"
    spec, name = read("digits", [size, 'tune.sampler="random"', "resources.seeds_per_stack=1"])
    outcome, report = an_outcome(), {"task": 5, "scores": [0.5], "resumed": 0}
    report |= {"torch": "2", "device": "cpu", "curve": [0.5] * 5, "outcome": outcome}
    report |= {"host": "none", "processor": "none"}
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(Path(place))
        study = Study(resolve(spec, name), folder, folder.ledger(repair=True))
        run = a_run(study, slots=1)
        first = PretrainingTrials(run, "tune", lambda: [])
        trials, written = Driver(run, [SweepTrials(run, "replay", first)]), 0.0
        finish = study.ledger.finish

        def timed(*given: Any) -> Entry:
            nonlocal written
            started = time.perf_counter()
            entry = finish(*given)
            written += time.perf_counter() - started
            return entry

        with patch.object(study.ledger, "finish", timed):
            for count in range(AT[-1] + WINDOW):
                if count in AT:
                    started, before = time.perf_counter(), written
                trials.suggest(str(count))
                trials.on_trial_complete(str(count), dict(report))
                if count - WINDOW + 1 in AT:
                    mean = 1000 / WINDOW * (time.perf_counter() - started)
                    found[f"ms_after_{count - WINDOW + 1}"] = mean
                    disk = 1000 / WINDOW * (written - before)
                    found[f"ms_to_write_after_{count - WINDOW + 1}"] = disk
    return found


def an_outcome() -> bytes:
    """Return what a confirmation trial of 10 seeds on ten classes measures."""
    work = assignment("finetune", "split_digits", ONE_STEP, tuple(range(100, 110)))
    course = Course(work, work.seeds, datasets.load("digits", Path()))
    while not course.done:
        course.advance()
    return course.outcome().to_bytes()


def filled(folder: Path, count: int) -> tuple[Ledger, float]:
    """Write entries to a ledger; return it and the seconds it took."""
    outcome, ledger = an_outcome(), Ledger(folder / "ledger")
    entries = []
    for number in range(count):
        work = assignment(
            "finetune", "split_digits", {**ONE_STEP, "lr": 1e-3 * (1 + number)}, (0, 1)
        )
        entries.append(
            dataclasses.replace(entry_for(work, "finetune", number), state="complete", values=[0.5])
        )
    started = time.perf_counter()
    for entry in entries:
        ledger.finish(dataclasses.replace(entry, work={**entry.work, "phase": "tune"}), outcome)
    return ledger, time.perf_counter() - started


def ledger() -> dict[str, float]:
    """Time writing entries, each an fsync of two files, and reading them all back."""
    with tempfile.TemporaryDirectory() as folder:
        _, seconds = filled(Path(folder), 200)
        started = time.perf_counter()
        Ledger(Path(folder) / "ledger")
        return {
            "writes_per_second": 200 / seconds,
            "reads_per_second": 200 / (time.perf_counter() - started),
        }


def tracking() -> dict[str, float]:
    """Time mirroring trials into a fresh SQLite database, its creation apart."""
    with tempfile.TemporaryDirectory() as folder:
        place = Folder(Path(folder))
        spec, source = read("digits")
        with place.claim():
            place.admit(spec, "benchmark", place.ledger(repair=True))
        book, _ = filled(place.path, 50)
        uri = default_uri(place.path)
        writer = Writer(Study(resolve(spec, source), place, book), uri)
        started = time.perf_counter()
        Runs(uri, place, spec.study.name).connect()
        created = time.perf_counter()
        writer.write(None)
        done = time.perf_counter()
        return {"database_seconds": created - started, "trials_per_second": 50 / (done - created)}


MEASURES: dict[str, Callable[[], dict[str, float]]] = {
    "imports": imports,
    "trial": trial,
    "noop": noop,
    "driver": driver,
    "ledger": ledger,
    "tracking": tracking,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: MEASURES[name]() for name in arguments.only}
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for name, numbers in found.items():
        print(f"{name:10}", ", ".join(f"{key} {value:.3g}" for key, value in numbers.items()))


if __name__ == "__main__":
    main()
