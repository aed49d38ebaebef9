"""Run the sweep of a method."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import optuna

from analysis.metrics import METRICS
from study.data import Data
from study.ledger import Entry
from study.run.context import RunContext
from study.run.driver import Source, TrialSettings
from study.search import SweepSearch, entry_fields
from trainables.engine.foundation import Foundation
from trainables.engine.outcome import Outcome
from trainables.engine.trial import objective_values


class SweepTrials(Source):
    """The missing trials of a method's sweep, as Optuna asks for them."""

    def __init__(self, run: RunContext, method: str) -> None:
        self.study, self.method = run.study, run.study.methods[method]
        design, spec, sweep = run.study.design, run.study.spec, run.study.sweep(method)
        settings: TrialSettings = {
            **run.settings(f"tune-{method}"),
            "stack": run.stacks[method],
        }
        tasks, limit = design.streams["tune"].tasks, spec.resources.task_minutes
        super().__init__(run.study.ledger, settings, tasks, run.console, limit)
        earlier = [*self.ledger.entries("tune", method), *self.ledger.unfinished()]
        self.earlier = {entry.number: entry for entry in earlier if sweep.includes(entry)}
        self.missing = sweep.missing
        ended = [entry for entry in sweep.entries if entry.number not in self.missing]
        self.search = SweepSearch.of(design, self.method, ended)
        self.asked: dict[int | None, optuna.Trial] = {}  # Optuna's trials by number
        self.pruned: set[int | None] = set()  # numbers

    def propose(self) -> Entry | None:
        while self.missing:
            number = self.missing.pop(0)
            entry = self._ask(number)
            equal = self.ledger.find(entry)
            if equal is None:
                return entry
            self._adopt(entry, equal)
        return None

    def _adopt(self, entry: Entry, equal: Entry) -> None:
        """Take the result of a finished trial with the same work and another number."""
        for task, score in equal.steps.items():
            self.after_task(entry, int(task), score)
        adopted = dataclasses.replace(
            equal,
            number=entry.number,
            params=entry.params,
            distributions=entry.distributions,
            attributes=entry.attributes,
        )
        outcome = self.ledger.outcome_bytes(equal)
        self.after_write(self.ledger.finish(self.before_write(adopted, outcome), outcome))

    def _ask(self, number: int) -> Entry:
        earlier = self.earlier.get(number)
        if earlier is not None:
            trial = self.search.ask(number, earlier.params, earlier.attributes)
        else:
            trial = self.search.ask(number, self.method.first_params if number == 0 else None)
        configuration = self.method.configuration(trial.params)
        self.asked[number] = trial
        entry = self.study.entry(self.method.name, configuration, "tune", number=number)
        return dataclasses.replace(entry, **entry_fields(trial))

    def should_stop(self, trial_id: str, result: dict[str, Any]) -> bool:
        if self.study.spec.tune.pruner == "none":
            return False
        self.on_trial_result(trial_id, result)
        return self.trials[trial_id].entry.number in self.pruned

    def after_task(self, entry: Entry, task: int, score: float) -> None:
        trial, spec = self.asked[entry.number], self.study.spec
        if len(spec.objectives) == 1 and not math.isnan(score):
            trial.report(score, task)
            if spec.tune.pruner != "none" and trial.should_prune():
                self.pruned.add(entry.number)

    def before_write(self, entry: Entry, outcome: bytes) -> Entry:
        trial, required = self.asked[entry.number], self._required()
        if required and outcome:
            for metric, miss in misses(Outcome.from_bytes(outcome), required).items():
                trial.set_constraint(metric, miss)
        # keep the notes of samplers, such as the generation of NSGA-II
        return dataclasses.replace(entry, attributes=entry_fields(trial)["attributes"])

    def _required(self) -> dict[str, float]:
        """Return what is required of the method: nothing about transfer of an offline bound."""
        required, is_bound = self.study.spec.tune.require, self.method.kind.offline
        return {
            metric: limit
            for metric, limit in required.items()
            if not (is_bound and METRICS[metric].transfer)
        }

    def after_write(self, entry: Entry) -> None:
        self.search.tell(self.asked.pop(entry.number), entry.state, entry.values)
        best = self.study.sweep(self.method.name).best
        self.console.trial_done(entry, best.values[0] if best else None)


def misses(outcome: Outcome, required: Mapping[str, float]) -> dict[str, float]:
    """Return by how much each required metric misses its limit; 0 or less where it does not.

    A metric without a value, such as one that needs two tasks, misses its limit by 1.
    """
    values = objective_values(outcome, list(required), outcome.rows)
    found = {
        metric: limit - value if METRICS[metric].higher_is_better else value - limit
        for (metric, limit), value in zip(required.items(), values, strict=True)
    }
    return {metric: 1.0 if math.isnan(miss) else miss for metric, miss in found.items()}


def run_sweep(
    run: RunContext, method: str, data: Data, foundations: Mapping[str, Foundation]
) -> None:
    """Run the missing trials of a method's sweep."""
    trials, budget = SweepTrials(run, method), run.study.spec.tune.trials
    run.console.phase(f"tune {method}", budget, budget - len(trials.missing))
    if trials.missing:
        run.fit(trials, f"tune-{method}", data, foundations)
