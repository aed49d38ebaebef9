"""The trials of one method's sweep."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import optuna

from study.data import Data
from study.ledger import Entry
from study.run.context import RunContext
from study.run.driver import Source
from study.search import Search, described
from trainables.engine.foundation import Foundation


class SweepTrials(Source):
    """Proposes the trials a method's sweep still lacks, and tells Optuna how they ended."""

    def __init__(self, run: RunContext, method: str) -> None:
        self.study, self.method = run.study, run.study.methods[method]
        design, spec, sweep = run.study.design, run.study.spec, run.study.sweep(method)
        settings = run.settings(f"tune-{method}", stack=run.stacks[method])
        tasks, limit = design.streams["tune"].tasks, spec.resources.task_minutes
        super().__init__(run.study.ledger, settings, tasks, run.console, limit)
        asked_before = [*self.ledger.entries("tune", method), *self.ledger.running()]
        self.asked_before = {e.number: e for e in asked_before if sweep.includes(e)}
        self.missing = sweep.missing
        self.search = Search.of(design, self.method, sweep.finished)
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
        before = self.asked_before.get(number)
        if before is not None:
            trial = self.search.ask(number, before.params, before.attributes)
        else:
            trial = self.search.ask(number, self.method.first_params if number == 0 else None)
        configuration = self.method.configuration(trial.params)
        self.asked[number] = trial
        entry = self.study.entry(self.method.name, configuration, "tune", number=number)
        return dataclasses.replace(entry, **described(trial))

    def weak(self, trial_id: str, result: dict[str, Any]) -> bool:
        if self.study.spec.tune.pruner == "none":
            return False
        self.on_trial_result(trial_id, result)
        return self.trials[trial_id].entry.number in self.pruned

    def reported(self, entry: Entry, task: int, score: float) -> None:
        trial, spec = self.asked[entry.number], self.study.spec
        if len(spec.objectives) == 1 and score == score:
            trial.report(score, task)
            if spec.tune.pruner != "none" and trial.should_prune():
                self.pruned.add(entry.number)

    def finished(self, entry: Entry) -> Entry:
        # samplers leave notes on a trial (the generation of NSGA-II): keep them
        return dataclasses.replace(
            entry, attributes=described(self.asked[entry.number])["attributes"]
        )

    def written(self, entry: Entry) -> None:
        self.search.tell(self.asked.pop(entry.number), entry.state, entry.values)
        best = self.study.sweep(self.method.name).best
        self.console.trial_done(entry, best.values[0] if best else None)


def run_sweep(
    run: RunContext, method: str, data: Data, first_tasks: Mapping[str, Foundation]
) -> None:
    """Run what a method's sweep still lacks."""
    trials, asked = SweepTrials(run, method), run.study.spec.tune.trials
    run.console.phase(f"tune {method}", asked, asked - len(trials.missing))
    if trials.missing:
        run.fit(trials, f"tune-{method}", data, first_tasks)
