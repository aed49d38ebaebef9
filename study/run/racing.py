"""The sweep of a method as a race over its tuning seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from analysis.metrics import METRICS
from study.ledger import HEATS, Entry
from study.run.context import RunContext
from study.run.pretraining import PretrainingTrials
from study.run.source import Room, Urgency, failure_fields
from study.run.sweep import SweepTrials
from study.scores import seed_scores
from trainables.engine.assignment import Assignment
from trainables.engine.outcome import stacked
from trainables.engine.trial import objective_values


def heats(seeds: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the seeds of each heat: after the heats, 1, 2, 4, ... seeds have run.

    >>> list(heats([0, 1, 2, 3, 4]))
    [(0,), (1,), (2, 3), (4,)]
    """
    done = 0
    while done < len(seeds):
        more = max(done, 1)
        yield tuple(seeds[done : done + more])
        done += more


class RacingTrials(SweepTrials):
    """The missing trials of a method's sweep, each in heats of some of its seeds.

    A configuration gets the seeds of its next heat only while it may still be the best: while its
    mean over the seeds so far is not worse than that of the best complete configuration over the
    same seeds (the intensification of SMAC, Hutter et al. 2011). A configuration that is raced out
    is a pruned trial with the seeds that it had. Before there is a best one, trials do not race.

    Heats are entries of the ledger under a method name of their own.
    """

    def __init__(self, run: RunContext, method: str, pretraining: PretrainingTrials) -> None:
        super().__init__(run, method, pretraining)
        self.heats: list[Entry] = []  # heats that can start now
        self.racing: dict[int | None, Entry] = {}  # trials that race, by number
        [self.objective] = self.study.spec.objectives

    @property
    def urgency(self) -> tuple[int, int]:
        return (Urgency.SWEEP, -1) if self.heats else super().urgency

    @property
    def left(self) -> int:
        return len(self.heats) + super().left

    def next(self, room: Room) -> Entry | None:
        while not self.heats and super().left:
            trial = super().next(room)
            if trial is None or self.study.sweep(self.method.name).best is None:
                return trial
            self.begin(trial)
            self.running[trial.folder] = self.racing[trial.number] = trial
            self._go_on(trial)
        return self.heats.pop(0) if self.heats else None

    def label(self, entry: Entry) -> str:
        if not is_heat(entry):
            return super().label(entry)
        return f"{self.racing[entry.number].folder} seeds {', '.join(map(str, entry.seeds))}"

    def after_task(self, entry: Entry, task: int, score: float) -> None:
        if not is_heat(entry):
            super().after_task(entry, task, score)

    def tell_failure(self, entry: Entry) -> None:
        if not is_heat(entry):  # its trial fails with it
            super().tell_failure(entry)

    def before_write(self, entry: Entry, outcome: bytes) -> Entry:
        return entry if is_heat(entry) else super().before_write(entry, outcome)

    def after_write(self, entry: Entry) -> None:
        if not is_heat(entry):
            super().after_write(entry)
        elif entry.state == "failed":
            fields = failure_fields(entry.failure, entry.reason, entry)
            trial = dataclasses.replace(self.racing.pop(entry.number), losses=entry.losses)
            self._write(dataclasses.replace(trial, **fields))
        else:
            self._go_on(self.racing[entry.number])

    def _go_on(self, trial: Entry) -> None:
        """Add the next heat of a trial, or end the trial."""
        done: list[Entry] = []
        for seeds in heats(trial.seeds):
            heat = self._heat(trial, seeds)
            finished = self.ledger.find(heat)
            if finished is None and not (done and self._is_out(done)):
                self.heats.append(heat)
                return
            if finished is None:
                break
            done.append(finished)
            if finished.state == "diverged":
                break
        self._finish(self.racing.pop(trial.number), done)

    def _heat(self, trial: Entry, seeds: tuple[int, ...]) -> Entry:
        """Return a trial on some of its seeds."""
        work = dataclasses.replace(Assignment(**trial.work), seeds=seeds)
        heat = self.ledger.entry_for(work, f"{HEATS}{trial.method}", trial.number)
        notes = {name: getattr(trial, name) for name in ("params", "distributions", "attributes")}
        return dataclasses.replace(heat, **notes)

    def _is_out(self, done: Sequence[Entry]) -> bool:
        """Whether the mean of a trial is worse than that of the best one over the same seeds."""
        best = self.study.sweep(self.method.name).best
        if best is None:
            return False
        theirs, ours = self._scores([best]), self._scores(done)
        difference = sum(ours[seed] - theirs[seed] for seed in ours)
        return difference < 0 if METRICS[self.objective].higher_is_better else difference > 0

    def _scores(self, entries: Sequence[Entry]) -> dict[int, float]:
        """Return the objective by seed."""
        outcome = stacked([self.ledger.outcome(entry) for entry in entries])
        scores = seed_scores(outcome, self.objective)
        return dict(zip(outcome.seeds.tolist(), scores, strict=True))

    def _finish(self, trial: Entry, done: Sequence[Entry]) -> None:
        """Write a trial whose race has ended."""
        outcome = stacked([self.ledger.outcome(heat) for heat in done])
        tasks = range(1, outcome.rows + 1)
        curve = {task: objective_values(outcome, [self.objective], task)[0] for task in tasks}
        for task, score in curve.items():
            super().after_task(trial, task, score)
        entry = dataclasses.replace(
            trial,
            state=self._state(trial, done),
            steps={str(task): score for task, score in curve.items()},
            values=objective_values(outcome, [self.objective], outcome.rows),
            seconds=sum(heat.seconds for heat in done),
            samples=sum(heat.samples for heat in done),
            resumed=max(heat.resumed for heat in done),
            software=done[-1].software,
            device=done[-1].device,
            host=done[-1].host,
            processor=done[-1].processor,
        )
        self._write(entry, outcome.to_bytes())

    @staticmethod
    def _state(trial: Entry, done: Sequence[Entry]) -> str:
        if done[-1].state == "diverged":
            return "diverged"
        return "complete" if sum(len(heat.seeds) for heat in done) == len(trial.seeds) else "pruned"


def is_heat(entry: Entry) -> bool:
    """Whether an entry is a heat of a trial."""
    return entry.method.startswith(HEATS)
