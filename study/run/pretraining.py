"""Long first tasks as a source of trials: each is learnt once, for all trials that share it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from study.first_tasks import SharedTask
from study.ledger import PRETRAINING, Entry
from study.run.context import RunContext
from study.run.source import Room, Source, TrialSettings, Urgency, split_evenly
from study.spec import Request
from trainables.engine.assignment import seedless_key

OBJECTIVE = "average_accuracy"  # defined for a single task: every trial needs a score


class PretrainingTrials(Source):
    """The missing pre-trainings of a phase.

    A first task without a foundation, after a failure, is learnt by each trial itself.

    Args:
        wanted: returns the first tasks that trials of the phase have in common now.
    """

    def __init__(
        self, run: RunContext, phase: str, wanted: Callable[[], Sequence[SharedTask]]
    ) -> None:
        super().__init__(run, tasks=1)
        self.phase, self.wanted = phase, wanted
        self.queue: list[tuple[Entry, str]] = []  # with the method that sets the stack size
        self.of: dict[str, str] = {}  # that method by folder of the trial
        self.failed: set[tuple[str, int]] = set()  # keys and seeds, in this run
        self._seen = -1  # number of finished trials that the lists below account for
        self._pending: set[str] = set()  # methods with first tasks that have not been learnt
        self._uncut: list[tuple[SharedTask, list[int]]] = []  # seeds to spread over trials

    @property
    def urgency(self) -> tuple[int, int]:
        return Urgency.PRETRAINING, 0

    @property
    def request(self) -> Request:
        return self.study.request(self.queue[0][1] if self.queue else self._uncut[0][0].methods[0])

    @property
    def left(self) -> int:
        self._look()
        return len(self.queue) + len(self._uncut)

    def is_pending_for(self, method: str) -> bool:
        """Whether trials of a method wait for first tasks."""
        self._look()
        return method in self._pending

    def next(self, room: Room) -> Entry | None:
        if not self.queue:
            self._cut(room)
        entry, method = self.queue.pop(0)
        self.of[entry.folder] = method
        return entry

    def _cut(self, room: Room) -> None:
        """Spread the seeds of a first task over trials, with at most one stack in a trial: finished
        stacks are then kept if the run is interrupted.
        """
        shared, missing = self._uncut.pop(0)
        method = shared.methods[0]
        parts = max(room.parts, math.ceil(len(missing) / self.run.stacks.size(method)))
        for seeds in split_evenly(missing, min(len(missing), parts)):
            work = dataclasses.replace(shared.work, seeds=seeds)
            self.queue.append((self.ledger.entry_for(work, PRETRAINING, None), method))

    def is_replaceable(self, entry: Entry) -> bool:
        return True  # by trials that learn the first task themselves

    def settings(self, entry: Entry) -> TrialSettings:
        method = self.of[entry.folder]
        return {
            **self.run.settings(self.phase),
            **self.run.stacks.settings(method),
            "objectives": [OBJECTIVE],
            "foundation": True,
        }

    def after_write(self, entry: Entry) -> None:
        if entry.state == "failed":
            key = seedless_key(entry.work, entry.versions)
            self.failed |= {(key, seed) for seed in entry.seeds}

    def _look(self) -> None:
        """Find the first tasks that have to be learnt, after any trial has ended."""
        if self._seen == len(self.ledger.history):
            return
        self._seen, self._pending, self._uncut = len(self.ledger.history), set(), []
        under_way = [*(entry for entry, _ in self.queue), *self.running.values()]
        busy = {(seedless_key(e.work, e.versions), seed) for e in under_way for seed in e.seeds}
        for shared in self.wanted():
            missing = [(shared.key, seed) for seed in shared.missing(self.ledger)]
            missing = [each for each in missing if each not in self.failed]
            if missing:
                self._pending |= {*shared.methods}
            if rest := [seed for key, seed in missing if (key, seed) not in busy]:
                self._uncut.append((shared, rest))
