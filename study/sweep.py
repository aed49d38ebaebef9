"""One method's search, run by Ray Tune."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from ray.tune.schedulers import ASHAScheduler

from search_spaces import find_space
from search_spaces.common import Suggest
from study import plan
from study.cluster import Source, fit
from study.console import Console
from study.ledger import Entry, Ledger, entry_for
from study.plan import Method
from study.search import Published, Search, SpaceTrial, described
from study.spec import Spec
from trainables import find_stream
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
        super().__init__(ledger, settings, tasks_of(spec))
        self.spec, self.method, self.console = spec, method, console
        known = finished_trials(spec, method, ledger)
        again = [*ledger.entries("tune", method.name), *ledger.running()]
        self.again = {e.number: e for e in again if belongs(spec, method, e)}
        done = {entry.number for entry in known}
        self.missing = [number for number in range(spec.tune.trials) if number not in done]
        directions = [plan.direction(objective) for objective in spec.objectives]
        seed = f"{spec.tune.seed}/{method.name}"
        self.search = Search(directions, spec.tune.sampler, seed, known)
        self.asked: dict[int | None, optuna.Trial] = {}
        self.info = plan.stream_info(spec, plan.tune_stream(spec))
        self.space = find_space(method.learner)

    def propose(self) -> Entry | None:
        while self.missing:
            number = self.missing.pop(0)
            entry = self._ask(number)
            same = self.ledger.find(entry.key)
            if same is None:
                return entry
            # asked before under another number: the result is known
            known = dataclasses.replace(
                same,
                number=number,
                params=entry.params,
                distributions=entry.distributions,
                attributes=entry.attributes,
            )
            self.written(self.ledger.finish(known, self.ledger.outcome_bytes(same)))
        return None

    def _ask(self, number: int) -> Entry:
        before = self.again.get(number)
        if before is not None:
            trial = self.search.ask(number, before.params, before.attributes)
        else:
            trial = self.search.ask(number, self._published() if number == 0 else None)
        params = self._space_trial(trial).sample(self.space, self.info)
        configuration = plan.configuration(self.method, params)
        work = plan.assignment(self.spec, self.method, configuration, "tune", self.spec.tune_seeds)
        self.asked[number] = trial
        return dataclasses.replace(entry_for(work, self.method.name, number), **described(trial))

    def _published(self) -> dict[str, Any]:
        """Return the published values that the space contains: the first trial of every sweep."""
        probe = Published(plan.configuration(self.method, {}))
        self._space_trial(probe).sample(self.space, self.info)
        return probe.values

    def _space_trial(self, trial: Suggest) -> SpaceTrial:
        return SpaceTrial(trial, self.method.fixed, self.method.space, self.method.learner)

    def reported(self, entry: Entry, task: int, score: float) -> None:
        trial = self.asked[entry.number]
        if len(self.spec.objectives) == 1 and score == score:
            trial.report(score, task)

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
    settings: Mapping[str, Any],
    storage: Path,
    console: Console,
) -> list[str]:
    """Run what a method's sweep still lacks; return the trials that were lost."""
    name = f"tune-{method.name}"
    sweep = Sweep(spec, method, ledger, {**settings, "storage": str(storage / name)}, console)
    console.phase(f"tune {method.name}", spec.tune.trials, spec.tune.trials - len(sweep.missing))
    if sweep.missing:
        fit(
            sweep,
            name,
            data,
            spec.resources,
            storage,
            len(sweep.missing),
            console.say,
            scheduler(spec),
        )
    return sweep.lost


def scheduler(spec: Spec) -> ASHAScheduler | None:
    """Return what stops weak trials between tasks, if the study wants that."""
    if spec.tune.pruner == "none":
        return None
    mode = "max" if plan.direction(spec.objectives[0]) == "maximize" else "min"
    return ASHAScheduler(
        time_attr="task",
        metric="score",
        mode=mode,
        max_t=tasks_of(spec),
        grace_period=1,
        reduction_factor=2,
    )


def tasks_of(spec: Spec) -> int:
    """Number of tasks a tuning trial learns."""
    if spec.tune.protocol == "first_tasks":
        return spec.tune.tasks
    return find_stream(plan.tune_stream(spec)).tasks


def belongs(spec: Spec, method: Method, entry: Entry) -> bool:
    """Whether a trial is one of this sweep: the same work but for the configuration."""
    if entry.phase != "tune" or entry.method != method.name:
        return False
    work = plan.assignment(spec, method, entry.work["configuration"], "tune", spec.tune_seeds)
    return entry.key == entry_for(work, method.name, entry.number).key


def finished_trials(spec: Spec, method: Method, ledger: Ledger) -> list[Entry]:
    """Return the trials of a sweep that need not run again, within the study's budget."""
    entries = ledger.entries("tune", method.name)
    within = [e for e in entries if e.number is not None and e.number < spec.tune.trials]
    return [e for e in within if e.state != "failed" and belongs(spec, method, e)]


def best_trial(spec: Spec, method: Method, ledger: Ledger) -> Entry | None:
    """Return the complete trial with the best primary objective; the earliest of equals."""
    trials = finished_trials(spec, method, ledger)
    complete = [e for e in trials if e.state == "complete" and math.isfinite(e.values[0])]
    sign = -1 if plan.direction(spec.objectives[0]) == "maximize" else 1
    return min(complete, key=lambda e: (sign * e.values[0], e.number), default=None)
