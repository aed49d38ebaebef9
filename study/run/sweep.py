"""The sweep of a method as a source of trials."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import optuna

from analysis.metrics import METRICS
from study.ledger import Entry
from study.run.context import RunContext
from study.run.pretraining import PretrainingTrials
from study.run.source import Room, Source, TrialSettings, Urgency
from study.search import SweepSearch, entry_fields
from study.spec import Request
from trainables.engine.outcome import Outcome
from trainables.engine.trial import objective_values


class SweepTrials(Source):
    """The missing trials of a method's sweep, as Optuna asks for them.

    A trial that was given up because its workers were lost is tried once more at the end.
    """

    def __init__(self, run: RunContext, method: str, pretraining: PretrainingTrials) -> None:
        study = run.study
        self.method, self.pretraining = study.methods[method], pretraining
        super().__init__(run, study.design.streams["tune"].tasks)
        sweep = study.sweep(method)
        earlier = [*self.ledger.entries("tune", method), *run.unfinished]
        self.earlier = {entry.number: entry for entry in earlier if sweep.includes(entry)}
        begun = {e.number for e in run.unfinished if sweep.includes(e)}
        self.missing = sorted(sweep.missing, key=lambda number: (number not in begun, number))
        self.interrupted = begun & {*self.missing}
        self.started = sweep.budget - len(self.missing)
        ended = [entry for entry in sweep.entries if entry.number not in self.missing]
        self.search = SweepSearch.of(study.design, self.method, ended)
        self.asked: dict[int | None, optuna.Trial] = {}  # Optuna's trials by number
        self.pruned: set[int | None] = set()  # numbers

    @property
    def urgency(self) -> tuple[int, int]:
        if self.missing and self.missing[0] in self.interrupted:
            return Urgency.INTERRUPTED, 0
        return Urgency.SWEEP, self.started

    @property
    def request(self) -> Request:
        return self.study.request(self.method.name)

    @property
    def left(self) -> int:
        return len(self.missing)

    @property
    def ready(self) -> int:
        return 0 if self.pretraining.is_pending_for(self.method.name) else self.left

    @property
    def has_ended(self) -> bool:
        """Whether no trial is left, and none runs."""
        return not self.left and not self.running

    def next(self, room: Room) -> Entry | None:
        while self.left:
            entry = self._ask(self.missing.pop(0))
            self.started += 1
            equal = self.ledger.find(entry)
            if equal is None:
                return entry
            self._adopt(entry, equal)
        return None

    def settings(self, entry: Entry) -> TrialSettings:
        return {
            **self.run.settings("tune"),
            **self.run.stacks.settings(self.method.name),
            "pretrained": self.run.foundations.of(entry),
        }

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
        self.running[adopted.folder] = adopted
        self._write(adopted, self.ledger.outcome_bytes(equal))

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

    def should_stop(self, entry: Entry) -> bool:
        return entry.number in self.pruned

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
        if entry.is_tried_again:
            number = entry.number or 0
            self.earlier[number] = entry
            self.missing.append(number)


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
