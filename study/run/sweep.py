"""One method's search, run by Ray Tune."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna

from search_spaces import find_space
from search_spaces.common import Suggest
from study import check
from study.check import Method
from study.console import Console
from study.ledger import Entry, Ledger
from study.run.driver import Source, fit
from study.search import Published, Remembered, Search, SpaceTrial, described
from study.spec import Spec
from trainables.engine.foundation import Foundation
from trainables.errors import InputError
from trainables.streams.datasets import Split


class Sweep(Source):
    """Proposes the trials a method's sweep still lacks, and tells Optuna how they ended."""

    def __init__(
        self,
        spec: Spec,
        method: Method,
        ledger: Ledger,
        settings: Mapping[str, Any],
        console: Console,
    ) -> None:
        super().__init__(ledger, settings, tasks_of(spec), console, spec.resources.task_minutes)
        self.spec, self.method = spec, method
        known = finished_trials(spec, method, ledger)
        again = [*ledger.entries("tune", method.name), *ledger.running()]
        self.again = {e.number: e for e in again if belongs(spec, method, e)}
        done = {entry.number for entry in known}
        self.missing = [number for number in range(spec.tune.trials) if number not in done]
        directions = [check.direction(objective) for objective in spec.objectives]
        seed = f"{spec.tune.seed}/{method.name}"
        self.search = Search(directions, spec.tune.sampler, seed, known, spec.tune.pruner)
        self.asked: dict[int | None, optuna.Trial] = {}
        self.pruned: set[int | None] = set()

    def propose(self) -> Entry | None:
        while self.missing:
            number = self.missing.pop(0)
            entry = self._ask(number)
            same = self.ledger.find(entry)
            if same is None:
                return entry
            self._adopt(entry, same)
        return None

    def _adopt(self, entry: Entry, same: Entry) -> None:
        """Take the result of a trial that was asked before under another number."""
        for task, score in same.steps.items():
            self.reported(entry, int(task), score)
        asked = ("number", "params", "distributions", "attributes")
        known = dataclasses.replace(same, **{name: getattr(entry, name) for name in asked})
        self.written(self.ledger.finish(self.finished(known), self.ledger.outcome_bytes(same)))

    def _ask(self, number: int) -> Entry:
        before = self.again.get(number)
        if before is not None:
            trial = self.search.ask(number, before.params, before.attributes)
        else:
            trial = self.search.ask(number, self._published() if number == 0 else None)
        configuration = suggested(self.spec, self.method, trial)
        work = check.assignment(self.spec, self.method, configuration, "tune", self.spec.tune_seeds)
        self.asked[number] = trial
        entry = self.ledger.entry_for(work, self.method.name, number)
        return dataclasses.replace(entry, **described(trial))

    def _published(self) -> dict[str, Any]:
        """Return the published values that the space contains: the first trial of every sweep."""
        probe = Published(check.configuration(self.method, {}))
        suggested(self.spec, self.method, probe)
        return probe.values

    def weak(self, trial_id: str, result: dict[str, Any]) -> bool:
        if self.spec.tune.pruner == "none":
            return False
        self.on_trial_result(trial_id, result)
        return self.trials[trial_id].entry.number in self.pruned

    def reported(self, entry: Entry, task: int, score: float) -> None:
        trial = self.asked[entry.number]
        if len(self.spec.objectives) == 1 and score == score:
            trial.report(score, task)
            if self.spec.tune.pruner != "none" and trial.should_prune():
                self.pruned.add(entry.number)

    def finished(self, entry: Entry) -> Entry:
        # samplers leave notes on a trial (the generation of NSGA-II): keep them
        return dataclasses.replace(
            entry, attributes=described(self.asked[entry.number])["attributes"]
        )

    def written(self, entry: Entry) -> None:
        self.search.tell(self.asked.pop(entry.number), entry.state, entry.values)
        best = best_trial(self.spec, self.method, self.ledger)
        self.console.trial_done(entry, best.values[0] if best else None)


def run_sweep(
    spec: Spec,
    method: Method,
    ledger: Ledger,
    data: dict[str, Split],
    pretrained: Mapping[str, Foundation],
    settings: Mapping[str, Any],
    storage: Path,
    console: Console,
) -> None:
    """Run what a method's sweep still lacks."""
    name = f"tune-{method.name}"
    sweep = Sweep(spec, method, ledger, {**settings, "storage": str(storage / name)}, console)
    console.phase(f"tune {method.name}", spec.tune.trials, spec.tune.trials - len(sweep.missing))
    if sweep.missing:
        fit(sweep, name, data, pretrained, spec.resources, storage)


def tasks_of(spec: Spec) -> int:
    """Number of tasks a tuning trial learns."""
    if spec.tune.protocol == "first_tasks":
        return spec.tune.tasks
    return check.tasks_of(spec, check.tune_stream(spec))


def suggested(spec: Spec, method: Method, trial: Suggest) -> dict[str, Any]:
    """Return the whole configuration that a trial's suggestions make."""
    within = SpaceTrial(trial, method.fixed, method.space, method.learner)
    stream = check.stream_info(spec, check.tune_stream(spec))
    return check.configuration(method, within.sample(find_space(method.learner), stream))


def belongs(spec: Spec, method: Method, entry: Entry) -> bool:
    """Whether a trial is one of this sweep: its parameters would compute the same work now."""
    if entry.phase != "tune" or entry.method != method.name:
        return False
    try:
        configuration = suggested(spec, method, Remembered(entry.params))
    except (LookupError, InputError):
        return False  # of another space
    return entry.computes(check.assignment(spec, method, configuration, "tune", spec.tune_seeds))


def finished_trials(spec: Spec, method: Method, ledger: Ledger) -> list[Entry]:
    """Return the trials of a sweep that need not run again, within the study's budget."""
    entries = [e for e in ledger.entries("tune", method.name) if e.state != "failed"]
    return [e for e in entries if within_budget(spec, method, e)]


def within_budget(spec: Spec, method: Method, entry: Entry) -> bool:
    """Whether a trial is one of those the study asks for."""
    numbered = entry.number is not None and entry.number < spec.tune.trials
    return numbered and belongs(spec, method, entry)


def best_trial(spec: Spec, method: Method, ledger: Ledger) -> Entry | None:
    """Return the complete trial with the best primary objective; the earliest of equals."""
    trials = finished_trials(spec, method, ledger)
    complete = [e for e in trials if e.state == "complete" and math.isfinite(e.values[0])]
    sign = -1 if check.direction(spec.objectives[0]) == "maximize" else 1
    return min(complete, key=lambda e: (sign * e.values[0], e.number), default=None)
